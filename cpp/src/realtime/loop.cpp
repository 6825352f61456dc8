#include "realtime/loop.hpp"

#include <limits>
#include <numeric>
#include <utility>

namespace ganglion::realtime {

namespace {

std::size_t line_floats(std::size_t floats) { return round_up(floats, cache_line / sizeof(float)); }

}  // namespace

Loop::Loop(LoopShape shape, const LoopKernels& kernels, bool lock_memory)
    : shape_(std::move(shape)),
      observation_size_(shape_.batch * shape_.observation),
      action_size_(shape_.outputs.empty() ? 0 : shape_.batch * shape_.outputs[0]),
      output_size_(shape_.batch * std::accumulate(shape_.outputs.begin(), shape_.outputs.end(), std::size_t{0})),
      state_size_(shape_.batch * shape_.hidden),
      kernels_(kernels) {
  const std::size_t all = line_floats(observation_size_) + 2 * line_floats(state_size_) +
                          2 * line_floats(output_size_) + line_floats(action_size_);
  if (all > most_floats) return;
  memory_ = Memory(all * sizeof(float));
  if (!memory_.valid()) return;
  if (lock_memory && !memory_.lock()) {
    memory_ = Memory();
    return;
  }
  auto* next = reinterpret_cast<float*>(memory_.data());
  const auto take = [&next](std::size_t floats) { return std::exchange(next, next + line_floats(floats)); };
  observation_ = take(observation_size_);
  for (float*& state : state_) state = take(state_size_);
  for (float*& outputs : outputs_) outputs = take(output_size_);
  sampled_ = take(action_size_);
  if (shape_.sampling) sampler_.emplace(*shape_.sampling, shape_.batch);
  kernels_.take(shape_.initial_state.data(), shape_.initial_state.data(), shape_.initial_state.size());
  reset();
}

void Loop::reset() noexcept GANGLION_NONBLOCKING {
  if (tape_ != nullptr) tape_->begin_reset(moment());
  for (std::size_t row = 0; row < shape_.batch; ++row) reset_row(row);
  if (tape_ != nullptr) tape_->end_reset(Status::ok, nullptr);
}

void Loop::begin_again() noexcept {
  phase_ = 0;
  has_stepped_ = false;
  if (sampler_) sampler_->begin_again();
  reset();
}

Status Loop::reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  if (tape_ != nullptr) tape_->begin_reset(moment());
  const Status status = try_reset(rows);
  if (tape_ != nullptr) tape_->end_reset(status, rows.data());
  return status;
}

Status Loop::try_reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  if (rows.size() != shape_.batch) return Status::bad_size;
  for (std::size_t row = 0; row < shape_.batch; ++row) {
    if (rows[row] != 0) reset_row(row);
  }
  return Status::ok;
}

void Loop::reset_row(std::size_t row) noexcept GANGLION_NONBLOCKING {
  if (sampler_) sampler_->reset(row);
  if (shape_.hidden == 0) return;
  std::memcpy(state_[phase_] + row * shape_.hidden, shape_.initial_state.data(), shape_.hidden * sizeof(float));
}

std::span<const float> Loop::output(std::size_t index) const noexcept GANGLION_NONBLOCKING {
  if (!has_stepped_ || index >= shape_.outputs.size()) return {};
  std::size_t offset = 0;
  for (std::size_t i = 0; i < index; ++i) offset += shape_.outputs[i];
  return {outputs_[phase_] + shape_.batch * offset, shape_.batch * shape_.outputs[index]};
}

std::span<const float> Loop::state() const noexcept GANGLION_NONBLOCKING { return {state_[phase_], state_size_}; }

Status Loop::set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  if (tape_ != nullptr) tape_->begin(PolicyTopic::set_state, moment(), state);
  const Status status = try_set_state(state);
  if (tape_ != nullptr) tape_->end(status, this->state());
  return status;
}

Status Loop::try_set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  if (state.size() != state_size_) return Status::bad_size;
  if (!kernels_.all_finite(state.data(), state.size())) return Status::non_finite_state;
  // The caller may hand back what state() answered.
  std::memmove(state_[phase_], state.data(), state.size_bytes());
  kernels_.take(state_[phase_], state_[phase_], state_size_);
  return Status::ok;
}

bool Loop::only_masked(std::size_t phase) const noexcept GANGLION_NONBLOCKING {
  const float* values = outputs_[phase];
  if (!kernels_.all_finite(values, action_size_)) return false;
  for (const std::size_t size : shape_.outputs) {
    for (std::size_t row = 0; row < shape_.batch; ++row, values += size) {
      bool has_finite = false;
      for (std::size_t element = 0; element < size; ++element) {
        const bool is_finite = kernels_.all_finite(values + element, 1);
        if (!is_finite && values[element] != -std::numeric_limits<float>::infinity()) return false;
        has_finite |= is_finite;
      }
      if (!has_finite) return false;
    }
  }
  return true;
}

bool Loop::sample(ActionSampler& sampler, std::size_t phase) noexcept GANGLION_NONBLOCKING {
  const float* const mean = outputs_[phase] + shape_.batch * sampler.mean();
  const std::optional<std::size_t> at = sampler.log_prob();
  float* const log_prob = at ? outputs_[phase] + shape_.batch * *at : nullptr;
  sampler.draw({mean, action_size_}, outputs_[phase] + action_size_, sampled_, log_prob);
  if (!kernels_.all_finite(sampled_, action_size_)) return false;
  if (at && !kernels_.all_finite(log_prob, shape_.batch)) return false;
  const std::size_t size = action_size_ / shape_.batch;
  for (std::size_t row = 0; row < shape_.batch; ++row) {
    float* const own = sampled_ + row * size;
    if (shape_.applied_action) {
      kernels_.take(own, state_[phase] + row * shape_.hidden + *shape_.applied_action, size);
    }
    if (!shape_.action_map.empty()) shape_.action_map.apply(own);
  }
  if (!kernels_.all_finite(sampled_, action_size_)) return false;
  sampler.count_step();
  return true;
}

Status Loop::set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING {
  if (tape_ != nullptr) tape_->begin(PolicyTopic::applied_action, moment(), action);
  const Status status = try_set_applied_action(action);
  if (tape_ != nullptr) tape_->end(status, this->state());
  return status;
}

Status Loop::try_set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING {
  if (!shape_.applied_action || action.size() != action_size_) return Status::bad_size;
  if (!kernels_.all_finite(action.data(), action.size())) return Status::non_finite_action;
  const std::size_t size = action_size_ / shape_.batch;
  for (std::size_t row = 0; row < shape_.batch; ++row) {
    float* const own = state_[phase_] + row * shape_.hidden + *shape_.applied_action;
    const float* const told = action.data() + row * size;
    if (shape_.action_map.empty()) {
      std::memcpy(own, told, size * sizeof(float));
    } else {
      shape_.action_map.undo(told, own);
    }
    kernels_.take(own, own, size);
  }
  return Status::ok;
}

LoopSizes Loop::sizes() const noexcept {
  return {.batch = shape_.batch,
          .observation = observation_size_,
          .action = action_size_,
          .state = state_size_,
          .outputs = output_size_ - (sampler_ ? 0 : action_size_),
          .draws = sampler_.has_value()};
}

void Loop::copy_from(const Loop& other) {
  std::memcpy(state_[phase_], other.state_[other.phase_], state_size_ * sizeof(float));
  std::memcpy(outputs_[phase_], other.outputs_[other.phase_], output_size_ * sizeof(float));
  has_stepped_ = other.has_stepped_;
  sampler_ = other.sampler_;
}

}  // namespace ganglion::realtime
