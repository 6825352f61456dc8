#include "native/convolution.hpp"

#include <algorithm>

namespace ganglion::native {

namespace {

std::size_t divided(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

std::size_t padded_height(const Convolution& conv) { return conv.pad_top + conv.height + conv.pad_bottom; }
std::size_t padded_width(const Convolution& conv) { return conv.pad_left + conv.width + conv.pad_right; }

std::size_t taps(const Convolution& conv) {
  return conv.in_channels / conv.groups * conv.kernel_height * conv.kernel_width;
}

/// Channels of a block: one, four or the most; each is code of its own.
std::size_t block_of(std::size_t channels) { return channels == 1 ? 1 : channels <= 4 ? 4 : largest_block; }

/// Lays the input with its padding, in so many phases.
void lay_out_patches(ConvolutionPlan& plan, std::size_t down, std::size_t across) {
  const Convolution& conv = plan.conv;
  plan.phases_down = std::min(down, padded_height(conv));
  plan.phases_across = std::min(across, padded_width(conv));
  plan.line = divided(padded_width(conv), plan.phases_across);
  plan.phase = plan.line * divided(padded_height(conv), plan.phases_down);
  plan.channel = plan.phase * plan.phases_down * plan.phases_across;
  const bool has_padding = conv.pad_top + conv.pad_bottom + conv.pad_left + conv.pad_right != 0;
  plan.in_place = !has_padding && plan.phases_down == 1 && plan.phases_across == 1;
  plan.scratch = 0;
  if (plan.in_place) return;
  plan.scratch = conv.in_channels * plan.channel + (plan.phases_across == 1 ? 0 : padded_width(conv));
}

/// Each line by itself, unless that leaves too many lanes without work.
void choose_runs(ConvolutionPlan& plan, std::size_t lanes) {
  const Convolution& conv = plan.conv;
  const std::size_t whole = (conv.out_height - 1) * plan.line + conv.out_width;
  const std::size_t by_line = conv.out_height * divided(conv.out_width, lanes);
  const bool is_dense = whole == conv.out_height * conv.out_width;
  if (!is_dense && static_cast<double>(by_line) <= 1.15 * static_cast<double>(divided(whole, lanes))) {
    plan.runs = conv.out_height;
    plan.run = conv.out_width;
    return;
  }
  plan.run = whole;
  plan.in_planes = !is_dense;
  plan.planes = plan.scratch;
  if (plan.in_planes) plan.scratch += plan.block * whole;
}

/// A chain takes the latency of so many products of vectors for each of its taps, others beside it are free.
constexpr double latency = 4.0;

/// Products of vectors that a way takes, or would have had time for.
double work_of_places(const ConvolutionPlan& plan, const KernelTable& kernels) {
  const Convolution& conv = plan.conv;
  const std::size_t vectors = plan.runs * divided(plan.run, kernels.lanes);
  const std::size_t blocks = conv.groups * divided(conv.out_channels / conv.groups, plan.block);
  const double sums = static_cast<double>(vectors * plan.block);
  return static_cast<double>(blocks * taps(conv)) * std::max(sums, latency);
}

double work_of_channels(const Convolution& conv, const KernelTable& kernels) {
  const std::size_t plane = conv.out_height * conv.out_width;
  const double vectors = static_cast<double>(divided(conv.out_channels / conv.groups, kernels.lanes));
  const double tiles = static_cast<double>(divided(plane, kernels.places));
  const double products = std::max(static_cast<double>(plane) * vectors, latency * tiles);
  // Elements of a vector go to planes of their own, one by one.
  return static_cast<double>(conv.groups * taps(conv)) * products + static_cast<double>(plane * conv.out_channels);
}

}  // namespace

ConvolutionPlan plan_convolution(const Convolution& conv, const KernelTable& kernels) {
  ConvolutionPlan plan;
  plan.conv = conv;
  plan.block = block_of(conv.out_channels / conv.groups);
  lay_out_patches(plan, conv.stride_height, conv.stride_width);
  choose_runs(plan, kernels.lanes);
  plan.by_channels = work_of_channels(conv, kernels) < work_of_places(plan, kernels);
  if (plan.by_channels) lay_out_patches(plan, 1, 1);
  return plan;
}

std::vector<std::int32_t> tap_offsets(const ConvolutionPlan& plan) {
  const Convolution& conv = plan.conv;
  // In a phase the stride is one; where a stride is longer than the input, only the first place counts.
  const auto along = [](std::size_t at, std::size_t phases, std::size_t phase, std::size_t step) {
    return at % phases * phase + at / phases * step;
  };
  std::vector<std::int32_t> offsets;
  offsets.reserve(taps(conv));
  for (std::size_t c = 0; c < conv.in_channels / conv.groups; ++c) {
    for (std::size_t i = 0; i < conv.kernel_height; ++i) {
      for (std::size_t j = 0; j < conv.kernel_width; ++j) {
        const std::size_t down =
            along(i * conv.dilation_height, plan.phases_down, plan.phases_across * plan.phase, plan.line);
        const std::size_t across = along(j * conv.dilation_width, plan.phases_across, plan.phase, 1);
        offsets.push_back(static_cast<std::int32_t>(c * plan.channel + down + across));
      }
    }
  }
  return offsets;
}

RowOrder channel_order(const ConvolutionPlan& plan, const KernelTable& kernels) {
  const std::size_t lanes = plan.by_channels ? kernels.lanes : plan.block;
  const std::size_t panel = plan.by_channels ? convolution_vectors : 1;
  const std::size_t group = plan.conv.out_channels / plan.conv.groups;
  const std::size_t vectors = divided(group, lanes);
  RowOrder order;
  for (std::size_t g = 0; g < plan.conv.groups; ++g) {
    for (std::size_t lane = 0; lane < vectors * lanes; ++lane) {
      order.rows.push_back(lane < group ? static_cast<Index>(g * group + lane) : none);
    }
    for (std::size_t left = vectors; left != 0; left -= order.panels.back()) {
      order.panels.push_back(static_cast<std::uint8_t>(std::min(left, panel)));
    }
  }
  return order;
}

}  // namespace ganglion::native
