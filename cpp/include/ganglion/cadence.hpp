#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ganglion/contract.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"

// Times are nanoseconds of any clock that goes on steadily, such as CLOCK_MONOTONIC. A clock that is set back is no
// reason to stop: no time passes then.

namespace ganglion {

/// What a robot is given between two steps of its policy.
enum class Between : std::uint8_t {
  hold,    ///< the newest action
  linear,  ///< on a line from the action before, which ends at the newest one when the next step is due
};

struct CadenceOptions {
  std::optional<double> period_s = std::nullopt;  ///< of the policy; none: what its contract says
  Between between = Between::hold;
  std::size_t rows = 1;  ///< robots in one policy
};

/// When a policy is to step in a loop that runs faster than it was trained: a policy of 50 Hz in a loop of 1 kHz. Its
/// state advances at the trained rate, also where that is no whole number of ticks.
///
///     if (cadence.due(now)) {
///       if (policy.step(observation, action) == Status::ok) static_cast<void>(cadence.take(action));
///     }
///     if (cadence.action(now, command)) send(command);
class Cadence {
 public:
  /// Throws `Error` (bad_option): neither contract nor options have a period, one of the periods is not a positive
  /// number, or the loop is slower than the policy.
  Cadence(const Contract& contract, double loop_period_s, const CadenceOptions& options = {});

  /// True in the tick in which the policy must step, the first one among them: the tick nearest to the time that its
  /// period gives. Steps that a stalled loop left out are not made up for; `skipped` counts them.
  [[nodiscard]] bool due(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING;

  /// Takes over the action of the step that was due, [rows, action_size]. bad_size and non_finite_action change
  /// nothing.
  [[nodiscard]] Status take(std::span<const float> action) noexcept GANGLION_NONBLOCKING;

  /// Writes what to do now, [rows, action_size]. False, and nothing written, before the first action and where the size
  /// is wrong.
  [[nodiscard]] bool action(std::int64_t now_ns, std::span<float> out) const noexcept GANGLION_NONBLOCKING;

  /// Begins anew: the next tick is due. To be called with the policy's own reset.
  void reset() noexcept GANGLION_NONBLOCKING;

  [[nodiscard]] double period_s() const noexcept GANGLION_NONBLOCKING { return period_ns_ * 1e-9; }
  /// Elements of what it takes and writes: rows * action_size.
  [[nodiscard]] std::size_t size() const noexcept GANGLION_NONBLOCKING { return action_.size(); }
  /// Steps that the loop was too late for.
  [[nodiscard]] std::uint64_t skipped() const noexcept GANGLION_NONBLOCKING { return skipped_; }

 private:
  double period_ns_;
  double half_tick_ns_;
  Between between_;
  bool has_begun_ = false;
  bool has_action_ = false;
  std::int64_t begin_ns_ = 0;    ///< of the first step
  std::int64_t newest_ns_ = 0;   ///< of the newest tick
  std::int64_t stepped_ns_ = 0;  ///< of the newest step
  std::uint64_t next_ = 0;       ///< number of the step that is due next
  std::uint64_t skipped_ = 0;
  std::vector<float> before_;  ///< [rows, action_size], as the two below
  std::vector<float> action_;
};

/// How a tick of a loop came.
enum class Tick : std::uint8_t {
  on_time,
  early,
  late,
  missed,          ///< so late that at least one tick before it never came
  clock_set_back,  ///< earlier than the tick before
};

/// The enumerator's name, for example "on_time"; a string with static storage.
[[nodiscard]] const char* to_string(Tick tick) noexcept;

struct TickOptions {
  double tolerance = 0.1;            ///< of the period: what is nearer to it is on time
  double mismatch_tolerance = 0.05;  ///< of the period: a loop whose mean is farther from it runs at another one
};

/// What a loop did so far.
struct TickStatistics {
  std::uint64_t ticks = 0;
  std::uint64_t early = 0;
  std::uint64_t late = 0;
  std::uint64_t missed = 0;  ///< ticks that never came
  std::uint64_t clock_set_back = 0;
  std::uint64_t longest_run = 0;  ///< most ticks in a row that never came or came late
  double mean_s = 0.0;            ///< between two ticks, as the two below; 0 before there are two
  double shortest_s = 0.0;
  double longest_s = 0.0;
  /// Ticks by how far they were from on time: the number i counts 2^i to 2^(i+1) nanoseconds, the first one less too,
  /// the last one more too.
  std::array<std::uint64_t, 40> off_ns{};
};

/// A loop that runs at another period than the policy was trained at.
struct CadenceMismatch {
  double trained_s;
  double found_s;

  /// One sentence for a log, with what to do; it begins with "cadence_mismatch". Not for the loop: allocates.
  [[nodiscard]] std::string sentence() const;
};

/// Watches when the ticks of a loop come. Its statistics take no heap.
class TickMonitor {
 public:
  /// Throws `Error` (bad_option): the period or a tolerance is not a positive number.
  explicit TickMonitor(double period_s, const TickOptions& options = {});
  /// With the period of the contract, for a loop that steps the policy in every tick. Throws `Error` (bad_option): it
  /// has none.
  explicit TickMonitor(const Contract& contract, const TickOptions& options = {});

  Tick tick(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING;

  [[nodiscard]] const TickStatistics& statistics() const noexcept GANGLION_NONBLOCKING { return statistics_; }
  /// Where the last 64 ticks in a row say so; known by the 65th tick. A tick that comes late now and then is none.
  [[nodiscard]] const std::optional<CadenceMismatch>& mismatch() const noexcept GANGLION_NONBLOCKING {
    return mismatch_;
  }

  void reset() noexcept GANGLION_NONBLOCKING;

  /// Records every tick from now on, as /ticks; not those of copies. Set-up; throws `Error`: the recording is closed.
  void attach(FlightRecorder& recorder);

 private:
  static constexpr std::size_t window = 64;

  /// `off_ns`: later than the period.
  Tick found(std::int64_t now_ns, double& off_ns) noexcept GANGLION_NONBLOCKING;

  void look_for_mismatch() noexcept GANGLION_NONBLOCKING;

  double period_ns_;
  TickOptions options_;
  TickStatistics statistics_;
  std::optional<CadenceMismatch> mismatch_;
  std::int64_t newest_ns_ = 0;
  double all_ns_ = 0.0;
  std::uint64_t intervals_ = 0;
  std::uint64_t run_ = 0;
  std::array<double, window> newest_{};  ///< intervals, nanoseconds
  std::size_t known_ = 0;
  detail::RecordedTopic recorded_;
};

}  // namespace ganglion
