#pragma once

// What is decided about a convolution before it runs.

#include <cstdint>
#include <vector>

#include "native/kernels/table.hpp"
#include "native/pack.hpp"

namespace ganglion::native {

/// The faster one of the two ways on these kernels, and how its input lies.
[[nodiscard]] ConvolutionPlan plan_convolution(const Convolution& conv, const KernelTable& kernels);

/// For every tap of a group, in the order of the weight, how far its input is from that of the first one.
[[nodiscard]] std::vector<std::int32_t> tap_offsets(const ConvolutionPlan& plan);

/// Which channels of the output lie where in the weight: no panel has channels of two groups.
[[nodiscard]] RowOrder channel_order(const ConvolutionPlan& plan, const KernelTable& kernels);

}  // namespace ganglion::native
