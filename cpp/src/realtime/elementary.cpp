#include "realtime/elementary.hpp"

#include <cmath>
#include <numbers>

namespace ganglion::realtime {

namespace {

// NOLINTNEXTLINE(modernize-use-std-numbers): shorter than log(2) on purpose
constexpr double ln2_high = 6.93147180369123816490e-01;  // its last bits are zero: n * ln2_high is exact
constexpr double ln2_low = 1.90821492927058770002e-10;

}  // namespace

// log(m 2^e) = 2 atanh((m - 1) / (m + 1)) + e log(2), by the series of atanh.
double logarithm(double x) noexcept GANGLION_NONBLOCKING {
  int exponent = 0;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752440) {
    m = m * 2.0;
    exponent = exponent - 1;
  }
  const double f = (m - 1.0) / (m + 1.0);
  const double square = f * f;
  double series = 1.0 / 23.0;
  for (int k = 21; k > 0; k -= 2) series = series * square + 1.0 / k;
  const auto e = static_cast<double>(exponent);
  return e * ln2_high + (2.0 * f * series + e * ln2_low);
}

double exponential(double x) noexcept GANGLION_NONBLOCKING {
  const double inside = std::fmin(std::fmax(x, -700.0), 700.0);
  const double n = std::nearbyint(inside * std::numbers::log2e);
  const double r = (inside - n * ln2_high) - n * ln2_low;
  double series = 1.0;
  for (int k = 13; k > 0; --k) series = series * r / k + 1.0;
  return std::ldexp(series, static_cast<int>(n));
}

double hyperbolic_tangent(double x) noexcept GANGLION_NONBLOCKING {
  if (std::fabs(x) < 0.01) {
    const double square = x * x;  // what is left out is below 1e-17 of the result
    return x * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0))));
  }
  const double e = exponential(-2.0 * std::fabs(x));
  const double size = (1.0 - e) / (1.0 + e);
  return x < 0.0 ? -size : size;
}

double inverse_hyperbolic_tangent(double x) noexcept GANGLION_NONBLOCKING {
  if (std::fabs(x) < 0.01) {
    const double square = x * x;  // what is left out is below 2e-17 of the result
    return x * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0))));
  }
  return 0.5 * logarithm((1.0 + x) / (1.0 - x));
}

}  // namespace ganglion::realtime
