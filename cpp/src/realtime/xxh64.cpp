#include "realtime/xxh64.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace ganglion::realtime {

namespace {

constexpr std::uint64_t prime1 = 0x9E3779B185EBCA87;
constexpr std::uint64_t prime2 = 0xC2B2AE3D27D4EB4F;
constexpr std::uint64_t prime3 = 0x165667B19E3779F9;
constexpr std::uint64_t prime4 = 0x85EBCA77C2B2AE63;
constexpr std::uint64_t prime5 = 0x27D4EB2F165667C5;

template <class Word>
std::uint64_t word_at(const std::byte* at) noexcept GANGLION_NONBLOCKING {
  Word word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

constexpr std::uint64_t round(std::uint64_t sum, std::uint64_t word) noexcept GANGLION_NONBLOCKING {
  return std::rotl(sum + word * prime2, 31) * prime1;
}

}  // namespace

std::uint64_t xxh64(std::span<const std::byte> bytes) noexcept GANGLION_NONBLOCKING {
  constexpr std::size_t stripe = 32;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t hash = prime5;
  if (left >= stripe) {
    std::array<std::uint64_t, 4> sums{prime1 + prime2, prime2, 0, 0 - prime1};
    for (; left >= stripe; left -= stripe, at += stripe) {
      for (std::size_t i = 0; i < 4; ++i) sums[i] = round(sums[i], word_at<std::uint64_t>(at + 8 * i));
    }
    hash = std::rotl(sums[0], 1) + std::rotl(sums[1], 7) + std::rotl(sums[2], 12) + std::rotl(sums[3], 18);
    for (const std::uint64_t sum : sums) hash = (hash ^ round(0, sum)) * prime1 + prime4;
  }
  hash += bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    hash = std::rotl(hash ^ round(0, word_at<std::uint64_t>(at)), 27) * prime1 + prime4;
  }
  if (left >= 4) {
    hash = std::rotl(hash ^ (word_at<std::uint32_t>(at) * prime1), 23) * prime2 + prime3;
    left -= 4;
    at += 4;
  }
  for (; left > 0; --left, ++at) hash = std::rotl(hash ^ (word_at<std::uint8_t>(at) * prime5), 11) * prime1;
  hash = (hash ^ (hash >> 33)) * prime2;
  hash = (hash ^ (hash >> 29)) * prime3;
  return hash ^ (hash >> 32);
}

}  // namespace ganglion::realtime
