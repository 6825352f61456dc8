#include "io/base64.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace ganglion::detail {

namespace {

constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_letter = 64;

constexpr std::array<std::uint8_t, 256> values() {
  std::array<std::uint8_t, 256> found{};
  for (std::uint8_t& value : found) value = no_letter;
  for (std::size_t i = 0; i < letters.size(); ++i)
    found[static_cast<unsigned char>(letters[i])] = static_cast<std::uint8_t>(i);
  return found;
}

}  // namespace

std::vector<std::uint8_t> from_base64(std::string_view text) {
  constexpr std::array<std::uint8_t, 256> value_of = values();
  std::vector<std::uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    const std::uint8_t value = value_of[static_cast<unsigned char>(c)];
    if (value == no_letter) break;
    bits = (bits << 6U) | value;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::uint8_t>(bits >> count));
  }
  return bytes;
}

std::string to_base64(std::span<const std::uint8_t> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) bits = (bits << 8U) | (i < count ? bytes[at + i] : std::uint8_t{0});
    for (std::size_t i = 0; i < 4; ++i) text += i <= count ? letters[(bits >> (18 - 6 * i)) & 63U] : '=';
  }
  return text;
}

}  // namespace ganglion::detail
