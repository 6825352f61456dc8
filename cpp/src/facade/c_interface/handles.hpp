#pragma once

// Each opaque type of ganglion.h that more than one file looks into.

#include <cstddef>
#include <vector>

#include "facade/c_interface/handle.hpp"
#include "ganglion.h"
#include "ganglion/contract.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/policy.hpp"

namespace ganglion::c_interface {

/// An input or output as C sees it; what it points at is the contract's, and the lists here.
class SeenTensor {
 public:
  explicit SeenTensor(const TensorSpec& spec);

  [[nodiscard]] const ganglion_tensor& get() const noexcept { return seen_; }

 private:
  std::vector<const char*> element_names_;
  std::vector<const char*> units_;
  ganglion_tensor seen_{};
};

/// A policy, and what C sees of its contract.
struct HeldPolicy {
  explicit HeldPolicy(Policy held);

  [[nodiscard]] std::size_t output_count() const noexcept { return outputs.size(); }

  Policy policy;
  std::vector<SeenTensor> inputs;
  std::vector<SeenTensor> outputs;
  ganglion_policy_info info{};
};

}  // namespace ganglion::c_interface

struct ganglion_policy final : ganglion::c_interface::Handle<ganglion::c_interface::HeldPolicy, 'p'> {
  using Handle::Handle;
};

struct ganglion_recorder final : ganglion::c_interface::Handle<ganglion::FlightRecorder, 'r'> {
  using Handle::Handle;
};
