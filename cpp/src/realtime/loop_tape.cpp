#include "realtime/loop_tape.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "realtime/xxh64.hpp"

namespace ganglion::realtime {

namespace {

// Where the fields of a body stand; in front of them time and sequence.
constexpr std::size_t digest_at = 16;
constexpr std::size_t status_at = 24;
constexpr std::size_t numbers_at = 28;
constexpr std::size_t rows_status_at = 16;
constexpr std::size_t rows_at = 17;
constexpr std::size_t draws_at = 24;

std::size_t snapshot_numbers_at(const LoopSizes& sizes) noexcept GANGLION_NONBLOCKING {
  return sizes.draws ? draws_at + 12 * sizes.batch : draws_at;
}

std::size_t snapshot_bytes(const LoopSizes& sizes) noexcept GANGLION_NONBLOCKING {
  return snapshot_numbers_at(sizes) + sizes.state * sizeof(float);
}

void put(std::byte* to, const float* numbers, std::size_t size) noexcept GANGLION_NONBLOCKING {
  if (size != 0) std::memcpy(to, numbers, size * sizeof(float));
}

void put_unknown(std::byte* to, std::size_t size) noexcept GANGLION_NONBLOCKING {
  constexpr float unknown = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t i = 0; i < size; ++i) put_field(to + i * sizeof(float), unknown);
}

void put_digest(std::byte* to, std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  put_field(to, xxh64({reinterpret_cast<const std::byte*>(state.data()), state.size() * sizeof(float)}));
}

/// Status and the bytes of padding behind it.
void put_status(std::byte* to, Status status) noexcept GANGLION_NONBLOCKING {
  put_field(to, static_cast<std::uint32_t>(status));
}

}  // namespace

LoopTape::LoopTape(std::shared_ptr<Tape> tape, std::uint32_t policy, std::uint32_t first_topic, const LoopSizes& sizes,
                   std::uint64_t snapshot_ns) noexcept
    : tape_(std::move(tape)), policy_(policy), first_topic_(first_topic), sizes_(sizes), snapshot_ns_(snapshot_ns) {}

bool LoopTape::is_due(std::int64_t now) const noexcept GANGLION_NONBLOCKING {
  // A clock that was set back is far away in unsigned numbers.
  return is_new_ || known_gaps_ != tape_->gaps() ||
         static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(snapped_) >= snapshot_ns_;
}

bool LoopTape::snapshot(std::int64_t now, const LoopMoment& before, std::size_t then) noexcept GANGLION_NONBLOCKING {
  const std::size_t bytes = snapshot_bytes(sizes_);
  if (!tape_->has_room(bytes + then + event_bytes, 3)) {
    // Only a replay that has lost its state needs it at once.
    return !is_new_ && known_gaps_ == tape_->gaps();
  }
  if (is_new_) tape_->event(now, EventKind::attached, policy_, 0);
  std::byte* const body = tape_->begin(now, first_topic_ + static_cast<std::uint32_t>(PolicyTopic::snapshot), bytes);
  if (body == nullptr) return true;  // closed
  put_digest(body + digest_at, before.state);
  for (std::size_t row = 0; sizes_.draws && row < sizes_.batch; ++row) {
    const std::uint64_t step = before.sampler == nullptr ? 0 : before.sampler->step_of(row);
    const std::uint32_t episode = before.sampler == nullptr ? 0 : before.sampler->episode_of(row);
    put_field(body + draws_at + row * sizeof(step), step);
    put_field(body + draws_at + sizes_.batch * sizeof(step) + row * sizeof(episode), episode);
  }
  put(body + snapshot_numbers_at(sizes_), before.state.data(), sizes_.state);
  tape_->end();
  is_new_ = false;
  known_gaps_ = tape_->gaps();
  snapped_ = now;
  return true;
}

void LoopTape::begin_body(PolicyTopic verb, std::size_t bytes, const LoopMoment& before) noexcept GANGLION_NONBLOCKING {
  body_ = nullptr;
  if (!tape_->is_open()) return;
  const std::int64_t now = tape_->now();
  if (is_due(now) && !snapshot(now, before, bytes)) {
    tape_->drop();
    return;
  }
  body_ = tape_->begin(now, first_topic_ + static_cast<std::uint32_t>(verb), bytes);
}

void LoopTape::begin(PolicyTopic verb, const LoopMoment& before,
                     std::span<const float> given) noexcept GANGLION_NONBLOCKING {
  const bool is_step = verb == PolicyTopic::step;
  std::size_t size = is_step ? sizes_.observation : sizes_.action;
  if (verb == PolicyTopic::set_state) size = sizes_.state;
  const std::size_t behind = is_step ? sizes_.action + sizes_.outputs : 0;
  begin_body(verb, numbers_at + (size + behind) * sizeof(float), before);
  if (body_ == nullptr) return;
  if (given.size() == size) {
    put(body_ + numbers_at, given.data(), size);
  } else {
    put_unknown(body_ + numbers_at, size);
  }
}

void LoopTape::begin_reset(const LoopMoment& before) noexcept GANGLION_NONBLOCKING {
  begin_body(PolicyTopic::reset, rows_at + sizes_.batch, before);
}

void LoopTape::end_step(Status status, const float* action, const float* outputs,
                        std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  if (body_ == nullptr) return;
  std::byte* const to = body_ + numbers_at + sizes_.observation * sizeof(float);
  if (status == Status::ok) {
    put(to, action, sizes_.action);
    put(to + sizes_.action * sizeof(float), outputs, sizes_.outputs);
  } else {
    put_unknown(to, sizes_.action + sizes_.outputs);
  }
  end(status, state);
}

void LoopTape::end(Status status, std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  if (body_ == nullptr) return;
  put_digest(body_ + digest_at, state);
  put_status(body_ + status_at, status);
  tape_->end();
}

void LoopTape::end_reset(Status status, const std::uint8_t* rows) noexcept GANGLION_NONBLOCKING {
  if (body_ == nullptr) return;
  put_field(body_ + rows_status_at, status);
  for (std::size_t row = 0; row < sizes_.batch; ++row) {
    const bool is_reset = status == Status::ok && (rows == nullptr || rows[row] != 0);
    body_[rows_at + row] = std::byte{is_reset};
  }
  tape_->end();
}

void LoopTape::mark(EventKind kind, std::uint64_t count) noexcept GANGLION_NONBLOCKING {
  if (tape_->is_open()) tape_->event(tape_->now(), kind, policy_, count);
}

}  // namespace ganglion::realtime
