#pragma once

#include <cstddef>
#include <string>

namespace ganglion {

/// The outcome of a replay of the golden trajectory.
struct SelfTest {
  bool ok = false;
  std::size_t steps = 0;        ///< steps replayed; 0: the artifact carries no golden trajectory
  double max_error = 0.0;       ///< largest |difference| / max(1, |recorded|)
  double tolerance = 0.0;       ///< accepted value of max_error
  std::size_t step = 0;         ///< where the tolerance was first exceeded: step,
  std::size_t row = 0;          ///< batch row,
  std::size_t element = 0;      ///< and element in the concatenated outputs
  double median_step_us = 0.0;  ///< median and worst duration of the replayed steps, microseconds
  double worst_step_us = 0.0;
  std::string message;  ///< one sentence
};

}  // namespace ganglion
