#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"
#include "realtime/sampling.hpp"
#include "realtime/tape.hpp"

namespace ganglion::realtime {

/// How many numbers the loop of a policy has, all rows together.
struct LoopSizes {
  std::size_t batch = 1;
  std::size_t observation = 0;
  std::size_t action = 0;
  std::size_t state = 0;
  std::size_t outputs = 0;  ///< those that are recorded beside the action
  bool draws = false;
};

/// Topics of one policy, in the order of their numbers.
enum class PolicyTopic : std::uint8_t { step, reset, set_state, applied_action, snapshot };
inline constexpr std::uint32_t policy_topics = 5;

/// What a loop is before a verb.
struct LoopMoment {
  std::span<const float> state;
  const ActionSampler* sampler;  ///< null: it draws nothing
};

/// Records the verbs of one policy. Every verb is begun before it and ended behind it: what was handed in may be what
/// is written. A new loop, one behind a gap, and every loop now and then gets a snapshot first, from which a replay can
/// go on.
class LoopTape {
 public:
  LoopTape(std::shared_ptr<Tape> tape, std::uint32_t policy, std::uint32_t first_topic, const LoopSizes& sizes,
           std::uint64_t snapshot_ns) noexcept;

  /// Of a step: `given` is the observation; of the others the state, or the action, handed in. What has the wrong size
  /// is recorded as NaN.
  void begin(PolicyTopic verb, const LoopMoment& before, std::span<const float> given) noexcept GANGLION_NONBLOCKING;
  void begin_reset(const LoopMoment& before) noexcept GANGLION_NONBLOCKING;

  /// `action` and `outputs` are looked at where the status is ok.
  void end_step(Status status, const float* action, const float* outputs,
                std::span<const float> state) noexcept GANGLION_NONBLOCKING;
  void end(Status status, std::span<const float> state) noexcept GANGLION_NONBLOCKING;
  /// `rows` is looked at where the status is ok; null: all of them.
  void end_reset(Status status, const std::uint8_t* rows) noexcept GANGLION_NONBLOCKING;

  void mark(EventKind kind, std::uint64_t count) noexcept GANGLION_NONBLOCKING;

  [[nodiscard]] const Tape& tape() const noexcept { return *tape_; }

 private:
  /// True where the loop may go on to its own event.
  bool snapshot(std::int64_t now, const LoopMoment& before, std::size_t then) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] bool is_due(std::int64_t now) const noexcept GANGLION_NONBLOCKING;
  void begin_body(PolicyTopic verb, std::size_t bytes, const LoopMoment& before) noexcept GANGLION_NONBLOCKING;

  std::shared_ptr<Tape> tape_;
  std::uint32_t policy_;
  std::uint32_t first_topic_;
  LoopSizes sizes_;
  std::uint64_t snapshot_ns_;
  std::byte* body_ = nullptr;  ///< of the verb that has begun
  std::int64_t snapped_ = 0;
  std::uint64_t known_gaps_ = 0;
  bool is_new_ = true;
};

}  // namespace ganglion::realtime
