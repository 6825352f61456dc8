#include "flight/mcap/crc32.hpp"

#include <array>
#include <cstring>

namespace ganglion::flight {

namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

Tables make_tables() noexcept {
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    tables[0][i] = value;
  }
  for (std::size_t table = 1; table < tables.size(); ++table) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t value = tables[table - 1][i];
      tables[table][i] = (value >> 8) ^ tables[0][value & 0xFFU];
    }
  }
  return tables;
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  static const Tables tables = make_tables();
  std::uint32_t sum = ~before;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {  // Kounavis and Berry 2005, "slicing by eight"
    std::array<std::uint32_t, 2> words{};
    std::memcpy(words.data(), at, sizeof(words));
    words[0] ^= sum;
    sum = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      sum ^= tables[7 - i][(words[0] >> (8 * i)) & 0xFFU] ^ tables[3 - i][(words[1] >> (8 * i)) & 0xFFU];
    }
  }
  for (; left > 0; --left, ++at) sum = (sum >> 8) ^ tables[0][(sum ^ static_cast<std::uint32_t>(*at)) & 0xFFU];
  return ~sum;
}

}  // namespace ganglion::flight
