#pragma once

#include <cstddef>
#include <random>
#include <span>
#include <vector>

namespace ganglion::tools {

/// Random observations for a measurement, the same ones in every run of a program.
class Observations {
 public:
  /// `size`: of one step, all rows.
  explicit Observations(std::size_t size) : size_(size), values_(distinct * size) {
    std::mt19937 generator(0);
    std::normal_distribution<float> normal;
    for (float& value : values_) value = normal(generator);
  }

  /// Of the i-th step.
  [[nodiscard]] std::span<const float> at(std::size_t i) const {
    return std::span(values_).subspan(i % distinct * size_, size_);
  }

 private:
  static constexpr std::size_t distinct = 64;

  std::size_t size_;
  std::vector<float> values_;
};

}  // namespace ganglion::tools
