#pragma once

// What a burn-in does to a policy of either class: so many steps, and no more.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "check.hpp"
#include "ganglion/status.hpp"

template <class AnyPolicy>
void check_burn_in(AnyPolicy stepped) {
  using ganglion::Status;
  AnyPolicy burnt = stepped.clone();
  const auto same_bytes = [](std::span<const float> a, std::span<const float> b) {
    return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
  };
  const std::size_t size = stepped.batch() * stepped.contract().observation_size();
  std::vector<float> observations(7 * size);
  for (std::size_t i = 0; i < observations.size(); ++i) observations[i] = std::sin(0.3F * static_cast<float>(i));
  std::vector<float> action(stepped.batch() * stepped.contract().action_size());
  const auto fly = [&](std::size_t steps) {
    for (std::size_t step = 0; step < steps; ++step) {
      CHECK_EQUAL(stepped.step(std::span(observations).subspan(step * size, size), action), Status::ok);
    }
  };

  fly(7);
  const ganglion::BurnIn done = burnt.burn_in(observations);
  CHECK(done.status == Status::ok && done.steps == 7U);
  CHECK(same_bytes(burnt.state(), stepped.state()));
  CHECK(same_bytes(burnt.output(0), stepped.output(0)));

  stepped.reset();
  burnt.reset();
  fly(4);
  observations[4 * size + 1] = std::numeric_limits<float>::quiet_NaN();
  const ganglion::BurnIn refused = burnt.burn_in(observations);
  CHECK(refused.status == Status::non_finite_observation && refused.steps == 4U);
  CHECK(same_bytes(burnt.state(), stepped.state()));

  CHECK(burnt.burn_in(std::span(observations).first(2 * size - 1)).status == Status::bad_size);
  CHECK(burnt.burn_in({}).status == Status::ok && burnt.burn_in({}).steps == 0U);
  CHECK(same_bytes(burnt.state(), stepped.state()));
}
