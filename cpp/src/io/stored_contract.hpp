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

/// The SHA-256 of a contract's text in which the digits of this digest are zeros; none where it has no place for them.
[[nodiscard]] std::optional<std::string> seal_of(std::string_view text);

/// The text with the digest over it in its place; a text that has none comes back as it is.
[[nodiscard]] std::string sealed(std::string text);

/// True where some bytes hold a sealed contract, wherever that stands.
[[nodiscard]] bool holds_seal(std::span<const std::byte> bytes);

struct StoredContract {
  Contract contract;
  bool is_sealed = false;  ///< false: of format 1, whose contract is under no digest
};

/// What `Contract::from_json` reads, and whether a digest covers it.
[[nodiscard]] StoredContract read_contract(std::string_view text);

}  // namespace ganglion::detail
