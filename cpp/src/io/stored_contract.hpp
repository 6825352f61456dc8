#pragma once

// A contract as the text that a file holds, with the digest over this very text inside.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ganglion/contract.hpp"

namespace ganglion::detail {

inline constexpr const char* seal_key = "contract_sha256";
inline constexpr std::size_t seal_digits = 64;
inline constexpr const char* signature_key = "ed25519";
inline constexpr std::size_t signature_digits = 128;

[[nodiscard]] bool is_hex_digit(char c);

/// The SHA-256 of a contract's text in which the digits of this digest are zeros; none where it has no place for them.
[[nodiscard]] std::optional<std::string> seal_of(std::string_view text);

/// The text with the digest over it in its place; a text that has none comes back as it is.
[[nodiscard]] std::string sealed(std::string text);

/// The text with zeros for the digits of the digest and of the signature, which must be these: what is signed. None
/// where it has no place for one of them.
[[nodiscard]] std::optional<std::string> without_digests(std::string_view text, std::string_view signature);

/// True where some bytes hold a sealed contract, wherever that stands.
[[nodiscard]] bool holds_seal(std::span<const std::byte> bytes);

struct StoredContract {
  Contract contract;
  bool is_sealed = false;  ///< false: of format 1, whose contract is under no digest
  std::string signer{};    ///< public key that the contract is signed with, in hexadecimal; empty for none
};

/// What `Contract::from_json` reads, whether a digest covers it, and who signed it.
[[nodiscard]] StoredContract read_contract(std::string_view text);

}  // namespace ganglion::detail
