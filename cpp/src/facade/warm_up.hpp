#pragma once

#include <cstdint>
#include <vector>

#include "ganglion/status.hpp"
#include "realtime/loop.hpp"

namespace ganglion::detail {

/// Calls every verb of the loop a few times: afterwards its code is in memory, lazy parts of an engine are set up, and
/// what the C library binds at a first call is bound. Leaves no trace. False where the engine failed.
template <class AnyPolicy>
[[nodiscard]] bool warm_up(AnyPolicy& policy, realtime::Loop& loop, int steps) {
  const std::vector<float> observation(policy.batch() * policy.contract().observation_size());
  std::vector<float> action(policy.batch() * policy.contract().action_size());
  const std::vector<std::uint8_t> rows(policy.batch(), 1);
  for (int i = 0; i < steps; ++i) {
    if (policy.step(observation, action) == Status::engine_failure) return false;
    static_cast<void>(policy.set_applied_action(action));
    static_cast<void>(policy.set_state(policy.state()));
    static_cast<void>(policy.output(0));
    static_cast<void>(policy.reset(rows));
    policy.reset();
  }
  loop.begin_again();
  return true;
}

}  // namespace ganglion::detail
