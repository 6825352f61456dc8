// Built with -ffp-contract=off; see elementary.hpp.

#include "realtime/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "realtime/elementary.hpp"

namespace ganglion::realtime {

namespace {

using Counter = std::array<std::uint32_t, 4>;

template <std::size_t Size>
double polynomial(const std::array<double, Size>& coefficients, double x) noexcept {
  double value = coefficients[Size - 1];
  for (std::size_t i = Size - 1; i-- > 0;) value = value * x + coefficients[i];
  return value;
}

double quantile(std::uint32_t bits) noexcept { return (static_cast<double>(bits) + 0.5) * 0x1p-32; }

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) noexcept GANGLION_NONBLOCKING {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

std::array<std::uint32_t, 4> noise_counter(std::uint64_t step, std::uint32_t episode, std::size_t row,
                                           std::size_t block) noexcept GANGLION_NONBLOCKING {
  const std::uint64_t high = step >> 32U;
  return {static_cast<std::uint32_t>(step), episode, static_cast<std::uint32_t>(row | (high & 0xFFU) << 24U),
          static_cast<std::uint32_t>(block | (high >> 8U) << 22U)};
}

double standard_normal(std::uint32_t bits) noexcept GANGLION_NONBLOCKING {
  const double u = quantile(bits);
  const double q = u - 0.5;
  if (std::fabs(q) <= 0.425) {
    constexpr std::array<double, 8> a{3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                      1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                      3.3430575583588128105e+4, 2.5090809287301226727e+3};
    constexpr std::array<double, 8> b{1.0,
                                      4.2313330701600911252e+1,
                                      6.8718700749205790830e+2,
                                      5.3941960214247511077e+3,
                                      2.1213794301586595867e+4,
                                      3.9307895800092710610e+4,
                                      2.8729085735721942674e+4,
                                      5.2264952788528545610e+3};
    const double r = 0.180625 - q * q;
    return q * polynomial(a, r) / polynomial(b, r);
  }
  // The published third range begins at a quantile of exp(-25), below the smallest one here.
  constexpr std::array<double, 8> c{1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                                    3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                                    2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr std::array<double, 8> d{1.0,
                                    2.05319162663775882187e0,
                                    1.67638483018380384940e0,
                                    6.89767334985100004550e-1,
                                    1.48103976427480074590e-1,
                                    1.51986665636164571966e-2,
                                    5.47593808499534494600e-4,
                                    1.05075007164441684324e-9};
  const double r = std::sqrt(-logarithm(q < 0.0 ? u : 1.0 - u)) - 1.6;
  const double size = polynomial(c, r) / polynomial(d, r);
  return q < 0.0 ? -size : size;
}

double standard_gumbel(std::uint32_t bits) noexcept GANGLION_NONBLOCKING {
  return -logarithm(-logarithm(quantile(bits)));
}

ActionSampler::ActionSampler(Sampling sampling, std::size_t batch) : sampling_(std::move(sampling)), rows_(batch) {}

double ActionSampler::draw_row(std::size_t row, std::span<const float> mean, const float* parameters,
                               float* action) const noexcept GANGLION_NONBLOCKING {
  if (sampling_.distribution == Distribution::gaussian) {
    return draw_gaussian(row, 0, mean, parameters + row * sampling_.parameters, action);
  }
  if (sampling_.distribution == Distribution::categorical) {
    return draw_category(row, 0, {parameters + row * sampling_.parameters, sampling_.parameters}, action);
  }
  double log_prob = 0.0;
  std::size_t noise = 0;
  for (const Part& part : sampling_.parts) {
    const float* const own = parameters + rows_.size() * part.place + row * part.stride + part.offset;
    float* const drawn = action + part.element;
    log_prob += part.distribution == Distribution::gaussian
                    ? draw_gaussian(row, noise, mean.subspan(part.element, part.count), own, drawn)
                    : draw_category(row, noise, {own, part.count}, drawn);
    noise += part.count;
  }
  return log_prob;
}

void ActionSampler::draw(std::span<const float> mean, const float* parameters, float* action,
                         float* log_prob) const noexcept GANGLION_NONBLOCKING {
  const std::size_t size = mean.size() / rows_.size();
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    const double found = draw_row(row, mean.subspan(row * size, size), parameters, action + row * size);
    if (log_prob != nullptr) log_prob[row] = static_cast<float>(found);
  }
}

void ActionSampler::count_step() noexcept GANGLION_NONBLOCKING {
  for (Row& row : rows_) ++row.step;
}

void ActionSampler::reset(std::size_t row) noexcept GANGLION_NONBLOCKING {
  if (rows_[row].step == 0) return;
  ++rows_[row].episode;
  rows_[row].step = 0;
}

void ActionSampler::begin_again() noexcept { std::fill(rows_.begin(), rows_.end(), Row{}); }

std::array<std::uint32_t, 4> ActionSampler::bits(std::size_t row,
                                                 std::size_t block) const noexcept GANGLION_NONBLOCKING {
  return philox(noise_counter(rows_[row].step, rows_[row].episode, row, block),
                {static_cast<std::uint32_t>(sampling_.seed), static_cast<std::uint32_t>(sampling_.seed >> 32U)});
}

double ActionSampler::draw_gaussian(std::size_t row, std::size_t noise, std::span<const float> mean,
                                    const float* log_std, float* action) const noexcept GANGLION_NONBLOCKING {
  constexpr double half_log_2pi = 0.91893853320467274178;
  double log_prob = 0.0;
  Counter block{};
  for (std::size_t i = 0; i < mean.size(); ++i) {
    const std::size_t number = noise + i;
    if (i == 0 || number % block.size() == 0) block = bits(row, number / block.size());
    const double z = standard_normal(block[number % block.size()]);
    const auto spread = static_cast<double>(log_std[i]);
    action[i] = static_cast<float>(static_cast<double>(mean[i]) + exponential(spread) * z);
    log_prob += -(0.5 * z * z + spread + half_log_2pi);
  }
  return log_prob;
}

double ActionSampler::draw_category(std::size_t row, std::size_t noise, std::span<const float> logits,
                                    float* action) const noexcept GANGLION_NONBLOCKING {
  Counter block{};
  std::size_t best = 0;
  double highest = -std::numeric_limits<double>::infinity();
  double largest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::size_t number = noise + i;
    if (i == 0 || number % block.size() == 0) block = bits(row, number / block.size());
    const auto logit = static_cast<double>(logits[i]);
    const double score = logit + standard_gumbel(block[number % block.size()]);
    largest = std::fmax(largest, logit);
    if (score > highest) {
      highest = score;
      best = i;
    }
  }
  double sum = 0.0;
  for (const float logit : logits) sum += exponential(static_cast<double>(logit) - largest);
  *action = static_cast<float>(best);
  return (static_cast<double>(logits[best]) - largest) - logarithm(sum);
}

}  // namespace ganglion::realtime
