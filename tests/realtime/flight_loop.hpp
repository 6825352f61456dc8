#pragma once

#include <cstdint>
#include <ganglion/action_guard.hpp>
#include <ganglion/cadence.hpp>
#include <ganglion/observation_monitor.hpp>
#include <ganglion/policy_switch.hpp>
#include <limits>
#include <span>

namespace realtime {

/// What stands around a step, at 1 kHz, in a function that the compiler knows to be nonblocking: every verb, actions
/// that are not finite, a clock that is set back. Answers something that depends on all of it.
inline std::uint64_t fly(std::int64_t ticks, ganglion::Cadence& cadence, ganglion::TickMonitor& monitor,
                         ganglion::ActionGuard& guard, std::span<float> action,
                         std::span<float> command) noexcept GANGLION_NONBLOCKING {
  std::uint64_t seen = 0;
  for (std::int64_t i = 0; i < ticks; ++i) {
    const std::int64_t now = i * 1'000'000 - (i % 1000 == 0 ? 3'000'000 : 0);
    if (i % 1000 == 0) seen += guard.engage(command) ? 1 : 0;
    action[0] = i % 777 == 0 ? std::numeric_limits<float>::quiet_NaN() : 0.001F * static_cast<float>(i % 1000);
    if (cadence.due(now)) {
      seen += cadence.take(action) == ganglion::Status::ok ? 1 : 0;
      seen += monitor.tick(now) == ganglion::Tick::on_time ? 1 : 0;
      seen += monitor.mismatch().has_value() ? 1 : 0;
    }
    seen += cadence.action(now, command) ? 1 : 0;
    seen += static_cast<std::uint64_t>(guard.apply(action, now, command).reason);
    if (i % 50 == 0) seen += static_cast<std::uint64_t>(guard.hold(now, command).reason);
    if (i % 3000 == 2999) {
      cadence.reset();
      monitor.reset();
      guard.disengage();
    }
  }
  return seen;
}

/// Every verb of a monitor: observations inside, outside, that jump, that are no numbers, of a wrong size.
inline std::uint64_t look(std::uint64_t checks, ganglion::ObservationMonitor& monitor, std::span<float> observation,
                          std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  std::uint64_t seen = 0;
  for (std::uint64_t i = 0; i < checks; ++i) {
    observation[0] = i % 70 == 0 ? std::numeric_limits<float>::quiet_NaN() : 0.01F * static_cast<float>(i % 300);
    seen += static_cast<std::uint64_t>(monitor.check(observation));
    seen += static_cast<std::uint64_t>(monitor.check(observation.first(0)));
    seen += monitor.plausible(0.001) ? 1 : 0;
    if (const auto worst = monitor.worst()) seen += worst->counts.total() + worst->name.size();
    seen += monitor.counts(0).outside + monitor.checks() + monitor.size() + monitor.rows();
    if (i % 50 == 49) seen += monitor.reset(rows) ? 1 : 0;
    if (i % 1000 == 999) monitor.reset();
  }
  return seen;
}

/// Every verb of a switch while a candidate that is staged runs beside, blends, takes over and is rolled back. Answers
/// how many steps were ok.
template <class AnyPolicy>
std::uint64_t exchange(std::uint64_t steps, ganglion::PolicySwitch<AnyPolicy>& flight,
                       std::span<const float> observation, std::span<float> action,
                       std::span<const std::uint8_t> rows) noexcept
    GANGLION_NONBLOCKING_IF(ganglion::PolicySwitch<AnyPolicy>::is_nonblocking) {
  std::uint64_t good = 0;
  for (std::uint64_t i = 0; i < steps; ++i) {
    good += flight.step(observation, action) == ganglion::Status::ok ? 1 : 0;
    if (i % 10 == 9) static_cast<void>(flight.set_applied_action(action));
    if (i % 50 == 49) static_cast<void>(flight.reset(rows));
    if (i % 60 == 59) static_cast<void>(flight.set_state(flight.state()));
    if (i % 100 == 99) flight.reset();
    if (i == steps / 4) flight.take_over();
    if (i == steps / 4 * 3) flight.roll_back();
    static_cast<void>(flight.output(0));
    static_cast<void>(flight.policy());
    static_cast<void>(flight.report());
  }
  return good;
}

}  // namespace realtime
