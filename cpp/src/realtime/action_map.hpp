#pragma once

// From what a policy itself draws to a command, and back: the same numbers, bit for bit, as in ganglion/sampling.py.

#include <cstddef>
#include <vector>

#include "ganglion/contract.hpp"
#include "ganglion/realtime.hpp"

namespace ganglion::realtime {

/// The stages of a contract, one after the other, for actions of one size.
class ActionMap {
 public:
  ActionMap() = default;
  ActionMap(std::vector<ActionStage> stages, std::size_t size);

  [[nodiscard]] bool empty() const noexcept { return stages_.empty(); }
  /// Maps one row in place.
  void apply(float* action) const noexcept GANGLION_NONBLOCKING;
  /// Finds for one row what the policy would have given itself for a command. An element of `own` that leads to the
  /// command already stays, and so does one that no command tells of: a clipped action has many origins.
  void undo(const float* command, float* own) const noexcept GANGLION_NONBLOCKING;

 private:
  [[nodiscard]] double mapped(std::size_t element, double value) const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] double unmapped(std::size_t element, double command, double own) const noexcept GANGLION_NONBLOCKING;

  std::vector<ActionStage> stages_;
  std::vector<double> reach_;  ///< per element: how large the numbers are that a command is computed with
};

}  // namespace ganglion::realtime
