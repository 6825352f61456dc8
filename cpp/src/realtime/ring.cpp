#include "realtime/ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ganglion::realtime {

namespace {

/// Stands before every body.
struct Prefix {
  std::uint32_t bytes;
  std::uint32_t topic;
};
constexpr std::size_t prefix = sizeof(Prefix);
constexpr std::uint32_t to_the_end = 0xFFFFFFFF;  ///< the topic of what fills the ring up to its end

constexpr std::size_t whole(std::size_t bytes) noexcept { return prefix + round_up(bytes, prefix); }

void put_prefix(std::byte* to, std::size_t bytes, std::uint32_t topic) noexcept GANGLION_NONBLOCKING {
  const Prefix value{static_cast<std::uint32_t>(bytes), topic};
  std::memcpy(to, &value, prefix);
}

}  // namespace

ByteRing::ByteRing(std::size_t bytes) noexcept
    : memory_(std::bit_ceil(std::max(bytes, std::size_t{4096}))), data_(memory_.data()), size_(memory_.size()) {}

std::byte* ByteRing::reserve(std::uint32_t topic, std::size_t bytes) noexcept GANGLION_NONBLOCKING {
  const std::size_t needed = whole(bytes);
  const std::size_t to_end = size_ - (reserved_ & (size_ - 1));
  const std::size_t skipped = to_end < needed ? to_end : 0;
  if (needed > size_ / 2) return nullptr;
  if (room() < skipped + needed) {
    known_tail_ = tail_.load(std::memory_order_acquire);
    if (room() < skipped + needed) return nullptr;
  }
  if (skipped != 0) {
    put_prefix(at(reserved_), skipped - prefix, to_the_end);
    reserved_ += skipped;
  }
  std::byte* const body = at(reserved_) + prefix;
  put_prefix(body - prefix, bytes, topic);
  reserved_ += needed;
  return body;
}

bool ByteRing::has_room(std::size_t bytes, std::size_t count) noexcept GANGLION_NONBLOCKING {
  // What is skipped at the end is less than the largest of them.
  const std::size_t needed = 2 * (bytes + 2 * count * prefix);
  if (room() < needed) known_tail_ = tail_.load(std::memory_order_acquire);
  return room() >= needed;
}

std::optional<ByteRing::Record> ByteRing::front() noexcept {
  for (;;) {
    std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == known_head_) known_head_ = head_.load(std::memory_order_acquire);
    if (tail == known_head_) return std::nullopt;
    Prefix found{};
    std::memcpy(&found, at(tail), prefix);
    front_bytes_ = whole(found.bytes);
    if (found.topic != to_the_end) return Record{found.topic, {at(tail) + prefix, found.bytes}};
    pop();
  }
}

void ByteRing::pop() noexcept {
  tail_.store(tail_.load(std::memory_order_relaxed) + front_bytes_, std::memory_order_release);
}

}  // namespace ganglion::realtime
