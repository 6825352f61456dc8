// ganglion-run: replays a trajectory file through the runtime on the machine that it will fly on.
//
// The trajectory is CSV with one line per step and batch row, rows of a step in order:
//   reset,<observation element>...      a header line
//   0,0.01,-0.2,...                     reset is 1 where the row is reset before the step
// The answer is CSV with every output element (and, with --state, the hidden state) in shortest round-trip decimals.
// With --digest it is also one line on standard output: the SHA-256 over the bytes (little-endian binary32) of the
// action of all rows and of the state of all rows, step by step. On the native engine it is the same on every machine.
// With --loop it flies the policy in a loop at its rate, and prints how long waking up and a step took.

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <ganglion/policy.hpp>
#include <iostream>
#include <optional>
#include <sstream>

#include "arguments.hpp"
#include "io/sha256.hpp"
#include "timed_loop.hpp"
#include "trajectory.hpp"

namespace {

using ganglion::Policy;
using ganglion::Status;
using ganglion::tools::Arguments;
using ganglion::tools::TrajectoryReader;
using ganglion::tools::UsageError;

constexpr const char* usage =
    "usage: ganglion-run [OPTION OF THE LOAD]... [--state] FILE TRAJECTORY.csv OUTPUT.csv\n"
    "       ganglion-run [OPTION OF THE LOAD]... --digest FILE TRAJECTORY.csv [OUTPUT.csv]\n"
    "       ganglion-run [OPTION OF THE LOAD]... --loop HZ [--seconds S] [--priority P] [--cpu N] [--json]\n"
    "                    FILE [TRAJECTORY.csv]\n"
    "--digest prints the SHA-256 over all actions and states: the same on every machine, on the native engine.\n"
    "--loop steps the policy in a loop of so many ticks a second, for --seconds (10) or until Ctrl-C, under SCHED_FIFO "
    "at\n"
    "--priority (50) and on one CPU where --cpu names it, and prints how long waking up and a step took on this "
    "machine.\n";

struct Options {
  ganglion::LoadOptions load;
  bool state = false;
  bool digest = false;
  std::optional<double> loop_hz;
  bool says_how = false;  ///< to loop
  ganglion::tools::LoopOptions loop;
  std::vector<std::string> paths;
};

/// False for an option that says nothing of how to loop.
bool take_loop_option(const std::string& argument, Arguments& arguments, ganglion::tools::LoopOptions& options) {
  if (argument == "--seconds") {
    options.seconds = arguments.positive_of(argument, 1e7);
  } else if (argument == "--priority") {
    options.priority = arguments.count_of(argument);
    if (options.priority > 99) throw UsageError("option --priority needs a whole number from 1 to 99");
  } else if (argument == "--cpu") {
    options.cpu = arguments.count_of(argument, 0);
  } else if (argument == "--json") {
    options.json = true;
  } else {
    return false;
  }
  return true;
}

Options parse(Arguments arguments) {
  Options options;
  while (!arguments.empty()) {
    const std::string argument = arguments.take();
    if (arguments.take_load_option(argument, options.load)) continue;
    if (take_loop_option(argument, arguments, options.loop)) {
      options.says_how = true;
      continue;
    }
    if (argument == "--state") {
      options.state = true;
    } else if (argument == "--digest") {
      options.digest = true;
    } else if (argument == "--loop") {
      options.loop_hz = arguments.positive_of(argument, 1e6);
    } else if (argument.starts_with('-')) {
      throw UsageError("option " + argument + " is not known");
    } else {
      options.paths.push_back(argument);
    }
  }
  if (options.loop_hz) {
    if (options.state || options.digest) throw UsageError("--loop writes no actions: without --state and --digest");
    if (options.paths.empty() || options.paths.size() > 2) {
      throw UsageError("a loop needs an artifact, and takes a trajectory");
    }
    return options;
  }
  if (options.says_how) throw UsageError("--seconds, --priority, --cpu and --json are of --loop");
  const std::size_t least = options.digest ? 2 : 3;
  if (options.paths.size() < least || options.paths.size() > 3) {
    throw UsageError("an artifact, a trajectory and an output file are needed");
  }
  return options;
}

std::string element_name(const ganglion::TensorSpec& spec, std::size_t index) {
  return spec.element_names.empty() ? spec.name + "_" + std::to_string(index) : spec.element_names[index];
}

void write_header(std::ostream& out, const Policy& policy, bool with_state) {
  const char* separator = "";
  for (const ganglion::TensorSpec& spec : policy.contract().outputs) {
    for (std::size_t i = 0; i < spec.size; ++i, separator = ",") out << separator << element_name(spec, i);
  }
  for (std::size_t i = 0; with_state && i < policy.contract().hidden_size(); ++i) out << ",state_" << i;
  out << '\n';
}

void write_values(std::ostream& out, std::span<const float> values, const char*& separator) {
  std::array<char, 32> text{};
  for (const float value : values) {
    const auto result = std::to_chars(text.data(), text.data() + text.size(), value);
    out << separator << std::string_view(text.data(), result.ptr);
    separator = ",";
  }
}

void write_step(std::ostream& out, const Policy& policy, bool with_state) {
  for (std::size_t row = 0; row < policy.batch(); ++row) {
    const char* separator = "";
    for (std::size_t i = 0; i < policy.contract().outputs.size(); ++i) {
      const std::size_t size = policy.contract().outputs[i].size;
      write_values(out, policy.output(i).subspan(row * size, size), separator);
    }
    const std::size_t hidden = policy.contract().hidden_size();
    if (with_state) write_values(out, policy.state().subspan(row * hidden, hidden), separator);
    out << '\n';
  }
}

/// What is done with a run.
struct Answer {
  std::ostream* out = nullptr;  ///< null: no CSV
  bool with_state = false;
  ganglion::detail::Sha256 digest;
};

std::size_t replay(Policy& policy, TrajectoryReader& trajectory, Answer& answer) {
  const std::size_t batch = policy.batch();
  std::vector<float> observation(batch * policy.contract().observation_size());
  std::vector<float> action(batch * policy.contract().action_size());
  std::vector<std::uint8_t> reset(batch);
  if (answer.out != nullptr) write_header(*answer.out, policy, answer.with_state);
  std::size_t steps = 0;
  while (trajectory.next(reset, observation)) {
    Status status = policy.reset(reset);
    if (status == Status::ok) status = policy.step(observation, action);
    if (status != Status::ok) trajectory.refuse(std::string("the step was refused: ") + to_string(status));
    if (answer.out != nullptr) write_step(*answer.out, policy, answer.with_state);
    answer.digest.update(std::as_bytes(std::span(action)));
    answer.digest.update(std::as_bytes(policy.state()));
    ++steps;
  }
  return steps;
}

void run(const Options& options) {
  Policy policy = Policy::load(options.paths[0], options.load);
  ganglion::tools::print_findings("ganglion-run", options.paths[0], policy.reading());
  if (options.loop_hz) {
    std::optional<TrajectoryReader> given;
    if (options.paths.size() == 2) given.emplace(options.paths[1], policy.contract());
    ganglion::tools::fly(policy, options.paths[0], given ? &*given : nullptr, *options.loop_hz, options.loop);
    return;
  }
  TrajectoryReader trajectory(options.paths[1], policy.contract());
  Answer answer{nullptr, options.state, {}};
  if (options.paths.size() == 2) {
    const std::size_t steps = replay(policy, trajectory, answer);
    std::cerr << "ganglion-run: " << steps << " steps on " << to_string(policy.engine()) << '\n';
    std::cout << answer.digest.hex_digest() << '\n';
    return;
  }
  const std::filesystem::path target = options.paths[2];
  const std::filesystem::path temporary = target.string() + ".part";
  try {
    std::ofstream out(temporary);
    answer.out = &out;
    const std::size_t steps = replay(policy, trajectory, answer);
    out.close();
    if (!out) throw std::runtime_error("'" + temporary.string() + "' cannot be written");
    std::filesystem::rename(temporary, target);
    if (options.digest) std::cout << answer.digest.hex_digest() << '\n';
    std::cerr << "ganglion-run: " << steps << " steps on " << to_string(policy.engine()) << '\n';
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

}  // namespace

int main(int count, char** values) {
  return ganglion::tools::run_tool("ganglion-run", usage, [&] { run(parse(Arguments(count, values))); });
}
