#include "io/stored_contract.hpp"

#include <algorithm>

#include "io/bytes.hpp"
#include "io/sha256.hpp"

namespace ganglion::detail {

namespace {

bool is_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/// Where the digits begin, from `from` on: behind the key, a colon and a quotation mark, with space between.
std::size_t find_digits(std::string_view text, std::size_t from) {
  const std::string key = std::string(1, '"') + seal_key + '"';
  for (std::size_t at = text.find(key, from); at != std::string_view::npos; at = text.find(key, at + 1)) {
    std::size_t begin = at + key.size();
    for (const char wanted : {':', '"'}) {
      begin = text.find_first_not_of(" \t\r\n", begin);
      if (begin == std::string_view::npos) return begin;
      if (text[begin] != wanted) break;
      ++begin;
    }
    const std::string_view digits = text.substr(begin, seal_digits + 1);
    if (digits.size() > seal_digits && digits.back() == '"' && std::all_of(digits.begin(), digits.end() - 1, is_digit))
      return begin;
  }
  return std::string_view::npos;
}

}  // namespace

std::optional<std::string> seal_of(std::string_view text) {
  const std::size_t begin = find_digits(text, 0);
  if (begin == std::string_view::npos) return std::nullopt;
  Sha256 sha;
  sha.update(as_bytes(text.substr(0, begin)));
  sha.update(as_bytes(std::string(seal_digits, '0')));
  sha.update(as_bytes(text.substr(begin + seal_digits)));
  return sha.hex_digest();
}

std::string sealed(std::string text) {
  if (const auto seal = seal_of(text)) text.replace(find_digits(text, 0), seal_digits, *seal);
  return text;
}

bool holds_seal(std::span<const std::byte> bytes) { return find_digits(as_text(bytes), 0) != std::string_view::npos; }

}  // namespace ganglion::detail
