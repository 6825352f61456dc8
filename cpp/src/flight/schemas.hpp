#pragma once

// What the bodies of the events are, as ROS 2 message definitions. The loop writes the bodies itself
// (realtime/loop_tape.cpp); the tests read every number of them back by these definitions.

#include <cstddef>
#include <string>
#include <vector>

#include "flight/mcap/writer.hpp"
#include "realtime/recorded_policy.hpp"

namespace ganglion::flight {

[[nodiscard]] Topic events_of_flight();
/// In the order of `realtime::PolicyTopic`.
[[nodiscard]] std::vector<Topic> topics_of(const detail::RecordedPolicy& policy, std::uint32_t number);
[[nodiscard]] Topic ticks_topic(const std::string& name);
[[nodiscard]] Topic guard_topic(const std::string& name, std::size_t action_size);
[[nodiscard]] Topic values_topic(const std::string& name, std::size_t size);

}  // namespace ganglion::flight
