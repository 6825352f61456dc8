#pragma once

#include <cstddef>
#include <span>

#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"

namespace ganglion::detail {

/// Steps a policy along observations, [steps, batch, observation_size]; `action`, [batch, action_size], is for nobody.
template <class AnyPolicy>
[[nodiscard]] BurnIn burn_in(AnyPolicy& policy, std::span<const float> observations, std::span<float> action) noexcept {
  const std::size_t size = policy.batch() * policy.contract().observation_size();
  if (size == 0 || observations.size() % size != 0) return {Status::bad_size, 0};
  BurnIn done;
  for (; !observations.empty(); observations = observations.subspan(size)) {
    done.status = policy.step(observations.first(size), action);
    if (done.status != Status::ok) break;
    ++done.steps;
  }
  return done;
}

}  // namespace ganglion::detail
