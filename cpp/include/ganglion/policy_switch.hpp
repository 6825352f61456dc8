#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "ganglion/contract.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/native_policy.hpp"
#include "ganglion/policy.hpp"
#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"

namespace ganglion {

namespace flight {
template <class AnyPolicy>
class SwitchLoop;
}

/// What a candidate remembers when it takes over.
enum class StateHandOver : std::uint8_t {
  fresh,      ///< nothing: it is reset when it takes over
  burned_in,  ///< what it saw while it ran beside the flying policy, on from the state that it was staged with
  copied,     ///< what the flying policy remembered when the candidate began to run beside it, and what came since
};

struct SwitchOptions {
  /// Most that an action may differ for the two to agree, in its unit: one number per element, or one for all of them.
  /// None: the candidate takes over on command alone.
  std::vector<double> gate = {};
  std::size_t agreeing_steps = 100;  ///< so many steps in a row must agree
  std::size_t patience = 5000;       ///< it is rejected where that has not come after so many steps; needs a gate
  std::size_t blend_steps = 50;      ///< steps on the way from the action of the old policy to that of the new one
  std::optional<double> blend_s = std::nullopt;  ///< the same in seconds, by the period of the contract
  std::size_t keep_steps = 1000;                 ///< so long the old policy goes on running, for a roll-back
  StateHandOver state = StateHandOver::burned_in;
};

/// What a switch is doing.
enum class SwitchPhase : std::uint8_t {
  flying,     ///< one policy runs
  shadowing,  ///< a candidate runs beside it, and its actions go nowhere
  blending,   ///< the action is on its way from the one to the other
  returning,  ///< one of the two failed in a blend: the action is on its way to that of the other one
  keeping,    ///< the new one flies, and the old one still runs beside it
};

/// What became of the newest candidate.
enum class SwitchOutcome : std::uint8_t {
  none,         ///< nothing yet
  took_over,    ///< it flies
  diverged,     ///< rejected: its actions did not agree
  failed,       ///< rejected: it answered a bad status where the flying policy did not
  withdrawn,    ///< rejected: on command, or for another candidate
  rolled_back,  ///< it flew, or was about to, and the policy before it flies again
};

/// The enumerator's name, for example "shadowing"; a string with static storage.
[[nodiscard]] const char* to_string(StateHandOver state) noexcept;
[[nodiscard]] const char* to_string(SwitchPhase phase) noexcept;
[[nodiscard]] const char* to_string(SwitchOutcome outcome) noexcept;

struct SwitchReport {
  SwitchPhase phase = SwitchPhase::flying;
  SwitchOutcome outcome = SwitchOutcome::none;
  Status status = Status::ok;    ///< what a candidate answered that failed
  std::uint64_t steps = 0;       ///< in all
  std::uint64_t exchanges = 0;   ///< candidates that took over
  std::uint64_t rejections = 0;  ///< those that did not
  std::uint64_t roll_backs = 0;
  std::uint64_t agreeing = 0;  ///< steps in a row, until now
  /// Where the newest candidate was farthest from the flying policy, by its gate; or the step that it failed in.
  std::uint64_t step = 0;
  std::size_t row = 0;
  std::size_t element = 0;
  float difference = 0.0F;

  /// One sentence for a log. Not for the loop: allocates.
  [[nodiscard]] std::string sentence() const;
};

/// Exchanges the policy of a loop while it flies. A thread of its own loads a candidate and stages it; the loop runs it
/// beside the flying one on the same observations, and exchanges the two when their actions agree, or on command, with
/// a blend between their actions. For `NativePolicy`, and for `Policy` on any engine.
///
///     ganglion::PolicySwitch flight(ganglion::NativePolicy::load("walker.ganglion"));
///     // the loop
///     const ganglion::Status status = flight.step(observation, action);
///     // another thread
///     flight.stage(ganglion::NativePolicy::load("walker2.ganglion"), {.gate = {0.05}});
///
/// Verbs of the loop (step, reset, set_applied_action, state, output) are for one thread, wait for nobody and free
/// nothing. stage and collect are for any other one. Commands (take_over, roll_back) and report are for all. In a step
/// no more than two policies run.
template <class AnyPolicy>
class PolicySwitch final {
 public:
  static constexpr bool is_nonblocking = std::is_same_v<AnyPolicy, NativePolicy>;

  /// With the policy that flies first. Throws `Error` (bad_option) where it was moved from.
  explicit PolicySwitch(AnyPolicy policy);

  PolicySwitch(const PolicySwitch&) = delete;
  PolicySwitch& operator=(const PolicySwitch&) = delete;
  ~PolicySwitch();  ///< when the loop is over

  // ---- any thread but the loop's: may allocate, throws ----

  /// Hands a candidate to the loop, which takes it up in its next step; a candidate that already runs is withdrawn, and
  /// a policy that was kept for a roll-back goes. Frees what was retired. Throws `Error` (bad_option), and nothing
  /// changes: its inputs, outputs, rows or period are others than those of the first policy, its state cannot be
  /// copied, or an option makes no sense.
  void stage(AnyPolicy candidate, const SwitchOptions& options = {});

  /// Frees the policies that the loop is done with; answers how many. `stage` and the destructor do it, too.
  std::size_t collect();

  /// Records what flies, and every candidate that is staged from now on, with what becomes of it. Before the loop runs.
  /// The recorder must stay where it is as long as candidates are staged, or until `detach`. Throws as
  /// `NativePolicy::attach` does.
  void attach(FlightRecorder& recorder);
  /// Candidates that are staged from now on are not recorded.
  void detach() noexcept;

  // ---- any thread ----

  /// The candidate takes over in the next step, agreeing or not; nothing where there is none.
  void take_over() noexcept GANGLION_NONBLOCKING;
  /// The policy before the newest candidate flies alone from the next step on, without a blend: it ran on with the same
  /// observations. A candidate that has not taken over is withdrawn. Nothing where the one before it is gone.
  void roll_back() noexcept GANGLION_NONBLOCKING;

  /// As it was after the last step; in another thread than the loop's, it waits while that one is writing it.
  [[nodiscard]] SwitchReport report() const noexcept GANGLION_NONBLOCKING;

  // ---- the thread of the loop ----

  /// One control step; see `NativePolicy::step`. What a policy that does not fly answers changes nothing but the
  /// report.
  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking);
  /// Of all policies that run, as the two below.
  void reset() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking);
  [[nodiscard]] Status reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking);
  /// Answers as the flying policy does. What went out is told by the switch itself to those that said something else.
  [[nodiscard]] Status set_applied_action(std::span<const float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking);

  /// Of the policy that flies, as all below; in a blend the old one.
  [[nodiscard]] std::span<const float> output(std::size_t index) const noexcept GANGLION_NONBLOCKING_IF(is_nonblocking);
  [[nodiscard]] std::span<const float> state() const noexcept GANGLION_NONBLOCKING_IF(is_nonblocking);
  [[nodiscard]] Status set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking);
  [[nodiscard]] const AnyPolicy& policy() const noexcept GANGLION_NONBLOCKING;

 private:
  std::unique_ptr<flight::SwitchLoop<AnyPolicy>> loop_;
};

extern template class PolicySwitch<NativePolicy>;
extern template class PolicySwitch<Policy>;

}  // namespace ganglion
