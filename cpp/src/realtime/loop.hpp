#pragma once

// The rules of every policy's loop, whatever engine computes: a step runs from the buffers of one phase into those of
// the other, which become current only when everything in them is good.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"
#include "realtime/action_map.hpp"
#include "realtime/float_mode.hpp"
#include "realtime/loop_tape.hpp"
#include "realtime/memory.hpp"
#include "realtime/sampling.hpp"

namespace ganglion::realtime {

/// Sizes of one row.
struct LoopShape {
  std::size_t batch = 1;
  std::size_t observation = 0;
  std::size_t hidden = 0;
  std::vector<std::size_t> outputs;
  std::vector<float> initial_state;           ///< [hidden]
  std::optional<std::size_t> applied_action;  ///< where in the state the action stands that was executed last
  ActionMap action_map;                       ///< from what stands there, or is drawn, to a command
  std::optional<Sampling> sampling;           ///< none: the action is the first output
};

/// What the loop does to numbers at every step, so it is given the fastest there is.
struct LoopKernels {
  /// True where no value is NaN or infinite.
  bool (*all_finite)(const float* values, std::size_t size) noexcept GANGLION_NONBLOCKING;
  /// Copies as the engine reads numbers, and answers as `all_finite`.
  bool (*take)(const float* from, float* to, std::size_t size) noexcept GANGLION_NONBLOCKING;
};

/// Owns every buffer that an engine reads or writes.
class Loop {
 public:
  /// Not `valid()` where memory is short or the sizes are absurd. Starts in the initial state.
  Loop(LoopShape shape, const LoopKernels& kernels, bool lock_memory);

  [[nodiscard]] bool valid() const noexcept { return memory_.valid(); }

  /// `run(phase)` computes state and outputs of the other phase; false: it could not. As nonblocking as `run` is.
  template <class Run>
  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action, Run run) noexcept {
    if (tape_ != nullptr) tape_->begin(PolicyTopic::step, moment(), observation);
    const Status status = try_step(observation, action, run);
    if (tape_ != nullptr) tape_->end_step(status, action.data(), recorded_outputs(), state());
    return status;
  }

  void reset() noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] Status reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::span<const float> output(std::size_t index) const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::span<const float> state() const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] Status set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] Status set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING;
  /// From now on every verb is recorded; null: none is.
  void record(std::unique_ptr<LoopTape> tape) noexcept { tape_ = std::move(tape); }
  /// Notes an event where the loop is recorded.
  void mark(EventKind kind, std::uint64_t count) noexcept GANGLION_NONBLOCKING {
    if (tape_ != nullptr) tape_->mark(kind, count);
  }
  [[nodiscard]] const LoopTape* tape() const noexcept GANGLION_NONBLOCKING { return tape_.get(); }
  [[nodiscard]] LoopSizes sizes() const noexcept;
  [[nodiscard]] const ActionSampler* sampler() const noexcept { return sampler_ ? &*sampler_ : nullptr; }
  /// As a loop begins, after steps that only served to warm up.
  void begin_again() noexcept;
  /// From now on the action is the first output.
  void stop_sampling() noexcept { sampler_.reset(); }

  [[nodiscard]] std::size_t batch() const noexcept GANGLION_NONBLOCKING { return shape_.batch; }
  [[nodiscard]] std::size_t phase() const noexcept { return phase_; }

  // The buffers, for the engine; fixed addresses.
  [[nodiscard]] float* observation() const noexcept { return observation_; }
  [[nodiscard]] std::array<float*, 2> states() const noexcept { return state_; }
  [[nodiscard]] std::array<float*, 2> outputs() const noexcept { return outputs_; }

  /// State, outputs, whether there are any, and the place in the random numbers, from a loop of the same shape.
  void copy_from(const Loop& other);

 private:
  template <class Run>
  [[nodiscard]] Status try_step(std::span<const float> observation, std::span<float> action, Run& run) noexcept {
    if (observation.size() != observation_size_ || action.size() != action_size_) return Status::bad_size;
    const FloatMode mode;
    if (!kernels_.take(observation.data(), observation_, observation.size())) return Status::non_finite_observation;
    if (!run(phase_)) return Status::engine_failure;
    const std::size_t next = 1 - phase_;
    if (!good_outputs(next) || !kernels_.all_finite(state_[next], state_size_)) return Status::non_finite_action;
    if (sampler_ && !sample(*sampler_, next)) return Status::non_finite_action;
    std::memcpy(action.data(), sampler_ ? sampled_ : outputs_[next], action.size_bytes());
    phase_ = next;
    has_stepped_ = true;
    return Status::ok;
  }

  [[nodiscard]] Status try_reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] Status try_set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] Status try_set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] LoopMoment moment() const noexcept GANGLION_NONBLOCKING {
    return {state(), sampler_ ? &*sampler_ : nullptr};
  }
  /// All but the action.
  [[nodiscard]] const float* recorded_outputs() const noexcept GANGLION_NONBLOCKING {
    return outputs_[phase_] + (sampler_ ? 0 : action_size_);
  }
  /// True where every output can be acted on. Behind the first, the action, an output may have -infinity beside finite
  /// elements: the logit of a choice that is masked out.
  [[nodiscard]] bool good_outputs(std::size_t phase) const noexcept GANGLION_NONBLOCKING {
    return kernels_.all_finite(outputs_[phase], output_size_) || only_masked(phase);
  }
  [[nodiscard]] bool only_masked(std::size_t phase) const noexcept GANGLION_NONBLOCKING;
  void reset_row(std::size_t row) noexcept GANGLION_NONBLOCKING;
  /// Draws actions from the outputs of a phase, notes them in its state and maps them; false: one is not finite.
  [[nodiscard]] bool sample(ActionSampler& sampler, std::size_t phase) noexcept GANGLION_NONBLOCKING;

  LoopShape shape_;
  std::size_t observation_size_;
  std::size_t action_size_;
  std::size_t output_size_;
  std::size_t state_size_;
  Memory memory_;
  float* observation_ = nullptr;
  std::array<float*, 2> state_{};
  std::array<float*, 2> outputs_{};
  float* sampled_ = nullptr;  ///< actions, where they are drawn
  std::optional<ActionSampler> sampler_;
  LoopKernels kernels_;
  std::unique_ptr<LoopTape> tape_;  ///< null: nobody records
  std::size_t phase_ = 0;
  bool has_stepped_ = false;
};

}  // namespace ganglion::realtime
