#pragma once

// The self-test of every kind of policy: the golden trajectory, step by step, on a clone.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "ganglion/contract.hpp"
#include "ganglion/self_test.hpp"
#include "ganglion/status.hpp"

namespace ganglion::detail {

/// The verbs of a policy that a replay needs.
struct ReplayedPolicy {
  const Contract& contract;
  std::size_t batch;
  std::function<Status(std::span<const float>, std::span<float>)> step;
  std::function<Status(std::span<const std::uint8_t>)> reset_rows;
  std::function<std::span<const float>(std::size_t)> output;
  std::function<std::span<const float>()> state;
  bool is_native;
  std::function<std::string()> engine_error;  ///< about the last failed step
};

/// Replays the golden trajectory on `policy`, which is in its initial state.
[[nodiscard]] SelfTest replay_golden(const ReplayedPolicy& policy);

/// The same on a policy that has all verbs.
template <class AnyPolicy>
[[nodiscard]] SelfTest replay_golden(AnyPolicy& policy, bool is_native, std::function<std::string()> engine_error) {
  return replay_golden(
      {policy.contract(), policy.batch(),
       [&](std::span<const float> observation, std::span<float> action) { return policy.step(observation, action); },
       [&](std::span<const std::uint8_t> rows) { return policy.reset(rows); },
       [&](std::size_t index) { return policy.output(index); }, [&] { return policy.state(); }, is_native,
       std::move(engine_error)});
}

/// The rows that an artifact runs: what its contract fixes, else `wanted`, else one. Throws `Error` (bad_option).
[[nodiscard]] std::size_t choose_batch(const std::string& name, const Contract& contract, std::size_t wanted);

}  // namespace ganglion::detail
