#pragma once

#include <cstddef>
#include <ganglion/contract.hpp>

namespace profiles {

/// Of n elements that were from -1 to 1, changed by up to 0.1 in a step, and answered m actions with 0.5.
inline ganglion::ObservationProfile plain(std::size_t n, std::size_t m = 0) {
  ganglion::ObservationProfile profile;
  profile.steps = 256;
  profile.size = n;
  profile.segments = 2;
  profile.actions = m;
  profile.levels = {0.0, 0.5, 1.0};
  profile.lags = {1};
  profile.response_lags = {-1, 0, 1};
  const auto rows = [n](std::initializer_list<float> values) {
    std::vector<float> all;
    for (const float value : values) all.insert(all.end(), n, value);
    return all;
  };
  profile.quantiles = rows({-1.0F, 0.0F, 1.0F});
  profile.mean = rows({0.0F});
  profile.spread = rows({0.5F});
  profile.skewness = rows({0.1F});
  profile.change = rows({0.0F, 0.05F, 0.1F});
  profile.autocorrelation = rows({0.9F});
  profile.segment_means = rows({-0.1F, 0.1F});
  profile.segment_spreads = rows({0.4F, 0.6F});
  profile.correlation.emplace(n * (n - 1) / 2, std::int16_t{-16384});
  profile.correlation_deviation.assign(n * (n - 1) / 2, std::uint8_t{25});
  profile.response.assign(3 * n * m, std::int16_t{16384});
  profile.response_deviation.assign(3 * n * m, std::uint8_t{51});
  return profile;
}

}  // namespace profiles
