// ganglion-bench: how long a step takes and how often it goes to the heap, for several files in interleaved rounds.

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <ganglion/policy.hpp>
#include <ganglion/version.hpp>
#include <iostream>
#include <optional>
#include <random>

#include "arguments.hpp"
#include "heap_counter.hpp"
#include "weight_floor.hpp"

namespace {

using ganglion::Engine;
using ganglion::Policy;
using ganglion::Status;
using ganglion::tools::Arguments;
using ganglion::tools::UsageError;
using ganglion::tools::WeightFloor;

constexpr const char* usage =
    "usage: ganglion-bench [OPTION OF THE LOAD]... [--json] [--steps N] [--rounds R] [--engine E]... [--pin CPU]\n"
    "                      [--floor BYTES]... FILE...\n"
    "Steps every file on every engine asked for (default: the one that fits it), in R interleaved rounds of N steps.\n"
    "--pin keeps the program on one CPU. --floor adds a contender that does nothing but read so many bytes once, with\n"
    "the widest loads of this CPU: the least time of a step that needs so many bytes of weights.\n";

struct Options {
  bool json = false;
  int steps = 2000;
  int rounds = 5;
  ganglion::LoadOptions load;
  std::optional<int> cpu;
  std::vector<Engine> engines;
  std::vector<std::size_t> floors;
  std::vector<std::string> files;
};

Options parse(Arguments arguments) {
  Options options;
  while (!arguments.empty()) {
    const std::string argument = arguments.take();
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--steps") {
      options.steps = arguments.count_of(argument);
    } else if (argument == "--rounds") {
      options.rounds = arguments.count_of(argument);
    } else if (argument == "--engine") {
      options.engines.push_back(arguments.engine_of(argument));
    } else if (argument == "--pin") {
      options.cpu = arguments.count_of(argument, 0);
    } else if (argument == "--floor") {
      options.floors.push_back(static_cast<std::size_t>(arguments.count_of(argument, 0)));
    } else if (arguments.take_load_option(argument, options.load)) {
      continue;
    } else if (argument.starts_with('-')) {
      throw UsageError("option " + argument + " is not known");
    } else {
      options.files.push_back(argument);
    }
  }
  if (options.files.empty()) throw UsageError("no file was named");
  if (options.engines.empty()) options.engines.push_back(Engine::automatic);
  return options;
}

/// Durations of one contender over all rounds.
class Times {
 public:
  void reserve(std::size_t count) { microseconds_.reserve(count); }

  template <class Run>
  void measure(const Run& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::micro> duration = std::chrono::steady_clock::now() - begin;
    microseconds_.push_back(duration.count());
  }

  void sort() { std::sort(microseconds_.begin(), microseconds_.end()); }
  [[nodiscard]] std::size_t count() const { return microseconds_.size(); }
  /// Of sorted times.
  [[nodiscard]] double percentile(double fraction) const {
    return microseconds_[static_cast<std::size_t>(fraction * static_cast<double>(microseconds_.size() - 1))];
  }

 private:
  std::vector<double> microseconds_;
};

/// One file on one engine: the policy, its random observations, and what was measured so far.
class Contender {
 public:
  Contender(std::string file, Policy policy)
      : file_(std::move(file)),
        policy_(std::move(policy)),
        observations_(distinct_observations * policy_.batch() * policy_.contract().observation_size()),
        action_(policy_.batch() * policy_.contract().action_size()) {
    std::mt19937 generator(0);  // the same observations in every run
    std::normal_distribution<float> normal;
    for (float& value : observations_) value = normal(generator);
  }

  void run(int steps) {
    policy_.reset();
    const std::size_t size = observations_.size() / distinct_observations;
    for (int i = 0; i < steps; ++i) {
      const std::size_t which = static_cast<std::size_t>(i) % distinct_observations;
      const std::span<const float> observation(observations_.data() + which * size, size);
      const std::uint64_t before = ganglion::tools::heap_allocations();
      Status status = Status::ok;
      times_.measure([&] { status = policy_.step(observation, action_); });
      allocations_ += ganglion::tools::heap_allocations() - before;
      if (status != Status::ok) {
        throw std::runtime_error("'" + file_ + "': a step answered " + to_string(status));
      }
    }
  }

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const char* engine() const { return to_string(policy_.engine()); }
  [[nodiscard]] Times& times() { return times_; }
  [[nodiscard]] const Times& times() const { return times_; }
  [[nodiscard]] double allocations_per_step() const {
    return static_cast<double>(allocations_) / static_cast<double>(times_.count());
  }

 private:
  static constexpr std::size_t distinct_observations = 64;

  std::string file_;
  Policy policy_;
  std::vector<float> observations_;
  std::vector<float> action_;
  Times times_;
  std::uint64_t allocations_ = 0;
};

/// The weights alone, read once per step; no bytes at all show what the clock itself takes.
class Floor {
 public:
  explicit Floor(std::size_t bytes) : weights_(bytes) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) times_.measure([&] { weights_.read(); });
  }

  [[nodiscard]] std::size_t bytes() const { return weights_.bytes(); }
  [[nodiscard]] Times& times() { return times_; }
  [[nodiscard]] const Times& times() const { return times_; }

 private:
  WeightFloor weights_;
  Times times_;
};

void pin_to(int cpu) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return;
#endif
  throw std::runtime_error("the program cannot be kept on CPU " + std::to_string(cpu));
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) result += c;
  }
  return result + '"';
}

/// The members that every measurement has.
void print_times(const Options& options, const Times& times) {
  std::printf("\"steps\": %zu, \"rounds\": %d, \"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f",
              times.count(), options.rounds, times.percentile(0.5), times.percentile(0.99), times.percentile(0.999),
              times.percentile(1.0));
}

void print_json(const Options& options, const std::vector<Contender>& contenders, const std::vector<Floor>& floors) {
  std::printf("{\"version\": %s, \"cpu\": %s, \"results\": [", quoted(ganglion::version).c_str(),
              quoted(cpu_name()).c_str());
  const char* separator = "";
  for (const Contender& contender : contenders) {
    std::printf("%s\n  {\"file\": %s, \"engine\": %s, ", separator, quoted(contender.file()).c_str(),
                quoted(contender.engine()).c_str());
    print_times(options, contender.times());
    std::printf(", \"allocations_per_step\": %.3f}", contender.allocations_per_step());
    separator = ",";
  }
  std::printf("\n], \"floors\": [");
  separator = "";
  for (const Floor& floor : floors) {
    std::printf("%s\n  {\"bytes\": %zu, ", separator, floor.bytes());
    print_times(options, floor.times());
    std::printf("}");
    separator = ",";
  }
  std::printf("\n]}\n");
}

void print_row(const char* what, const Times& times, double allocations, const std::string& file) {
  std::printf("%-12s %10.2f %10.2f %10.2f %10.2f %12.2f  %s\n", what, times.percentile(0.5), times.percentile(0.99),
              times.percentile(0.999), times.percentile(1.0), allocations, file.c_str());
}

void print_table(const std::vector<Contender>& contenders, const std::vector<Floor>& floors) {
  std::printf("%-12s %10s %10s %10s %10s %12s  %s\n", "engine", "p50 us", "p99 us", "p99.9 us", "max us", "heap/step",
              "file");
  for (const Contender& contender : contenders) {
    print_row(contender.engine(), contender.times(), contender.allocations_per_step(), contender.file());
  }
  for (const Floor& floor : floors) {
    print_row("(floor)", floor.times(), 0.0, std::to_string(floor.bytes()) + " bytes read once");
  }
}

/// One turn of a round for each of a list.
template <class Contenders>
void run_all(Contenders& contenders, int steps) {
  for (auto& contender : contenders) contender.run(steps);
}

void bench(Options options) {
  if (options.cpu) pin_to(*options.cpu);
  std::vector<Contender> contenders;
  for (const std::string& file : options.files) {
    for (const Engine engine : options.engines) {
      options.load.engine = engine;
      Policy policy = Policy::load(file, options.load);
      ganglion::tools::print_findings("ganglion-bench", file, policy.reading());
      contenders.emplace_back(file, std::move(policy));
    }
  }
  std::vector<Floor> floors;
  floors.reserve(options.floors.size());
  for (const std::size_t bytes : options.floors) floors.emplace_back(bytes);

  const std::size_t count = static_cast<std::size_t>(options.steps) * static_cast<std::size_t>(options.rounds);
  for (Contender& contender : contenders) contender.times().reserve(count);
  for (Floor& floor : floors) floor.times().reserve(count);
  for (int round = 0; round < options.rounds; ++round) {
    run_all(contenders, options.steps);
    run_all(floors, options.steps);
  }
  for (Contender& contender : contenders) contender.times().sort();
  for (Floor& floor : floors) floor.times().sort();
  options.json ? print_json(options, contenders, floors) : print_table(contenders, floors);
}

}  // namespace

int main(int count, char** values) {
  return ganglion::tools::run_tool("ganglion-bench", usage, [&] { bench(parse(Arguments(count, values))); });
}
