#pragma once

#include <cstddef>
#include <string>
#include <vector>

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
  /// [rows]: SHA-256 over the outputs and states of each recorded row that was replayed, step by step; empty where
  /// another engine than the native one replayed it, whose bits nobody promises.
  std::vector<std::string> bits;
  std::string message;  ///< one sentence
};

}  // namespace ganglion
