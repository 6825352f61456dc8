// The counters of ganglion-run: what they say of times is right within 1 %, and never too short.

#include "time_counts.hpp"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

using ganglion::tools::TimeCounts;

TEST_CASE("percentiles of many times are those of the sorted times") {
  std::mt19937 generator(3);
  std::lognormal_distribution<double> some(9.0, 3.0);
  TimeCounts counts;
  std::vector<std::int64_t> times;
  for (int i = 0; i < 20000; ++i) {
    times.push_back(static_cast<std::int64_t>(some(generator)));
    counts.add(times.back());
  }
  std::sort(times.begin(), times.end());
  CHECK_EQUAL(counts.count(), times.size());
  CHECK_EQUAL(counts.longest_us(), static_cast<double>(times.back()) * 1e-3);
  for (const double fraction : {0.0, 0.001, 0.5, 0.99, 0.999, 0.9999, 1.0}) {
    const double exact =
        static_cast<double>(times[static_cast<std::size_t>(fraction * static_cast<double>(times.size() - 1))]) * 1e-3;
    CHECK(counts.percentile_us(fraction) >= exact * (1.0 - 1e-12));
    CHECK(counts.percentile_us(fraction) <= exact * 1.01);
  }
}

TEST_CASE("the shortest and the longest times that there are") {
  TimeCounts counts;
  CHECK_EQUAL(counts.percentile_us(0.5), 0.0);
  for (std::int64_t time : {std::int64_t{-5}, std::int64_t{0}, std::int64_t{127}, std::int64_t{128}}) counts.add(time);
  CHECK_EQUAL(counts.percentile_us(0.0), 0.0);
  CHECK_EQUAL(counts.percentile_us(0.7), 0.127);
  CHECK_EQUAL(counts.percentile_us(1.0), 0.128);
  counts.add(std::numeric_limits<std::int64_t>::max());
  CHECK(counts.percentile_us(1.0) > 9.2e15);
}

int main() { return check::run_all(); }
