#include "ganglion/observation_monitor.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "flight/numbers.hpp"
#include "flight/options.hpp"
#include "ganglion/error.hpp"

namespace ganglion {

namespace {

// What float32 may make of a number that is the same: of a constant, and of a change of nothing.
constexpr double slack = 1e-4;

const ObservationProfile& profile_of(const Contract& contract) {
  if (contract.observation_profile) return *contract.observation_profile;
  throw Error(
      ErrorCode::bad_option,
      "the contract has no observation profile, so nothing tells what observations looked like in training: put "
      "one into the file with ganglion profile FILE --recording TRAINING.npz");
}

double at_least(double value, double least, const char* name) {
  if (std::isfinite(value) && value >= least) return value;
  std::ostringstream text;
  text << "ObservationOptions::" << name << " is " << value << "; give a number of " << least << " or more";
  throw Error(ErrorCode::bad_option, text.str());
}

std::vector<std::string> names_of(const Contract& contract) {
  std::vector<std::string> names;
  for (const TensorSpec& input : contract.inputs) {
    for (std::size_t i = 0; i < input.size; ++i)
      names.push_back(input.element_names.empty() ? std::string() : input.element_names[i]);
  }
  return names;
}

}  // namespace

const char* to_string(Plausibility plausibility) noexcept {
  constexpr const char* names[] = {"plausible", "jumped", "outside", "not_finite", "bad_size"};
  return names[static_cast<std::size_t>(plausibility)];
}

ObservationMonitor::ObservationMonitor(const Contract& contract, const ObservationOptions& options)
    : names_(names_of(contract)) {
  const ObservationProfile& profile = profile_of(contract);
  period_s_ = options.period_s ? flight::positive(*options.period_s, "ObservationOptions::period_s", " of seconds")
                               : flight::trained_period(contract, "ObservationOptions::period_s");
  const double margin = at_least(options.margin, 0.0, "margin");
  const double factor = at_least(options.change_factor, 1.0, "change_factor");
  const std::size_t rows = options.rows.value_or(contract.batch.value_or(1));
  if (rows == 0) throw Error(ErrorCode::bad_option, "ObservationOptions::rows is 0; give 1 or more");
  const std::size_t n = profile.size;
  const std::size_t last = (profile.levels.size() - 1) * n;
  for (std::size_t i = 0; i < n; ++i) {
    const double low = profile.quantiles[i];
    const double high = profile.quantiles[last + i];
    const double more = margin * (high - low) + slack * std::max({1.0, std::fabs(low), std::fabs(high)});
    low_.push_back(static_cast<float>(low - more));
    high_.push_back(static_cast<float>(high + more));
    change_.push_back(static_cast<float>(factor * profile.change[last + i] + more - margin * (high - low)));
  }
  counts_.resize(n);
  value_.resize(n);
  before_.resize(rows * n);
  has_before_.resize(rows);
}

Plausibility ObservationMonitor::judge(std::size_t element, float value, bool has_before,
                                       float before) noexcept GANGLION_NONBLOCKING {
  ElementCounts& counts = counts_[element];
  if (!flight::is_finite(value)) {
    ++counts.not_finite;
    return Plausibility::not_finite;
  }
  Plausibility found = Plausibility::plausible;
  if (has_before) {
    const float change = value > before ? value - before : before - value;
    if (change > change_[element]) {
      ++counts.jumped;
      found = Plausibility::jumped;
    }
  }
  if (value < low_[element] || value > high_[element]) {
    ++counts.outside;
    found = Plausibility::outside;
  }
  return found;
}

Plausibility ObservationMonitor::check(std::span<const float> observation) noexcept GANGLION_NONBLOCKING {
  ++checks_;
  if (observation.size() != before_.size()) {
    good_ = 0;
    return Plausibility::bad_size;
  }
  const std::size_t n = size();
  Plausibility worst = Plausibility::plausible;
  for (std::size_t row = 0; row < rows(); ++row) {
    const bool has_before = has_before_[row] != 0;
    bool is_whole = true;
    for (std::size_t i = 0; i < n; ++i) {
      const float value = observation[row * n + i];
      float& before = before_[row * n + i];
      const Plausibility found = judge(i, value, has_before, before);
      if (found != Plausibility::plausible) value_[i] = value;
      is_whole = is_whole && found != Plausibility::not_finite;
      worst = std::max(worst, found);
      before = value;
    }
    // After a NaN nothing is known to have changed.
    has_before_[row] = is_whole ? 1 : 0;
  }
  good_ = worst == Plausibility::plausible ? good_ + 1 : 0;
  return worst;
}

bool ObservationMonitor::plausible(double seconds) const noexcept GANGLION_NONBLOCKING {
  // A second of 50 Hz is 50 checks, whatever the rounding of 0.02 is.
  const double needed = seconds / period_s_ - 1e-6;
  return good_ >= 1 && static_cast<double>(good_) >= needed;
}

std::optional<WorstElement> ObservationMonitor::worst() const noexcept GANGLION_NONBLOCKING {
  std::size_t worst = 0;
  for (std::size_t i = 1; i < counts_.size(); ++i) {
    if (counts_[i].total() > counts_[worst].total()) worst = i;
  }
  if (counts_[worst].total() == 0) return std::nullopt;
  return WorstElement{
      worst, std::string_view(names_[worst]), counts_[worst], value_[worst], low_[worst], high_[worst], change_[worst]};
}

void ObservationMonitor::reset() noexcept GANGLION_NONBLOCKING {
  for (ElementCounts& counts : counts_) counts = {};
  for (std::uint8_t& flag : has_before_) flag = 0;
  checks_ = 0;
  good_ = 0;
}

bool ObservationMonitor::reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  if (rows.size() != has_before_.size()) return false;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (rows[row] != 0) has_before_[row] = 0;
  }
  return true;
}

std::string ObservationMonitor::sentence() const {
  const std::optional<WorstElement> found = worst();
  if (!found) return {};
  std::ostringstream text;
  text.precision(4);
  text << "observation element " << found->element;
  if (!found->name.empty()) text << " ('" << found->name << "')";
  text << " was implausible in " << found->counts.total() << " of " << checks_ << " checks: outside of [" << found->low
       << ", " << found->high << "] " << found->counts.outside << " times, changed by more than " << found->change
       << " in a step " << found->counts.jumped << " times, not finite " << found->counts.not_finite
       << " times; the last such value is " << found->value
       << ": look at its unit, sign, scale and order, and let ganglion wiring compare a log";
  return text.str();
}

}  // namespace ganglion
