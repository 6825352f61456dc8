#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ganglion::tools {

/// Times by how long they were: 128 counters for each power of two of nanoseconds, so that a percentile is right within
/// 1 % however long a loop runs, in memory that was there before it.
class TimeCounts {
 public:
  void add(std::int64_t nanoseconds) noexcept {
    const auto time = static_cast<std::uint64_t>(nanoseconds > 0 ? nanoseconds : 0);
    ++counts_[place_of(time)];
    ++count_;
    longest_ = std::max(longest_, time);
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] double longest_us() const noexcept { return static_cast<double>(longest_) * 1e-3; }

  /// In microseconds, and rather too long than too short; 0 where there are no times.
  [[nodiscard]] double percentile_us(double fraction) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(count_ == 0 ? 0 : count_ - 1)) + 1;
    std::uint64_t seen = 0;
    for (std::size_t place = 0; place < counts_.size() && count_ != 0; ++place) {
      seen += counts_[place];
      if (seen < wanted) continue;
      const std::uint64_t octave = place < fine ? 0 : (place >> fine_bits) - 1;
      const std::uint64_t top = ((place - (octave << fine_bits) + 1) << octave) - 1;
      return static_cast<double>(std::min(top, longest_)) * 1e-3;
    }
    return 0.0;
  }

 private:
  static constexpr std::size_t fine_bits = 7;
  static constexpr std::uint64_t fine = std::uint64_t{1} << fine_bits;

  [[nodiscard]] static std::size_t place_of(std::uint64_t time) noexcept {
    if (time < fine) return static_cast<std::size_t>(time);
    const auto octave = static_cast<std::uint64_t>(std::bit_width(time)) - fine_bits - 1;
    return static_cast<std::size_t>((octave << fine_bits) + (time >> octave));
  }

  std::array<std::uint64_t, (64 - fine_bits + 1) * fine> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t longest_ = 0;
};

}  // namespace ganglion::tools
