#include "ganglion/action_guard.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "flight/numbers.hpp"
#include "flight/options.hpp"
#include "ganglion/error.hpp"
#include "realtime/tape.hpp"

namespace ganglion {

namespace {

/// One number per element, whatever was given: one each, one for all, or none, which is `otherwise` for all.
std::vector<double> for_each_element(const std::vector<double>& given, const char* name, std::size_t size,
                                     const std::vector<double>& otherwise, double unknown) {
  const std::vector<double>& chosen = given.empty() ? otherwise : given;
  if (chosen.empty()) return std::vector<double>(size, unknown);
  if (chosen.size() == 1) return std::vector<double>(size, chosen[0]);
  if (chosen.size() == size) return chosen;
  flight::refuse_option(std::string("GuardOptions::") + name + " has " + std::to_string(chosen.size()) +
                        " numbers and the action has " + std::to_string(size) +
                        " elements; give one for each, or one for all");
}

double checked_time(double seconds, const char* name) {
  if (std::isfinite(seconds) && seconds >= 0.0) return seconds;
  flight::refuse_option(std::string("GuardOptions::") + name + " is " + std::to_string(seconds) +
                        "; give a number of seconds, 0 or more");
}

double longest_tick(const Contract& contract, const GuardOptions& options) {
  if (options.longest_tick_s) return checked_time(*options.longest_tick_s, "longest_tick_s");
  return 2.0 *
         flight::trained_period(
             contract, "GuardOptions::longest_tick_s, the longest time between two calls that still moves the robot");
}

/// The next number towards 0 of a number that is not 0, and towards -infinity of 0.
float below(float value) noexcept GANGLION_NONBLOCKING {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value == 0.0F) return -std::numeric_limits<float>::denorm_min();
  return std::bit_cast<float>(value > 0.0F ? bits - 1 : bits + 1);
}

}  // namespace

const char* to_string(GuardReason reason) noexcept {
  constexpr const char* names[] = {"none",    "blending", "clamped",  "limited",    "clock_set_back",
                                   "holding", "expired",  "bad_size", "not_engaged"};
  return names[static_cast<std::size_t>(reason)];
}

ActionGuard::ActionGuard(const Contract& contract, const GuardOptions& options)
    : size_(contract.action_size()),
      rate_(for_each_element(options.rate, "rate", size_, {}, 0.0)),
      low_(for_each_element(options.low, "low", size_, contract.outputs.at(0).low,
                            -std::numeric_limits<double>::infinity())),
      high_(for_each_element(options.high, "high", size_, contract.outputs.at(0).high,
                             std::numeric_limits<double>::infinity())),
      start_(size_),
      given_(size_),
      blend_s_(checked_time(options.blend_s, "blend_s")),
      longest_hold_s_(checked_time(options.longest_hold_s, "longest_hold_s")),
      longest_tick_s_(longest_tick(contract, options)) {
  if (options.rate.empty()) {
    flight::refuse_option(
        "GuardOptions::rate is empty; give the most that the action may change, in its unit per second: without it "
        "an engage could jump");
  }
  if (!options.damping.empty()) damping_ = for_each_element(options.damping, "damping", size_, {}, 0.0);
  for (std::size_t i = 0; i < size_; ++i) {
    // A policy clips with floats: what it may give is no farther than its own bound.
    low_[i] = static_cast<double>(static_cast<float>(low_[i]));
    high_[i] = static_cast<double>(static_cast<float>(high_[i]));
    const std::string of = " of element " + std::to_string(i) + " is ";
    flight::positive(rate_[i], "GuardOptions::rate of element " + std::to_string(i), " of units per second");
    if (!(low_[i] <= high_[i])) {
      flight::refuse_option("the lower bound" + of + std::to_string(low_[i]) + " and its upper bound " +
                            std::to_string(high_[i]));
    }
    if (!damping_.empty() && !std::isfinite(damping_[i])) {
      flight::refuse_option("GuardOptions::damping" + of + std::to_string(damping_[i]) + "; give a finite action");
    }
  }
}

bool ActionGuard::engage(std::span<const float> position) noexcept GANGLION_NONBLOCKING {
  if (position.size() != size_) return false;
  for (const float value : position) {
    if (!flight::is_finite(value)) return false;
  }
  for (std::size_t i = 0; i < size_; ++i) start_[i] = given_[i] = position[i];
  engaged_s_ = held_s_ = 0.0;
  has_ticked_ = false;
  is_engaged_ = true;
  return true;
}

std::optional<double> ActionGuard::passed(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING {
  const std::int64_t before = std::exchange(newest_ns_, now_ns);
  if (!std::exchange(has_ticked_, true)) return 0.0;
  if (now_ns < before) return std::nullopt;
  return std::min(flight::elapsed(before, now_ns) * 1e-9, longest_tick_s_);
}

bool ActionGuard::move(std::size_t element, double to, double seconds) noexcept GANGLION_NONBLOCKING {
  const auto from = static_cast<double>(given_[element]);
  const double most = rate_[element] * seconds;
  const bool is_too_far = to - from > most || from - to > most;
  const double reached = is_too_far ? from + (to > from ? most : -most) : to;
  auto rounded = static_cast<float>(reached);
  // The nearest float may be farther than what is allowed: then the one before it.
  if (static_cast<double>(rounded) - from > most) rounded = below(rounded);
  if (from - static_cast<double>(rounded) > most) rounded = -below(-rounded);
  given_[element] = rounded;
  return is_too_far;
}

void ActionGuard::attach(FlightRecorder& recorder) { recorded_ = recorder.attach_guard(size_); }

GuardStatus ActionGuard::noted(GuardStatus status) const noexcept GANGLION_NONBLOCKING {
  if (recorded_.tape == nullptr) return status;
  realtime::Tape& tape = *recorded_.tape;
  std::byte* const body = tape.begin(tape.now(), recorded_.topic, 24 + size_ * sizeof(float));
  if (body == nullptr) return status;
  const bool is_given = status.reason < GuardReason::bad_size;
  realtime::put_field(body + 16, static_cast<std::uint32_t>(status.element));
  realtime::put_field(body + 20, static_cast<std::uint32_t>(status.reason));  // and its padding
  for (std::size_t i = 0; i < size_; ++i) {
    realtime::put_field(body + 24 + i * sizeof(float), is_given ? given_[i] : std::numeric_limits<float>::quiet_NaN());
  }
  tape.end();
  return status;
}

GuardStatus ActionGuard::apply(std::span<const float> action, std::int64_t now_ns,
                               std::span<float> out) noexcept GANGLION_NONBLOCKING {
  return noted(guarded(action, now_ns, out));
}

GuardStatus ActionGuard::hold(std::int64_t now_ns, std::span<float> out) noexcept GANGLION_NONBLOCKING {
  return noted(held(now_ns, out));
}

GuardStatus ActionGuard::guarded(std::span<const float> action, std::int64_t now_ns,
                                 std::span<float> out) noexcept GANGLION_NONBLOCKING {
  if (action.size() != size_ || out.size() != size_) return {GuardReason::bad_size, 0};
  if (!is_engaged_) return {GuardReason::not_engaged, 0};
  for (std::size_t i = 0; i < size_; ++i) {
    if (flight::is_finite(action[i])) continue;
    return {held(now_ns, out).reason, i};
  }
  GuardStatus status;
  const auto found = [&](GuardReason reason, std::size_t element) noexcept GANGLION_NONBLOCKING {
    if (reason > status.reason) status = {reason, element};
  };
  const std::optional<double> seconds = passed(now_ns);
  if (!seconds) found(GuardReason::clock_set_back, 0);
  engaged_s_ += seconds.value_or(0.0);
  held_s_ = 0.0;
  const bool is_blending = engaged_s_ < blend_s_;
  if (is_blending) found(GuardReason::blending, 0);
  for (std::size_t i = 0; i < size_; ++i) {
    double to = std::clamp(static_cast<double>(action[i]), low_[i], high_[i]);
    if (to != static_cast<double>(action[i])) found(GuardReason::clamped, i);
    if (is_blending)
      to = static_cast<double>(start_[i]) + engaged_s_ / blend_s_ * (to - static_cast<double>(start_[i]));
    if (move(i, to, seconds.value_or(0.0))) found(GuardReason::limited, i);
  }
  for (std::size_t i = 0; i < size_; ++i) out[i] = given_[i];
  return status;
}

GuardStatus ActionGuard::held(std::int64_t now_ns, std::span<float> out) noexcept GANGLION_NONBLOCKING {
  if (out.size() != size_) return {GuardReason::bad_size, 0};
  if (!is_engaged_) return {GuardReason::not_engaged, 0};
  const double seconds = passed(now_ns).value_or(0.0);
  engaged_s_ += seconds;
  held_s_ += seconds;
  const bool is_expired = held_s_ > longest_hold_s_;
  for (std::size_t i = 0; i < size_; ++i) {
    if (is_expired && !damping_.empty()) {
      static_cast<void>(move(i, std::clamp(damping_[i], low_[i], high_[i]), seconds));
    }
    out[i] = given_[i];
  }
  return {is_expired ? GuardReason::expired : GuardReason::holding, 0};
}

}  // namespace ganglion
