// ganglion-bench: how long a step takes, hot and cold, how often it goes to the heap, what a load takes and what stays
// in memory, for several files in interleaved rounds.

#include <array>
#include <cstdio>
#include <ganglion/policy.hpp>
#include <ganglion/version.hpp>
#include <iostream>
#include <memory>
#include <optional>

#include "arguments.hpp"
#include "contenders.hpp"
#include "machine.hpp"
#include "recorded_stepper.hpp"

namespace {

using ganglion::Engine;
using ganglion::Policy;
using ganglion::tools::Arguments;
using ganglion::tools::FileStepper;
using ganglion::tools::Floor;
using ganglion::tools::LibraryStepper;
using ganglion::tools::quoted;
using ganglion::tools::RecordedStepper;
using ganglion::tools::Stepper;
using ganglion::tools::Times;
using ganglion::tools::UsageError;

constexpr const char* usage =
    "usage: ganglion-bench [OPTION OF THE LOAD]... [--json] [--steps N] [--rounds R] [--cold N] [--record]\n"
    "                      [--engine E]... [--pin CPU] [--fifo] [--floor BYTES]... [--library FILE.so]... [FILE]...\n"
    "Steps every file on every engine asked for (default: the one that fits it), in R interleaved rounds of N steps, "
    "and\n"
    "loads it five times. What the clock takes is off every time.\n"
    "--cold steps N times a round with everything put out of the caches before: so a control loop finds them.\n"
    "--record steps every file a second time in every round, with a flight recorder attached.\n"
    "--pin keeps the program on one CPU, and --fifo asks for SCHED_FIFO there. --floor adds a contender that does "
    "nothing\n"
    "but read so many bytes once, with the widest loads of this CPU: the least time of a step that needs so many bytes "
    "of\n"
    "weights. --library adds a step of your own: a shared library that exports bench_observation_size,\n"
    "bench_action_size, bench_reset and bench_step with C linkage.\n";

struct Options {
  bool json = false;
  bool fifo = false;
  bool record = false;
  int steps = 2000;
  int rounds = 5;
  int cold = 0;
  ganglion::LoadOptions load;
  std::optional<int> cpu;
  std::vector<Engine> engines;
  std::vector<std::size_t> floors;
  std::vector<std::string> libraries;
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
    } else if (argument == "--cold") {
      options.cold = arguments.count_of(argument, 0);
    } else if (argument == "--fifo") {
      options.fifo = true;
    } else if (argument == "--record") {
      options.record = true;
    } else if (argument == "--library") {
      options.libraries.push_back(arguments.value_of(argument));
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
  if (options.files.empty() && options.libraries.empty()) throw UsageError("no file was named");
  if (options.engines.empty()) options.engines.push_back(Engine::automatic);
  return options;
}

/// Everything that takes part, and what it runs under.
struct Field {
  const char* scheduling = "SCHED_OTHER";
  double clock = 0.0;  ///< microseconds
  std::vector<std::unique_ptr<FileStepper>> files;
  std::vector<std::unique_ptr<RecordedStepper>> recorded;
  std::vector<std::unique_ptr<LibraryStepper>> libraries;
  std::vector<std::unique_ptr<Floor>> floors;

  template <class Do>
  void each(const Do& act) {
    for (const auto& one : files) act(*one);
    for (const auto& one : recorded) act(*one);
    for (const auto& one : libraries) act(*one);
    for (const auto& one : floors) act(*one);
  }
};

/// The members that every measurement has.
void print_times(const Options& options, const ganglion::tools::Contender& contender) {
  const Times& hot = contender.hot();
  std::printf("\"steps\": %zu, \"rounds\": %d, \"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f",
              hot.count(), options.rounds, hot.percentile(0.5), hot.percentile(0.99), hot.percentile(0.999),
              hot.percentile(1.0));
  if (options.cold > 0) {
    const Times& cold = contender.cold();
    std::printf(", \"cold_p50_us\": %.3f, \"cold_p99_us\": %.3f", cold.percentile(0.5), cold.percentile(0.99));
  }
}

void print_stepper(const Options& options, const Stepper& stepper) {
  std::printf("{\"file\": %s, \"engine\": %s, \"batch\": %zu, ", quoted(stepper.file()).c_str(),
              quoted(stepper.engine()).c_str(), stepper.rows());
  print_times(options, stepper);
  std::printf(", \"allocations_per_step\": %.3f", stepper.allocations_per_step());
}

void print_json(const Options& options, const Field& field) {
  std::printf("{\"version\": %s, \"cpu\": %s, \"scheduling\": \"%s\", \"clock_us\": %.3f, \"results\": [",
              quoted(ganglion::version).c_str(), quoted(ganglion::tools::cpu_name()).c_str(), field.scheduling,
              field.clock);
  const char* separator = "\n  ";
  const auto part = [&] { std::printf("%s", std::exchange(separator, ",\n  ")); };
  for (const auto& file : field.files) {
    part();
    print_stepper(options, *file);
    std::printf(", \"load_ms\": %.3f, \"resident_bytes\": %zu}", file->load().milliseconds,
                file->load().resident_bytes);
  }
  for (const auto& file : field.recorded) {
    part();
    print_stepper(options, *file);
    std::printf(", \"recorded\": true}");
  }
  for (const auto& library : field.libraries) {
    part();
    print_stepper(options, *library);
    std::printf("}");
  }
  std::printf("\n], \"floors\": [");
  separator = "\n  ";
  for (const auto& floor : field.floors) {
    part();
    std::printf("{\"bytes\": %zu, ", floor->bytes());
    print_times(options, *floor);
    std::printf("}");
  }
  std::printf("\n]}\n");
}

void print_row(const Options& options, const char* what, const ganglion::tools::Contender& contender,
               const std::string& file) {
  const Times& hot = contender.hot();
  std::printf("%-12s %10.2f %10.2f %10.2f %10.2f", what, hot.percentile(0.5), hot.percentile(0.99),
              hot.percentile(0.999), hot.percentile(1.0));
  if (options.cold > 0) std::printf(" %12.2f", contender.cold().percentile(0.5));
  std::printf(" %12.2f  %s\n", contender.allocations_per_step(), file.c_str());
}

void print_table(const Options& options, const Field& field) {
  std::printf("%-12s %10s %10s %10s %10s%s %12s  %s\n", "engine", "p50 us", "p99 us", "p99.9 us", "max us",
              options.cold > 0 ? "  cold p50 us" : "", "heap/step", "file");
  for (const auto& file : field.files) print_row(options, file->engine().c_str(), *file, file->file());
  for (const auto& file : field.recorded) {
    print_row(options, file->engine().c_str(), *file, file->file() + ", recorded");
  }
  for (const auto& library : field.libraries) print_row(options, "(library)", *library, library->file());
  for (const auto& floor : field.floors) {
    print_row(options, "(floor)", *floor, std::to_string(floor->bytes()) + " bytes read once");
  }
}

/// Loads a file five times. What it takes in memory is seen at the second load: the first one brings the engine.
std::unique_ptr<FileStepper> loaded(const std::string& file, const ganglion::LoadOptions& options) {
  constexpr int loads = 5;
  Times times;
  std::vector<Policy> kept;
  std::size_t resident = 0;
  for (int i = 0; i < loads; ++i) {
    const std::size_t before = ganglion::tools::resident_bytes();
    times.measure([&] { kept.push_back(Policy::load(file, options)); });
    const std::size_t after = ganglion::tools::resident_bytes();
    if (i == 1) resident = after > before ? after - before : 0;
    if (i > 1) kept.pop_back();
  }
  times.finish(0.0);
  ganglion::tools::print_findings("ganglion-bench", file, kept.front().reading());
  kept.pop_back();
  return std::make_unique<FileStepper>(file, std::move(kept.front()),
                                       FileStepper::Load{times.percentile(0.5) / 1000.0, resident});
}

void bench(Options options) {
  Field field;
  const auto each_file = [&](const auto& load) {
    for (const std::string& file : options.files) {
      for (const Engine engine : options.engines) {
        options.load.engine = engine;
        load(file);
      }
    }
  };
  if (options.record) {
    each_file([&](const std::string& file) {
      field.recorded.push_back(std::make_unique<RecordedStepper>(file, Policy::load(file, options.load)));
    });
  }
  if (options.cpu) ganglion::tools::pin_to(*options.cpu);
  each_file([&](const std::string& file) { field.files.push_back(loaded(file, options.load)); });
  for (const std::string& library : options.libraries) field.libraries.push_back(LibraryStepper::open(library));
  for (const std::size_t bytes : options.floors) field.floors.push_back(std::make_unique<Floor>(bytes));
  if (options.fifo && ganglion::tools::ask_for_fifo(50)) field.scheduling = "SCHED_FIFO";
  field.clock = ganglion::tools::clock_time();

  const auto rounds = static_cast<std::size_t>(options.rounds);
  field.each([&](ganglion::tools::Contender& one) {
    one.reserve(rounds * static_cast<std::size_t>(options.steps), rounds * static_cast<std::size_t>(options.cold));
  });
  std::optional<ganglion::tools::Caches> caches;
  if (options.cold > 0) caches.emplace();
  for (std::size_t round = 0; round < rounds; ++round) {
    field.each([&](ganglion::tools::Contender& one) { one.run(options.steps); });
    if (caches) field.each([&](ganglion::tools::Contender& one) { one.run_cold(options.cold, *caches); });
  }
  for (const auto& one : field.recorded) one->conclude();
  field.each([&](ganglion::tools::Contender& one) { one.finish(field.clock); });
  options.json ? print_json(options, field) : print_table(options, field);
}

}  // namespace

int main(int count, char** values) {
  return ganglion::tools::run_tool("ganglion-bench", usage, [&] { bench(parse(Arguments(count, values))); });
}
