#pragma once

// What a policy of either class says after it was moved from: every verb answers, and nothing is written.

#include <cstdint>
#include <utility>
#include <vector>

#include "check.hpp"
#include "ganglion/error.hpp"
#include "ganglion/status.hpp"

/// `further` checks of a policy that was moved from what its class alone has.
template <class AnyPolicy, class Further>
void check_moved_from(AnyPolicy policy, const Further& further) {
  using ganglion::ErrorCode;
  using ganglion::Status;
  AnyPolicy other = std::move(policy);
  std::vector<float> action(other.contract().action_size(), -7.0F);
  const std::vector<float> observation(other.contract().observation_size(), 0.5F);
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
  for (int round = 0; round < 2; ++round) {
    CHECK_EQUAL(policy.step(observation, action), Status::moved_from);
    CHECK_EQUAL(action[0], -7.0F);
    CHECK_EQUAL(policy.burn_in(observation).status, Status::moved_from);
    policy.reset();
    CHECK_EQUAL(policy.reset(std::vector<std::uint8_t>{1}), Status::moved_from);
    CHECK_EQUAL(policy.set_state({}), Status::moved_from);
    CHECK_EQUAL(policy.set_applied_action(action), Status::moved_from);
    CHECK(policy.state().empty() && policy.output(0).empty());
    CHECK_EQUAL(policy.batch(), 0U);
    CHECK(policy.contract().inputs.empty() && policy.reading().findings.empty());
    CHECK_ERROR(policy.clone(), ErrorCode::bad_option, "moved to another object");
    CHECK_ERROR(policy.self_test(), ErrorCode::bad_option, "moved to another object");
    further(policy);
    AnyPolicy third = std::move(policy);  // once more, of nothing
    policy = std::move(third);
  }
  policy = std::move(other);
  CHECK_EQUAL(policy.step(observation, action), Status::ok);
  // NOLINTEND(bugprone-use-after-move)
}
