#pragma once

// From the control loop to the thread that writes: bytes in order, one producer, one consumer, nobody waits.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ganglion/realtime.hpp"
#include "realtime/memory.hpp"

namespace ganglion::realtime {

/// Records of any size, each in one piece. Its pages are there from the start.
class ByteRing {
 public:
  struct Record {
    std::uint32_t topic;
    std::span<const std::byte> body;
  };

  /// At least so many bytes. Not `valid()` where memory is short.
  explicit ByteRing(std::size_t bytes) noexcept;

  [[nodiscard]] bool valid() const noexcept { return memory_.valid(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return memory_.size(); }

  // The producer's.
  /// Room for a body, aligned to 8 bytes; null where there is none. Nothing is seen before `commit`.
  [[nodiscard]] std::byte* reserve(std::uint32_t topic, std::size_t bytes) noexcept GANGLION_NONBLOCKING;
  void commit() noexcept GANGLION_NONBLOCKING { head_.store(reserved_, std::memory_order_release); }
  /// True where bodies of so many bytes together fit, `count` of them, none larger than half of the ring.
  [[nodiscard]] bool has_room(std::size_t bytes, std::size_t count) noexcept GANGLION_NONBLOCKING;
  /// After the last record of this ring comes the first of `next`; nothing may be reserved here any more.
  void follow_with(ByteRing* next) noexcept GANGLION_NONBLOCKING { next_.store(next, std::memory_order_release); }

  // The consumer's.
  [[nodiscard]] std::optional<Record> front() noexcept;
  void pop() noexcept;
  /// The ring to go on with, where this one is done with.
  [[nodiscard]] ByteRing* next() const noexcept { return next_.load(std::memory_order_acquire); }

 private:
  [[nodiscard]] std::uint64_t room() const noexcept GANGLION_NONBLOCKING {
    return memory_.size() - (reserved_ - known_tail_);
  }
  [[nodiscard]] std::byte* at(std::uint64_t position) const noexcept GANGLION_NONBLOCKING {
    return data_ + (position & (size_ - 1));
  }

  Memory memory_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  alignas(cache_line) std::atomic<std::uint64_t> head_{0};  ///< the producer's: bytes ever written
  std::uint64_t reserved_ = 0;
  std::uint64_t known_tail_ = 0;
  alignas(cache_line) std::atomic<std::uint64_t> tail_{0};  ///< the consumer's: bytes ever read
  std::uint64_t known_head_ = 0;
  std::uint64_t front_bytes_ = 0;
  alignas(cache_line) std::atomic<ByteRing*> next_{nullptr};
};

}  // namespace ganglion::realtime
