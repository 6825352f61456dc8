#pragma once

// What a file is, told by how it begins.

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/bytes.hpp"

namespace ganglion::detail {

[[nodiscard]] inline bool is_zip(std::span<const std::byte> bytes) { return as_text(bytes).starts_with("PK\x03\x04"); }

/// The length of a header, and its first brace.
[[nodiscard]] inline bool is_safetensors(std::span<const std::byte> bytes) {
  constexpr std::size_t length_bytes = 8;
  constexpr std::uint64_t largest_header = 100'000'000;
  if (bytes.size() <= length_bytes || bytes[length_bytes] != std::byte{'{'}) return false;
  return ByteReader(bytes, "the file").little_endian(length_bytes) <= largest_header;
}

}  // namespace ganglion::detail
