#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ganglion/contract.hpp"
#include "ganglion/realtime.hpp"

namespace ganglion {

struct ObservationOptions {
  double margin = 0.25;                            ///< wider than training's range, at either end, by this share of it
  double change_factor = 2.0;                      ///< times the largest change per step of the training
  std::optional<double> period_s = std::nullopt;   ///< between two checks; none: the contract's
  std::optional<std::size_t> rows = std::nullopt;  ///< of one check; none: the contract's batch, or 1
};

/// What an observation is, beside those of the training; of several the one that stands last.
enum class Plausibility : std::uint8_t {
  plausible,   ///< every element is where it was in training
  jumped,      ///< an element changed in one step by more than it ever did
  outside,     ///< an element is outside of its envelope
  not_finite,  ///< an element is NaN or infinite
  bad_size,    ///< not [rows, n]: nothing was looked at
};

/// The enumerator's name, for example "outside"; a string with static storage.
[[nodiscard]] const char* to_string(Plausibility plausibility) noexcept;

/// What was seen of one element, in all rows together.
struct ElementCounts {
  std::uint64_t outside = 0;     ///< of the envelope
  std::uint64_t jumped = 0;      ///< changed by more than the limit
  std::uint64_t not_finite = 0;  ///< NaN or infinite

  [[nodiscard]] std::uint64_t total() const noexcept GANGLION_NONBLOCKING { return outside + jumped + not_finite; }
};

/// The element that was implausible most often.
struct WorstElement {
  std::size_t element = 0;
  std::string_view name;  ///< of the contract, or empty; lives as long as the monitor
  ElementCounts counts;
  float value = 0.0F;  ///< the last implausible one
  float low = 0.0F;    ///< its envelope
  float high = 0.0F;
  float change = 0.0F;  ///< the most that it may change per step
};

/// Looks at every observation beside the profile of the training that the contract carries: an adapter that gives
/// degrees for radians, or another joint's angle, is noticed before the policy moves the robot.
///
///     monitor.check(observation);                                  // in every step, from before engaging on
///     if (monitor.plausible(1.0)) engage();                        // a whole second was as in training
///
/// Inside of the envelope is not right: a sign or an order may be wrong all the same, which `ganglion wiring` finds in
/// a log.
class ObservationMonitor {
 public:
  /// Throws `Error` (bad_option): the contract has no observation profile, nobody says the period, or an option is out
  /// of its range.
  explicit ObservationMonitor(const Contract& contract, const ObservationOptions& options = {});

  /// Looks at an observation, [rows, n]; once in every step of the policy.
  Plausibility check(std::span<const float> observation) noexcept GANGLION_NONBLOCKING;

  /// The arm check: true where all checks of the last so many seconds were plausible, and there were as many. No period
  /// of time is too short: at least one check has to be. False for NaN.
  [[nodiscard]] bool plausible(double seconds) const noexcept GANGLION_NONBLOCKING;

  /// None where every check was plausible.
  [[nodiscard]] std::optional<WorstElement> worst() const noexcept GANGLION_NONBLOCKING;

  /// Of an element below n.
  [[nodiscard]] const ElementCounts& counts(std::size_t element) const noexcept GANGLION_NONBLOCKING {
    return counts_[element];
  }
  [[nodiscard]] std::uint64_t checks() const noexcept GANGLION_NONBLOCKING { return checks_; }
  [[nodiscard]] std::size_t size() const noexcept GANGLION_NONBLOCKING { return low_.size(); }
  [[nodiscard]] std::size_t rows() const noexcept GANGLION_NONBLOCKING { return has_before_.size(); }

  /// Forgets everything.
  void reset() noexcept GANGLION_NONBLOCKING;
  /// These rows begin again: their next observation is no change. False, and nothing done, where there are not as many
  /// flags as rows.
  [[nodiscard]] bool reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING;

  /// What is to be said of the worst element, in one sentence; empty where there is none. Not for the loop.
  [[nodiscard]] std::string sentence() const;

 private:
  [[nodiscard]] Plausibility judge(std::size_t element, float value, bool has_before,
                                   float before) noexcept GANGLION_NONBLOCKING;

  double period_s_;
  std::vector<std::string> names_;  ///< [n], or none
  std::vector<float> low_;          ///< [n], as those below
  std::vector<float> high_;
  std::vector<float> change_;
  std::vector<ElementCounts> counts_;
  std::vector<float> value_;              ///< the last implausible one
  std::vector<float> before_;             ///< [rows, n]
  std::vector<std::uint8_t> has_before_;  ///< [rows]
  std::uint64_t checks_ = 0;
  std::uint64_t good_ = 0;  ///< checks in a row
};

}  // namespace ganglion
