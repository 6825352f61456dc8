#include "realtime/tape.hpp"

#include <new>

namespace ganglion::realtime {

const char* to_string(EventKind kind) noexcept {
  constexpr const char* names[] = {"attached", "gap", "took_over", "rejected", "rolled_back"};
  return names[static_cast<std::size_t>(kind)];
}

Tape::Tape(std::size_t ring_bytes, Clock clock) : clock_(clock), ring_(new ByteRing(ring_bytes)), front_(ring_) {
  if (ring_->valid()) return;
  delete ring_;
  throw std::bad_alloc();
}

Tape::~Tape() {
  delete offered_.load(std::memory_order_acquire);
  while (front_ != nullptr) {
    const ByteRing* const done = front_;
    front_ = done->next();
    delete done;
  }
}

void Tape::set_time(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING {
  told_ = now_ns;
  if (!is_told_.load(std::memory_order_relaxed)) is_told_.store(true, std::memory_order_relaxed);
}

std::byte* Tape::begin(std::int64_t now, std::uint32_t topic, std::size_t bytes) noexcept GANGLION_NONBLOCKING {
  if (!is_open()) return nullptr;
  take_offered();
  if (missing_ != 0 && !(has_room(bytes, 1) && end_gap(now))) {
    drop();
    return nullptr;
  }
  std::byte* const body = put(now, topic, bytes);
  if (body == nullptr) drop();
  return body;
}

void Tape::take_offered() noexcept GANGLION_NONBLOCKING {
  if (offered_.load(std::memory_order_relaxed) == nullptr) return;
  ByteRing* const ring = offered_.exchange(nullptr, std::memory_order_acq_rel);
  if (ring == nullptr) return;  // taken back meanwhile
  ring_->follow_with(ring);
  ring_ = ring;
}

std::byte* Tape::put(std::int64_t now, std::uint32_t topic, std::size_t bytes) noexcept GANGLION_NONBLOCKING {
  std::byte* const body = ring_->reserve(topic, bytes);
  if (body == nullptr) return nullptr;
  const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
  put_field(body, now);
  put_field(body + 8, sequence);
  sequence_.store(sequence + 1, std::memory_order_relaxed);
  return body;
}

bool Tape::has_room(std::size_t bytes, std::size_t count) noexcept GANGLION_NONBLOCKING {
  take_offered();
  return missing_ == 0 ? ring_->has_room(bytes, count) : ring_->has_room(bytes + event_bytes, count + 1);
}

void Tape::drop() noexcept GANGLION_NONBLOCKING {
  if (!is_open()) return;
  if (missing_++ == 0) ++gaps_;
  sequence_.store(sequence_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

bool Tape::end_gap(std::int64_t now) noexcept GANGLION_NONBLOCKING {
  std::byte* const body = put(now, events_topic, event_bytes);
  if (body == nullptr) return false;
  put_field(body + 16, missing_);
  put_field(body + 24, no_policy);
  put_field(body + 28, EventKind::gap);
  end();
  missing_ = 0;
  return true;
}

void Tape::event(std::int64_t now, EventKind kind, std::uint32_t policy,
                 std::uint64_t count) noexcept GANGLION_NONBLOCKING {
  std::byte* const body = begin(now, events_topic, event_bytes);
  if (body == nullptr) return;
  put_field(body + 16, count);
  put_field(body + 24, policy);
  put_field(body + 28, kind);
  end();
}

void Tape::offer(std::unique_ptr<ByteRing> ring) noexcept {
  delete offered_.exchange(ring.release(), std::memory_order_acq_rel);
}

std::optional<ByteRing::Record> Tape::front() noexcept {
  for (;;) {
    if (const auto record = front_->front()) return record;
    ByteRing* const next = front_->next();
    if (next == nullptr) return std::nullopt;
    // What was written before the next ring was there is seen now.
    if (const auto record = front_->front()) return record;
    delete front_;
    front_ = next;
  }
}

}  // namespace ganglion::realtime
