#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ganglion/contract.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/realtime.hpp"

namespace ganglion {

/// Lists have one number per element of the action, or one for all of them.
struct GuardOptions {
  std::vector<double> rate = {};     ///< most that an element may change, in its unit per second; must be given
  std::vector<double> low = {};      ///< none: those of the contract
  std::vector<double> high = {};     ///< none: those of the contract
  double blend_s = 1.0;              ///< from where the robot is to what the policy says, after engage
  std::vector<double> damping = {};  ///< the action to go to where the policy gave none for too long; none: stay
  double longest_hold_s = 0.1;       ///< so long the last action is held where the policy gives none
  std::optional<double> longest_tick_s =
      std::nullopt;  ///< a longer tick moves no farther; none: two of the contract's periods
};

/// What a guard did to an action; of several the one that stands last.
enum class GuardReason : std::uint8_t {
  none,            ///< the action is the policy's own
  blending,        ///< between where the robot was at engage and the policy's action
  clamped,         ///< an element was beyond its bounds
  limited,         ///< an element would have changed too fast
  clock_set_back,  ///< the time is earlier than before: nothing moved
  holding,         ///< the policy gave no action, or one that is not finite: the last one is held
  expired,         ///< it gave none for too long: on the way to the damping action, or still held; stop the robot
  bad_size,        ///< a span has the wrong number of elements: nothing was written
  not_engaged,     ///< engage comes first: nothing was written
};

/// The enumerator's name, for example "limited"; a string with static storage.
[[nodiscard]] const char* to_string(GuardReason reason) noexcept;

struct GuardStatus {
  GuardReason reason = GuardReason::none;
  std::size_t element = 0;  ///< the first one that the reason is about
};

/// Stands between a policy and the motors: no element changes faster than its rate, whatever the policy says, at
/// engage, at an exchange of policies and after a fault. Clamps to the bounds, blends in, holds.
///
///     guard.engage(position);                                      // where the robot is, in the units of the action
///     const Status status = policy.step(observation, action);
///     const GuardStatus done = status == Status::ok ? guard.apply(action, now, command) : guard.hold(now, command);
class ActionGuard {
 public:
  /// Throws `Error` (bad_option): a list has the wrong length, a rate or a time is no positive number, a bound or the
  /// damping action is not finite where it must be, a lower bound is above the upper one, or neither options nor
  /// contract say how long a tick may be.
  ActionGuard(const Contract& contract, const GuardOptions& options);

  /// From here: position, [action_size], is what the action would have to be for the robot to stay where it is. False,
  /// and nothing changed, where the size is wrong or an element is not finite.
  [[nodiscard]] bool engage(std::span<const float> position) noexcept GANGLION_NONBLOCKING;

  /// Writes what the motors get for an action of the policy; both [action_size], and they may be the same.
  [[nodiscard]] GuardStatus apply(std::span<const float> action, std::int64_t now_ns,
                                  std::span<float> out) noexcept GANGLION_NONBLOCKING;

  /// Writes what the motors get where the policy gave no action.
  [[nodiscard]] GuardStatus hold(std::int64_t now_ns, std::span<float> out) noexcept GANGLION_NONBLOCKING;

  /// Elements of what it takes and writes: action_size.
  [[nodiscard]] std::size_t size() const noexcept GANGLION_NONBLOCKING { return size_; }

  /// Records what every apply and hold gives from now on, as /guard; not those of copies. Set-up; throws `Error`: the
  /// recording is closed.
  void attach(FlightRecorder& recorder);

  /// The next apply answers not_engaged.
  void disengage() noexcept GANGLION_NONBLOCKING { is_engaged_ = false; }

 private:
  [[nodiscard]] GuardStatus guarded(std::span<const float> action, std::int64_t now_ns,
                                    std::span<float> out) noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] GuardStatus held(std::int64_t now_ns, std::span<float> out) noexcept GANGLION_NONBLOCKING;
  /// Into the recording, where there is one.
  [[nodiscard]] GuardStatus noted(GuardStatus status) const noexcept GANGLION_NONBLOCKING;
  /// Seconds since the call before, as far as they count; nothing where the clock was set back.
  [[nodiscard]] std::optional<double> passed(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING;
  /// Moves an element towards a value; true where that was too far for the time.
  [[nodiscard]] bool move(std::size_t element, double to, double seconds) noexcept GANGLION_NONBLOCKING;

  std::size_t size_;
  std::vector<double> rate_;  ///< [action_size], as those below
  std::vector<double> low_;
  std::vector<double> high_;
  std::vector<double> damping_;  ///< or none
  std::vector<float> start_;     ///< where engage was
  std::vector<float> given_;     ///< what the motors got last
  double blend_s_;
  double longest_hold_s_;
  double longest_tick_s_;
  double engaged_s_ = 0.0;
  double held_s_ = 0.0;
  std::int64_t newest_ns_ = 0;
  bool is_engaged_ = false;
  bool has_ticked_ = false;
  detail::RecordedTopic recorded_;
};

}  // namespace ganglion
