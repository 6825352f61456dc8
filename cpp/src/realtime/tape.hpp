#pragma once

// The control loop's end of a recording: what happened, in order, as the bytes that the file will have. A body is CDR,
// little-endian: time and sequence first, then fields that are each aligned to their size. docs/recordings.md lists
// them.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "ganglion/realtime.hpp"
#include "realtime/memory.hpp"
#include "realtime/ring.hpp"

namespace ganglion::realtime {

/// Kinds of an event on /events.
enum class EventKind : std::uint8_t { attached, gap, took_over, rejected, rolled_back };

/// The enumerator's name, for example "took_over"; a string with static storage.
[[nodiscard]] const char* to_string(EventKind kind) noexcept;

/// The topic of events; those that are attached get the numbers from 1 on.
inline constexpr std::uint32_t events_topic = 0;
inline constexpr std::size_t event_bytes = 29;  ///< body of one
inline constexpr std::uint32_t no_policy = 0xFFFFFFFF;

/// Writes a field of a body.
template <class Value>
void put_field(std::byte* to, Value value) noexcept GANGLION_NONBLOCKING {
  std::memcpy(to, &value, sizeof(value));
}

/// The end of everything that is recorded by one thread, the loop's. What finds no room is left out and counted.
// What two threads write lies on cache lines of its own. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
class Tape {
 public:
  using Clock = std::int64_t (*)() noexcept GANGLION_NONBLOCKING;

  /// Throws std::bad_alloc where there is no memory for the ring.
  Tape(std::size_t ring_bytes, Clock clock);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // The loop's.
  [[nodiscard]] std::int64_t now() const noexcept GANGLION_NONBLOCKING {
    return is_told_.load(std::memory_order_relaxed) ? told_ : clock_();
  }
  /// From now on it is this time, until the next call.
  void set_time(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING;
  /// A body with time and sequence in it, to be filled in before `end`; null where there is no room for it, and nothing
  /// to end.
  [[nodiscard]] std::byte* begin(std::int64_t now, std::uint32_t topic,
                                 std::size_t bytes) noexcept GANGLION_NONBLOCKING;
  void end() noexcept GANGLION_NONBLOCKING { ring_->commit(); }
  /// An event that is not recorded for want of room.
  void drop() noexcept GANGLION_NONBLOCKING;
  /// True where bodies of so many bytes together find room, `count` of them, and the gap before them.
  [[nodiscard]] bool has_room(std::size_t bytes, std::size_t count) noexcept GANGLION_NONBLOCKING;
  void event(std::int64_t now, EventKind kind, std::uint32_t policy, std::uint64_t count) noexcept GANGLION_NONBLOCKING;
  /// How many times something was left out, neighbours together.
  [[nodiscard]] std::uint64_t gaps() const noexcept GANGLION_NONBLOCKING { return gaps_; }
  [[nodiscard]] bool is_open() const noexcept GANGLION_NONBLOCKING { return is_open_.load(std::memory_order_relaxed); }

  // Of any thread.
  /// A larger ring, which the loop goes on with at its next event.
  void offer(std::unique_ptr<ByteRing> ring) noexcept;
  /// From now on nothing is recorded.
  void close() noexcept { is_open_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] bool is_told() const noexcept { return is_told_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t events() const noexcept { return sequence_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

  // The writer's.
  [[nodiscard]] std::optional<ByteRing::Record> front() noexcept;
  void pop() noexcept { front_->pop(); }

 private:
  /// Goes on with a larger ring where there is one.
  void take_offered() noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::byte* put(std::int64_t now, std::uint32_t topic, std::size_t bytes) noexcept GANGLION_NONBLOCKING;
  bool end_gap(std::int64_t now) noexcept GANGLION_NONBLOCKING;

  Clock clock_;
  ByteRing* ring_;  ///< the loop's
  std::int64_t told_ = 0;
  std::uint64_t missing_ = 0;  ///< left out since the last event that was not
  std::uint64_t gaps_ = 0;
  std::atomic<std::uint64_t> sequence_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> is_told_{false};
  alignas(cache_line) std::atomic<bool> is_open_{true};
  std::atomic<ByteRing*> offered_{nullptr};
  alignas(cache_line) ByteRing* front_;  ///< the writer's
};

}  // namespace ganglion::realtime
