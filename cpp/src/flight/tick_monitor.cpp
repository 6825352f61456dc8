#include <algorithm>
#include <bit>
#include <sstream>
#include <utility>

#include "flight/numbers.hpp"
#include "flight/options.hpp"
#include "ganglion/cadence.hpp"
#include "realtime/tape.hpp"

namespace ganglion {

namespace {

/// Which of the counters of TickStatistics::off_ns counts this.
std::size_t counter_of(double off_ns, std::size_t counters) noexcept GANGLION_NONBLOCKING {
  constexpr double largest = 1e18;
  const auto whole = static_cast<std::uint64_t>(std::min(off_ns, largest));
  const auto power = static_cast<std::size_t>(std::bit_width(whole | 1U)) - 1;
  return std::min(power, counters - 1);
}

}  // namespace

const char* to_string(Tick tick) noexcept {
  constexpr const char* names[] = {"on_time", "early", "late", "missed", "clock_set_back"};
  return names[static_cast<std::size_t>(tick)];
}

std::string CadenceMismatch::sentence() const {
  std::ostringstream text;
  text.precision(4);
  text
      << "cadence_mismatch: the policy was trained at " << trained_s << " s a step (" << 1.0 / trained_s
      << " Hz) and is stepped every " << found_s << " s (" << 1.0 / found_s
      << " Hz): what it remembers runs at another speed; step it when a ganglion::Cadence says so, or train it at this "
         "period";
  return text.str();
}

TickMonitor::TickMonitor(double period_s, const TickOptions& options)
    : period_ns_(flight::positive(period_s, "the period of the loop", " of seconds") * 1e9), options_(options) {
  flight::positive(options.tolerance, "TickOptions::tolerance");
  flight::positive(options.mismatch_tolerance, "TickOptions::mismatch_tolerance");
}

TickMonitor::TickMonitor(const Contract& contract, const TickOptions& options)
    : TickMonitor(flight::trained_period(contract, "the period of the loop"), options) {}

void TickMonitor::attach(FlightRecorder& recorder) { recorded_ = recorder.attach_ticks(); }

Tick TickMonitor::tick(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING {
  double off_ns = 0.0;
  const Tick tick = found(now_ns, off_ns);
  if (recorded_.tape == nullptr) return tick;
  realtime::Tape& tape = *recorded_.tape;
  if (std::byte* const body = tape.begin(tape.now(), recorded_.topic, 25); body != nullptr) {
    realtime::put_field(body + 16, off_ns * 1e-9);
    realtime::put_field(body + 24, tick);
    tape.end();
  }
  return tick;
}

Tick TickMonitor::found(std::int64_t now_ns, double& off_ns) noexcept GANGLION_NONBLOCKING {
  const bool is_first = statistics_.ticks++ == 0;
  const std::int64_t before = std::exchange(newest_ns_, now_ns);
  if (is_first) return Tick::on_time;
  if (now_ns < before) {
    off_ns = -flight::elapsed(now_ns, before) - period_ns_;
    ++statistics_.clock_set_back;
    return Tick::clock_set_back;
  }
  const double interval = flight::elapsed(before, now_ns);
  off_ns = interval - period_ns_;
  all_ns_ += interval;
  ++intervals_;
  statistics_.mean_s = all_ns_ / static_cast<double>(intervals_) * 1e-9;
  statistics_.longest_s = std::max(statistics_.longest_s, interval * 1e-9);
  statistics_.shortest_s = intervals_ == 1 ? interval * 1e-9 : std::min(statistics_.shortest_s, interval * 1e-9);
  const double off = off_ns < 0.0 ? -off_ns : off_ns;
  ++statistics_.off_ns[counter_of(off, statistics_.off_ns.size())];
  newest_[known_ % window] = interval;
  if (++known_ % window == 0) look_for_mismatch();

  const double periods = interval / period_ns_;
  Tick tick = Tick::on_time;
  std::uint64_t missed = 0;
  if (periods < 1.0 - options_.tolerance) {
    tick = Tick::early;
    ++statistics_.early;
  } else if (periods >= 1.5 && periods > 1.0 + options_.tolerance) {
    tick = Tick::missed;
    constexpr double most = 1e18;
    missed = static_cast<std::uint64_t>(std::min(periods + 0.5, most)) - 1;
    statistics_.missed += missed;
  } else if (periods > 1.0 + options_.tolerance) {
    tick = Tick::late;
    ++statistics_.late;
  }
  run_ = tick == Tick::late || tick == Tick::missed ? run_ + missed + 1 : 0;
  statistics_.longest_run = std::max(statistics_.longest_run, run_);
  return tick;
}

void TickMonitor::look_for_mismatch() noexcept GANGLION_NONBLOCKING {
  // The mean of what is near the median: a few ticks that came late, or never, are no other period. A mean and not the
  // median, for a policy of 60 Hz in a loop of 1 kHz is stepped after 16 or 17 ms.
  std::array<double, window> sorted = newest_;
  // By hand: the compiler is to see that nothing is allocated.
  for (std::size_t i = 1; i < window; ++i) {
    const double value = sorted[i];
    std::size_t at = i;
    for (; at > 0 && sorted[at - 1] > value; --at) sorted[at] = sorted[at - 1];
    sorted[at] = value;
  }
  const double median = sorted[window / 2];
  double sum = 0.0;
  std::size_t count = 0;
  for (const double interval : sorted) {
    if (interval < 0.5 * median || interval > 1.5 * median) continue;
    sum += interval;
    ++count;
  }
  const double found = count == 0 ? median : sum / static_cast<double>(count);
  const double off = found > period_ns_ ? found - period_ns_ : period_ns_ - found;
  mismatch_.reset();
  if (off > options_.mismatch_tolerance * period_ns_) mismatch_ = CadenceMismatch{period_ns_ * 1e-9, found * 1e-9};
}

void TickMonitor::reset() noexcept GANGLION_NONBLOCKING {
  statistics_ = {};
  mismatch_.reset();
  all_ns_ = 0.0;
  intervals_ = 0;
  run_ = 0;
  known_ = 0;
}

}  // namespace ganglion
