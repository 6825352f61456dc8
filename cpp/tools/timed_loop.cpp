#include "timed_loop.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ganglion/cadence.hpp>
#include <ganglion/version.hpp>
#include <memory>
#include <stdexcept>
#include <vector>

#include "arguments.hpp"
#include "machine.hpp"
#include "observations.hpp"
#include "time_counts.hpp"

namespace ganglion::tools {

namespace {

// NOLINTNEXTLINE(*-avoid-non-const-global-variables): all that a signal handler can reach
volatile std::sig_atomic_t stopped = 0;

/// What the loop feeds the policy with: all of it in memory before it begins.
class Input {
 public:
  Input(const Policy& policy, TrajectoryReader* trajectory)
      : rows_(policy.batch()), size_(rows_ * policy.contract().observation_size()), drawn_(size_) {
    if (trajectory == nullptr) return;
    std::vector<float> observation(size_);
    std::vector<std::uint8_t> reset(rows_);
    while (trajectory->next(reset, observation)) {
      recorded_.insert(recorded_.end(), observation.begin(), observation.end());
      resets_.insert(resets_.end(), reset.begin(), reset.end());
    }
    if (resets_.empty()) trajectory->refuse("there is no step");
  }

  /// One step of the policy, as the i-th.
  [[nodiscard]] Status step(Policy& policy, std::size_t i, std::span<float> action) const {
    if (resets_.empty()) return policy.step(drawn_.at(i), action);
    const std::size_t at = i % (resets_.size() / rows_);
    if (at == 0) policy.reset();
    const Status status = policy.reset(std::span(resets_).subspan(at * rows_, rows_));
    return status == Status::ok ? policy.step(std::span(recorded_).subspan(at * size_, size_), action) : status;
  }

 private:
  std::size_t rows_;
  std::size_t size_;
  Observations drawn_;
  std::vector<float> recorded_;
  std::vector<std::uint8_t> resets_;
};

/// What the system allows.
struct Allowed {
  bool fifo = false;
  bool cpu = false;
  bool memory = false;
  std::string sentences;  ///< what to do about each that is not, a line each
};

Allowed prepare(const LoopOptions& options) {
  Allowed allowed;
  const auto refused = [&allowed](const std::string& what) { allowed.sentences += "  not allowed: " + what + '\n'; };
  if (options.cpu) {
    try {
      pin_to(*options.cpu);
      allowed.cpu = true;
    } catch (const std::exception& error) {
      refused(std::string(error.what()) + "; it runs on any: name one that this program may use (nproc, taskset)");
    }
  }
  if (lock_all_memory()) {
    allowed.memory = true;
  } else {
    refused(std::string("memory is not kept in RAM (mlockall: ") + std::strerror(errno) +
            "): a page fault may stop the loop; raise the memlock limit (/etc/security/limits.conf), or run as root");
  }
  if (ask_for_fifo(options.priority)) {
    allowed.fifo = true;
  } else {
    refused("SCHED_FIFO at priority " + std::to_string(options.priority) + " (" + std::strerror(errno) +
            "): any program may interrupt the loop; raise the rtprio limit (/etc/security/limits.conf), or run as "
            "root");
  }
  return allowed;
}

/// When to step in a loop of this period, and one sentence about it.
std::pair<std::optional<Cadence>, std::string> pace(const Policy& policy, double period_s) {
  if (!policy.contract().period_s) {
    return {std::nullopt, "the file does not say at which period it was trained: it is stepped in every tick"};
  }
  const double trained_s = *policy.contract().period_s;
  std::array<char, 160> text{};
  const auto said = [&](const char* what) {
    static_cast<void>(
        std::snprintf(text.data(), text.size(), "the policy was trained at %.6g s a step: %s", trained_s, what));
    return std::string(text.data());
  };
  if (trained_s > 1.001 * period_s) {
    CadenceOptions options;
    options.rows = policy.batch();
    return {Cadence(policy.contract(), period_s, options), said("a ganglion::Cadence steps it in this faster loop")};
  }
  if (trained_s > 0.999 * period_s) return {std::nullopt, said("it is stepped in every tick")};
  return {std::nullopt, said("this loop is too slow for it to fly, its times are measured all the same")};
}

/// What a flight found.
struct Flight {
  TimeCounts wake;
  TimeCounts step;
  std::uint64_t ticks = 0;
  std::uint64_t missed = 0;
  std::uint64_t refused = 0;
  Status first_refusal = Status::ok;
  ThreadUsage usage;
};

/// The loop itself: no heap, no output.
void fly(Policy& policy, const Input& input, std::optional<Cadence>& cadence, std::span<float> action,
         std::span<float> command, double period_ns, double ticks, Flight& flight) {
  const ThreadUsage before = usage_of_thread();
  const std::int64_t begin = now_ns();
  double next = 1.0;
  std::size_t steps = 0;
  while (next <= ticks && stopped == 0) {
    // From the beginning each, or a period that is no whole number of nanoseconds would drift.
    const std::int64_t planned = begin + static_cast<std::int64_t>(next * period_ns);
    wait_until(planned);
    const std::int64_t woken = now_ns();
    if (stopped != 0) break;
    ++flight.ticks;
    flight.wake.add(woken - planned);
    if (!cadence || cadence->due(woken)) {
      const Status status = input.step(policy, steps++, action);
      flight.step.add(now_ns() - woken);
      if (status == Status::ok) {
        if (cadence) static_cast<void>(cadence->take(action));
      } else if (flight.refused++ == 0) {
        flight.first_refusal = status;
      }
    }
    if (cadence) static_cast<void>(cadence->action(now_ns(), command));
    // Ticks whose whole time went by before the loop came to them are missed; one that is only late is not.
    const double late = static_cast<double>(now_ns() - begin) / period_ns - (next + 1.0);
    const double lost = std::min(late >= 1.0 ? std::floor(late) : 0.0, ticks - next);
    flight.missed += static_cast<std::uint64_t>(lost);
    next += 1.0 + lost;
  }
  const ThreadUsage after = usage_of_thread();
  flight.usage = {after.page_faults - before.page_faults, after.from_disk - before.from_disk,
                  after.waits - before.waits, after.interruptions - before.interruptions};
}

constexpr std::array<double, 4> fractions{0.5, 0.99, 0.999, 0.9999};

void print_row(const char* name, const TimeCounts& times) {
  std::printf("  %-18s", name);
  for (const double fraction : fractions) std::printf(" %10.2f", times.percentile_us(fraction));
  std::printf(" %10.2f\n", times.longest_us());
}

void print_member(const char* name, const TimeCounts& times) {
  constexpr std::array<const char*, fractions.size()> names{"p50", "p99", "p999", "p9999"};
  std::printf("\"%s\": {", name);
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::printf("\"%s\": %.3f, ", names[i], times.percentile_us(fractions[i]));
  }
  std::printf("\"max\": %.3f}, ", times.longest_us());
}

using Count = unsigned long long;

}  // namespace

void fly(Policy& policy, const std::string& file, TrajectoryReader* trajectory, double hz, const LoopOptions& options) {
  const Input input(policy, trajectory);
  std::vector<float> action(policy.batch() * policy.contract().action_size());
  std::vector<float> command(action.size());
  auto [cadence, paced] = pace(policy, 1.0 / hz);
  const auto flight = std::make_unique<Flight>();
  const Allowed allowed = prepare(options);
  const auto stop = [](int) { stopped = 1; };
  static_cast<void>(std::signal(SIGINT, stop));
  static_cast<void>(std::signal(SIGTERM, stop));
  // A tenth of a second for nothing: what a first time takes is no time of the loop.
  fly(policy, input, cadence, action, command, 1e9 / hz, std::max(2.0, 0.1 * hz), *flight);
  *flight = {};
  policy.reset();
  if (cadence) cadence->reset();
  fly(policy, input, cadence, action, command, 1e9 / hz, std::max(1.0, std::floor(options.seconds * hz)), *flight);

  const ThreadUsage& usage = flight->usage;
  const auto ticks = static_cast<Count>(flight->ticks);
  const auto missed = static_cast<Count>(flight->missed);
  const auto steps = static_cast<Count>(flight->step.count());
  if (options.json) {
    std::printf("{\"version\": %s, \"cpu\": %s, \"file\": %s, \"engine\": \"%s\", \"batch\": %zu, \"loop_hz\": %.9g, ",
                quoted(version).c_str(), quoted(cpu_name()).c_str(), quoted(file).c_str(), to_string(policy.engine()),
                policy.batch(), hz);
    std::printf("\"scheduling\": \"%s\", \"pinned\": %s, \"memory_locked\": %s, \"cadence\": %s, ",
                allowed.fifo ? "SCHED_FIFO" : "SCHED_OTHER", allowed.cpu ? "true" : "false",
                allowed.memory ? "true" : "false", cadence ? "true" : "false");
    print_member("wake_us", flight->wake);
    print_member("step_us", flight->step);
    std::printf("\"ticks\": %llu, \"missed\": %llu, \"steps\": %llu, \"refused\": %llu, \"page_faults\": %ld, ", ticks,
                missed, steps, static_cast<Count>(flight->refused), usage.page_faults);
    std::printf("\"page_faults_from_disk\": %ld, \"waits\": %ld, \"interruptions\": %ld}\n", usage.from_disk,
                usage.waits, usage.interruptions);
    static_cast<void>(std::fputs(allowed.sentences.c_str(), stderr));
  } else {
    std::printf("%s on %s, batch %zu, in a loop of %.9g Hz on %s\n  %s\n", printable(file).c_str(),
                to_string(policy.engine()), policy.batch(), hz, cpu_name().c_str(), paced.c_str());
    if (allowed.fifo) std::printf("  allowed: SCHED_FIFO at priority %d\n", options.priority);
    if (allowed.cpu) std::printf("  allowed: on CPU %d alone\n", options.cpu.value_or(0));
    if (allowed.memory) std::printf("  allowed: all memory is kept in RAM\n");
    std::printf("%s  %-18s %10s %10s %10s %10s %10s\n", allowed.sentences.c_str(), "microseconds", "p50", "p99",
                "p99.9", "p99.99", "max");
    print_row("woken too late by", flight->wake);
    print_row("step", flight->step);
    std::printf("  ticks %llu, missed %llu; steps %llu\n  page faults %ld, %ld of them from disk; ", ticks, missed,
                steps, usage.page_faults, usage.from_disk);
    std::printf("context switches: %ld to wait for a tick, %ld by others\n", usage.waits, usage.interruptions);
  }
  if (flight->refused != 0) {
    throw std::runtime_error("'" + file + "': " + std::to_string(flight->refused) + " steps were refused, the first " +
                             "one with " + to_string(flight->first_refusal) + ": its times are not those of a flight");
  }
}

}  // namespace ganglion::tools
