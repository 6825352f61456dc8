#include "io/stored_contract.hpp"

#include <algorithm>

#include "io/bytes.hpp"
#include "io/sha256.hpp"

namespace ganglion::detail {

bool is_hex_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

namespace {

/// Where so many digits begin: behind the key, a colon and a quotation mark, with space between.
std::size_t find_digits(std::string_view text, const char* named, std::size_t count) {
  const std::string key = std::string(1, '"') + named + '"';
  for (std::size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    std::size_t begin = at + key.size();
    for (const char wanted : {':', '"'}) {
      begin = text.find_first_not_of(" \t\r\n", begin);
      if (begin == std::string_view::npos) return begin;
      if (text[begin] != wanted) break;
      ++begin;
    }
    const std::string_view digits = text.substr(begin, count + 1);
    if (digits.size() > count && digits.back() == '"' && std::all_of(digits.begin(), digits.end() - 1, is_hex_digit))
      return begin;
  }
  return std::string_view::npos;
}

std::size_t find_seal(std::string_view text) { return find_digits(text, seal_key, seal_digits); }

}  // namespace

std::optional<std::string> seal_of(std::string_view text) {
  const std::size_t begin = find_seal(text);
  if (begin == std::string_view::npos) return std::nullopt;
  Sha256 sha;
  sha.update(as_bytes(text.substr(0, begin)));
  sha.update(as_bytes(std::string(seal_digits, '0')));
  sha.update(as_bytes(text.substr(begin + seal_digits)));
  return sha.hex_digest();
}

std::string sealed(std::string text) {
  if (const auto seal = seal_of(text)) text.replace(find_seal(text), seal_digits, *seal);
  return text;
}

std::optional<std::string> without_digests(std::string_view text, std::string_view signature) {
  const std::size_t seal = find_seal(text);
  const std::size_t signed_at = find_digits(text, signature_key, signature_digits);
  if (seal == std::string_view::npos || signed_at == std::string_view::npos) return std::nullopt;
  if (text.substr(signed_at, signature_digits) != signature) return std::nullopt;
  std::string zeroed(text);
  zeroed.replace(seal, seal_digits, seal_digits, '0');
  zeroed.replace(signed_at, signature_digits, signature_digits, '0');
  return zeroed;
}

bool holds_seal(std::span<const std::byte> bytes) { return find_seal(as_text(bytes)) != std::string_view::npos; }

}  // namespace ganglion::detail
