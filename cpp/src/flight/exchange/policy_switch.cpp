#include "ganglion/policy_switch.hpp"

#include <memory>
#include <utility>

#include "flight/exchange/switch_loop.hpp"
#include "ganglion/error.hpp"
#include "realtime/effects.hpp"

namespace ganglion {

template <class AnyPolicy>
PolicySwitch<AnyPolicy>::PolicySwitch(AnyPolicy policy) {
  if (policy.batch() == 0) {
    throw Error(ErrorCode::bad_option, "the policy was moved to another object; give that one to the switch");
  }
  loop_ = std::make_unique<flight::SwitchLoop<AnyPolicy>>(std::move(policy));
}

template <class AnyPolicy>
PolicySwitch<AnyPolicy>::~PolicySwitch() = default;

template <class AnyPolicy>
void PolicySwitch<AnyPolicy>::stage(AnyPolicy candidate, const SwitchOptions& options) {
  loop_->stage(std::move(candidate), options);
}

template <class AnyPolicy>
std::size_t PolicySwitch<AnyPolicy>::collect() {
  return loop_->collect();
}

template <class AnyPolicy>
void PolicySwitch<AnyPolicy>::attach(FlightRecorder& recorder) {
  loop_->attach(recorder);
}

template <class AnyPolicy>
void PolicySwitch<AnyPolicy>::detach() noexcept {
  loop_->detach();
}

template <class AnyPolicy>
void PolicySwitch<AnyPolicy>::take_over() noexcept GANGLION_NONBLOCKING {
  loop_->command(flight::Command::take_over);
}

template <class AnyPolicy>
void PolicySwitch<AnyPolicy>::roll_back() noexcept GANGLION_NONBLOCKING {
  loop_->command(flight::Command::roll_back);
}

template <class AnyPolicy>
SwitchReport PolicySwitch<AnyPolicy>::report() const noexcept GANGLION_NONBLOCKING {
  return loop_->report();
}

// What follows has its GANGLION_NONBLOCKING_IF from the declaration, and clang says so of every one: a condition that
// depends on a template is never the same as another one. What they call is checked where it stands, in SwitchLoop.
GANGLION_EFFECTS_UNCHECKED_BEGIN

template <class AnyPolicy>
Status PolicySwitch<AnyPolicy>::step(std::span<const float> observation, std::span<float> action) noexcept {
  return loop_->step(observation, action);
}

template <class AnyPolicy>
void PolicySwitch<AnyPolicy>::reset() noexcept {
  (*loop_).reset();
}

template <class AnyPolicy>
Status PolicySwitch<AnyPolicy>::reset(std::span<const std::uint8_t> rows) noexcept {
  return loop_->reset(rows);
}

template <class AnyPolicy>
Status PolicySwitch<AnyPolicy>::set_applied_action(std::span<const float> action) noexcept {
  return loop_->set_applied_action(action);
}

template <class AnyPolicy>
std::span<const float> PolicySwitch<AnyPolicy>::output(std::size_t index) const noexcept {
  return policy().output(index);
}

template <class AnyPolicy>
std::span<const float> PolicySwitch<AnyPolicy>::state() const noexcept {
  return policy().state();
}

template <class AnyPolicy>
Status PolicySwitch<AnyPolicy>::set_state(std::span<const float> state) noexcept {
  return loop_->flying().policy.set_state(state);
}

GANGLION_EFFECTS_UNCHECKED_END

template <class AnyPolicy>
const AnyPolicy& PolicySwitch<AnyPolicy>::policy() const noexcept GANGLION_NONBLOCKING {
  return loop_->flying().policy;
}

template class PolicySwitch<NativePolicy>;
template class PolicySwitch<Policy>;

}  // namespace ganglion
