// Built with -ffp-contract=off; see elementary.hpp.

#include "realtime/action_map.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "realtime/elementary.hpp"

namespace ganglion::realtime {

namespace {

/// The engines compute a command in float32: two commands that differ by less than 8 of its units are the same.
constexpr double same_command = 0x1p-20;
/// The largest float32 below 1: tanh of anything larger is 1 there.
constexpr double largest_squashed = 1.0 - 0x1p-24;

constexpr double largest_float = std::numeric_limits<float>::max();

double element_or(const std::vector<double>& list, std::size_t element, double otherwise) noexcept {
  return list.empty() ? otherwise : list[element];
}

}  // namespace

ActionMap::ActionMap(std::vector<ActionStage> stages, std::size_t size) : stages_(std::move(stages)), reach_(size) {
  for (std::size_t i = 0; i < size; ++i) {
    for (const ActionStage& stage : stages_) {
      const double scale = std::fabs(element_or(stage.scale, i, 1.0));
      reach_[i] = scale * (stage.squash ? 1.0 : reach_[i]) + std::fabs(element_or(stage.offset, i, 0.0));
    }
  }
}

void ActionMap::apply(float* action) const noexcept GANGLION_NONBLOCKING {
  for (std::size_t i = 0; i < reach_.size(); ++i) {
    action[i] = static_cast<float>(mapped(i, static_cast<double>(action[i])));
  }
}

void ActionMap::undo(const float* command, float* own) const noexcept GANGLION_NONBLOCKING {
  for (std::size_t i = 0; i < reach_.size(); ++i) {
    const auto wanted = static_cast<double>(command[i]);
    const auto known = static_cast<double>(own[i]);
    const double difference = std::fabs(mapped(i, known) - wanted);
    if (difference <= same_command * (std::fabs(wanted) + reach_[i])) continue;
    own[i] = static_cast<float>(unmapped(i, wanted, known));
  }
}

double ActionMap::mapped(std::size_t element, double value) const noexcept GANGLION_NONBLOCKING {
  for (const ActionStage& stage : stages_) {
    if (stage.squash) value = hyperbolic_tangent(value);
    if (!stage.scale.empty()) value = stage.scale[element] * value;
    if (!stage.offset.empty()) value = value + stage.offset[element];
    if (!stage.low.empty() && value < stage.low[element]) value = stage.low[element];
    if (!stage.high.empty() && value > stage.high[element]) value = stage.high[element];
  }
  return value;
}

double ActionMap::unmapped(std::size_t element, double command, double own) const noexcept GANGLION_NONBLOCKING {
  double value = command;
  for (std::size_t number = stages_.size(); number-- > 0;) {
    const ActionStage& stage = stages_[number];
    if (!stage.offset.empty()) value = value - stage.offset[element];
    if (!stage.scale.empty()) {
      if (stage.scale[element] == 0.0) return own;
      value = value / stage.scale[element];
    }
    if (stage.squash) {
      value = inverse_hyperbolic_tangent(std::clamp(value, -largest_squashed, largest_squashed));
    }
  }
  return std::clamp(value, -largest_float, largest_float);
}

}  // namespace ganglion::realtime
