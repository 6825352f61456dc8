#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace ganglion::tools {

/// How long each of many runs took, in microseconds.
class Times {
 public:
  void reserve(std::size_t count) { microseconds_.reserve(count); }

  template <class Run>
  void measure(const Run& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::micro> duration = std::chrono::steady_clock::now() - begin;
    microseconds_.push_back(duration.count());
  }

  /// Takes off what the clock itself takes, which is part of every time, and sorts.
  void finish(double clock) {
    for (double& time : microseconds_) time = std::max(0.0, time - clock);
    std::sort(microseconds_.begin(), microseconds_.end());
  }

  [[nodiscard]] std::size_t count() const { return microseconds_.size(); }

  /// Of finished times.
  [[nodiscard]] double percentile(double fraction) const {
    return microseconds_[static_cast<std::size_t>(fraction * static_cast<double>(microseconds_.size() - 1))];
  }

 private:
  std::vector<double> microseconds_;
};

/// What the clock takes, in microseconds: the median of runs of nothing.
[[nodiscard]] inline double clock_time() {
  constexpr std::size_t runs = 20001;
  Times nothing;
  nothing.reserve(runs);
  for (std::size_t i = 0; i < runs; ++i) nothing.measure([] {});
  nothing.finish(0.0);
  return nothing.percentile(0.5);
}

}  // namespace ganglion::tools
