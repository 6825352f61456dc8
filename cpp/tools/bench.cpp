// ganglion-bench: how long a step takes and how often it goes to the heap, for several files in interleaved rounds.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <ganglion/policy.hpp>
#include <ganglion/version.hpp>
#include <iostream>
#include <random>

#include "arguments.hpp"
#include "heap_counter.hpp"

namespace {

using ganglion::Engine;
using ganglion::Policy;
using ganglion::Status;
using ganglion::tools::Arguments;
using ganglion::tools::UsageError;

constexpr const char* usage =
    "usage: ganglion-bench [--json] [--steps N] [--rounds R] [--batch B] [--engine E]... [--onnxruntime LIB]\n"
    "                      [--libtorch LIB] FILE...\n"
    "Steps every file on every engine asked for (default: the one that fits it), in R interleaved rounds of N steps.\n";

struct Options {
  bool json = false;
  int steps = 2000;
  int rounds = 5;
  ganglion::LoadOptions load;
  std::vector<Engine> engines;
  std::vector<std::string> files;
};

Options parse(Arguments arguments) {
  Options options;
  while (!arguments.empty()) {
    const std::string argument = arguments.take();
    if (arguments.take_load_option(argument, options.load)) continue;
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--steps") {
      options.steps = arguments.count_of(argument);
    } else if (argument == "--rounds") {
      options.rounds = arguments.count_of(argument);
    } else if (argument == "--engine") {
      options.engines.push_back(arguments.engine_of(argument));
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

  void reserve(std::size_t steps) { microseconds_.reserve(steps); }

  void run(int steps) {
    policy_.reset();
    const std::size_t size = observations_.size() / distinct_observations;
    for (int i = 0; i < steps; ++i) {
      const std::size_t which = static_cast<std::size_t>(i) % distinct_observations;
      const std::span<const float> observation(observations_.data() + which * size, size);
      const std::uint64_t before = ganglion::tools::heap_allocations();
      const auto begin = std::chrono::steady_clock::now();
      const Status status = policy_.step(observation, action_);
      const std::chrono::duration<double, std::micro> duration = std::chrono::steady_clock::now() - begin;
      allocations_ += ganglion::tools::heap_allocations() - before;
      if (status != Status::ok) {
        throw std::runtime_error("'" + file_ + "': a step answered " + to_string(status));
      }
      microseconds_.push_back(duration.count());
    }
  }

  struct Result {
    std::string file;
    std::string engine;
    std::size_t steps;
    double p50_us;
    double p99_us;
    double p999_us;
    double max_us;
    double allocations_per_step;
  };

  [[nodiscard]] Result result() {
    std::sort(microseconds_.begin(), microseconds_.end());
    const auto percentile = [this](double fraction) {
      return microseconds_[static_cast<std::size_t>(fraction * static_cast<double>(microseconds_.size() - 1))];
    };
    const std::size_t steps = microseconds_.size();
    return {file_,
            to_string(policy_.engine()),
            steps,
            percentile(0.5),
            percentile(0.99),
            percentile(0.999),
            microseconds_.back(),
            static_cast<double>(allocations_) / static_cast<double>(steps)};
  }

 private:
  static constexpr std::size_t distinct_observations = 64;

  std::string file_;
  Policy policy_;
  std::vector<float> observations_;
  std::vector<float> action_;
  std::vector<double> microseconds_;
  std::uint64_t allocations_ = 0;
};

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

void print_json(const Options& options, const std::vector<Contender::Result>& results) {
  std::printf("{\"version\": %s, \"cpu\": %s, \"results\": [", quoted(ganglion::version).c_str(),
              quoted(cpu_name()).c_str());
  const char* separator = "";
  for (const auto& r : results) {
    std::printf(
        "%s\n  {\"file\": %s, \"engine\": %s, \"steps\": %zu, \"rounds\": %d, \"p50_us\": %.3f, \"p99_us\": %.3f, "
        "\"p999_us\": %.3f, \"max_us\": %.3f, \"allocations_per_step\": %.3f}",
        separator, quoted(r.file).c_str(), quoted(r.engine).c_str(), r.steps, options.rounds, r.p50_us, r.p99_us,
        r.p999_us, r.max_us, r.allocations_per_step);
    separator = ",";
  }
  std::printf("\n]}\n");
}

void print_table(const std::vector<Contender::Result>& results) {
  std::printf("%-12s %10s %10s %10s %10s %12s  %s\n", "engine", "p50 us", "p99 us", "p99.9 us", "max us", "heap/step",
              "file");
  for (const auto& r : results) {
    std::printf("%-12s %10.2f %10.2f %10.2f %10.2f %12.2f  %s\n", r.engine.c_str(), r.p50_us, r.p99_us, r.p999_us,
                r.max_us, r.allocations_per_step, r.file.c_str());
  }
}

void bench(Options options) {
  std::vector<Contender> contenders;
  for (const std::string& file : options.files) {
    for (const Engine engine : options.engines) {
      options.load.engine = engine;
      contenders.emplace_back(file, Policy::load(file, options.load));
    }
  }
  for (Contender& contender : contenders) {
    contender.reserve(static_cast<std::size_t>(options.steps) * static_cast<std::size_t>(options.rounds));
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (Contender& contender : contenders) contender.run(options.steps);
  }
  std::vector<Contender::Result> results;
  results.reserve(contenders.size());
  for (Contender& contender : contenders) results.push_back(contender.result());
  options.json ? print_json(options, results) : print_table(results);
}

}  // namespace

int main(int count, char** values) {
  return ganglion::tools::run_tool("ganglion-bench", usage, [&] { bench(parse(Arguments(count, values))); });
}
