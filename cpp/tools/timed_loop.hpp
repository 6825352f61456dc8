#pragma once

#include <ganglion/policy.hpp>
#include <optional>
#include <string>

#include "trajectory.hpp"

namespace ganglion::tools {

struct LoopOptions {
  double seconds = 10.0;
  int priority = 50;
  std::optional<int> cpu;
  bool json = false;
};

/// Flies a policy in a loop of `hz` ticks a second on this machine, with the observations of a trajectory, from its top
/// again where it ends, or with random ones, and prints what came out. Throws std::runtime_error where the trajectory
/// is damaged, and, when all is printed, where steps were refused.
void fly(Policy& policy, const std::string& file, TrajectoryReader* trajectory, double hz, const LoopOptions& options);

}  // namespace ganglion::tools
