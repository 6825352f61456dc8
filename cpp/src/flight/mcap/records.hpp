#pragma once

// The records of an MCAP file as bytes (mcap.dev/spec): everything little-endian, a record is its opcode, its length
// and its fields.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ganglion::flight {

using Bytes = std::vector<std::byte>;
using Texts = std::vector<std::pair<std::string, std::string>>;

enum class Opcode : std::uint8_t {
  header = 0x01,
  footer = 0x02,
  schema = 0x03,
  channel = 0x04,
  message = 0x05,
  chunk = 0x06,
  message_index = 0x07,
  chunk_index = 0x08,
  attachment = 0x09,
  attachment_index = 0x0A,
  statistics = 0x0B,
  metadata = 0x0C,
  metadata_index = 0x0D,
  summary_offset = 0x0E,
  data_end = 0x0F,
  spare = 0x80,  ///< of an application's own kinds: readers skip it
};

inline constexpr std::size_t record_prefix = 9;  ///< opcode and length

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline void put(Bytes& to, std::span<const std::byte> bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

template <class Number>
void put_number(Bytes& to, Number value) {
  put(to, std::as_bytes(std::span(&value, 1)));
}

inline void put_text(Bytes& to, std::string_view text) {
  put_number(to, static_cast<std::uint32_t>(text.size()));
  put(to, bytes_of(text));
}

inline void put_texts(Bytes& to, const Texts& texts) {
  std::size_t size = 0;
  for (const auto& [key, value] : texts) size += 8 + key.size() + value.size();
  put_number(to, static_cast<std::uint32_t>(size));
  for (const auto& [key, value] : texts) {
    put_text(to, key);
    put_text(to, value);
  }
}

/// Writes opcode and length around the fields that `fill` appends.
template <class Fill>
void put_record(Bytes& to, Opcode opcode, const Fill& fill) {
  put_number(to, opcode);
  const std::size_t length_at = to.size();
  put_number(to, std::uint64_t{0});
  fill();
  const std::uint64_t length = to.size() - length_at - sizeof(length);
  std::memcpy(to.data() + length_at, &length, sizeof(length));
}

}  // namespace ganglion::flight
