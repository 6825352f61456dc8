#include "io/signer.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "ganglion/error.hpp"
#include "io/base64.hpp"
#include "io/bytes.hpp"
#include "io/ed25519.hpp"
#include "io/stored_contract.hpp"

namespace ganglion::detail {

namespace {

// What else is signed with the key is no contract.
constexpr std::string_view purpose = "ganglion contract\n";

template <class Bytes>
std::optional<Bytes> from_hex(std::string_view digits) {
  Bytes bytes{};
  if (digits.size() != 2 * bytes.size() || !std::all_of(digits.begin(), digits.end(), is_hex_digit))
    return std::nullopt;
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(value(digits[2 * i]) * 16 + value(digits[2 * i + 1]));
  }
  return bytes;
}

/// The keys of a PEM file: each a SubjectPublicKeyInfo of RFC 8410, which is these bytes and the key.
std::vector<PublicKey> read_public_keys(const std::filesystem::path& path) {
  constexpr std::array<std::uint8_t, 12> prefix{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
  constexpr std::string_view begin = "-----BEGIN PUBLIC KEY-----";
  const std::vector<std::byte> bytes = read_file(path);
  const std::string_view text = as_text(bytes);
  std::vector<PublicKey> keys;
  for (std::size_t at = text.find(begin); at != std::string_view::npos; at = text.find(begin, at + 1)) {
    const std::vector<std::uint8_t> der = from_base64(text.substr(at + begin.size()));
    PublicKey key{};
    if (der.size() != prefix.size() + key.size() || !std::equal(prefix.begin(), prefix.end(), der.begin())) {
      throw Error(ErrorCode::bad_option, "'" + path.string() + "' has a public key that is none of Ed25519");
    }
    std::copy(der.begin() + prefix.size(), der.end(), key.begin());
    keys.push_back(key);
  }
  if (keys.empty()) {
    throw Error(ErrorCode::bad_option, "'" + path.string() +
                                           "' holds no public key; give the file with the public key that belongs to "
                                           "the private one that files are signed with (PEM, BEGIN PUBLIC KEY)");
  }
  return keys;
}

}  // namespace

void check_signature(std::string_view text, std::string_view public_key, std::string_view signature) {
  const auto key = from_hex<PublicKey>(public_key);
  const auto signed_with = from_hex<Signature>(signature);
  const std::optional<std::string> unsigned_text = without_digests(text, signature);
  if (key && signed_with && unsigned_text &&
      is_signed_by(*key, *signed_with, as_bytes(std::string(purpose) + *unsigned_text)))
    return;
  throw Error(ErrorCode::digest_mismatch,
              "its signature is not that of what the file holds: it was edited after it was signed; sign it again, or "
              "take the file from where it was signed");
}

void check_signer(const std::string& signer, const std::filesystem::path& keys, const std::string& file) {
  if (keys.empty()) return;
  const std::vector<PublicKey> known = read_public_keys(keys);
  const auto own = from_hex<PublicKey>(signer);
  if (own && std::find(known.begin(), known.end(), *own) != known.end()) return;
  throw Error(ErrorCode::not_signed,
              "'" + file + "' is " + (signer.empty() ? "not signed" : "signed with the key " + signer) + ", but " +
                  (known.size() == 1 ? "the key " : "one of the keys ") + "in '" + keys.string() +
                  "' is asked for: sign it (ganglion sign), or take the file from where it was signed");
}

}  // namespace ganglion::detail
