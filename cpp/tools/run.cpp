// ganglion-run: replays a trajectory file through the runtime on the machine that it will fly on.
//
// The trajectory is CSV with one line per step and batch row, rows of a step in order:
//   reset,<observation element>...      a header line
//   0,0.01,-0.2,...                     reset is 1 where the row is reset before the step
// The answer is CSV with every output element (and, with --state, the hidden state) in shortest round-trip decimals.
// With --digest it is also one line on standard output: the SHA-256 over the bytes (little-endian binary32) of the
// action of all rows and of the state of all rows, step by step. On the native engine it is the same on every machine.

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <ganglion/policy.hpp>
#include <iostream>
#include <sstream>

#include "arguments.hpp"
#include "io/sha256.hpp"

namespace {

using ganglion::Policy;
using ganglion::Status;
using ganglion::tools::Arguments;
using ganglion::tools::UsageError;

constexpr const char* usage =
    "usage: ganglion-run [OPTION OF THE LOAD]... [--state] FILE TRAJECTORY.csv OUTPUT.csv\n"
    "       ganglion-run [OPTION OF THE LOAD]... --digest FILE TRAJECTORY.csv [OUTPUT.csv]\n"
    "--digest prints the SHA-256 over all actions and states: the same on every machine, on the native engine\n";

struct Options {
  ganglion::LoadOptions load;
  bool state = false;
  bool digest = false;
  std::vector<std::string> paths;
};

Options parse(Arguments arguments) {
  Options options;
  while (!arguments.empty()) {
    const std::string argument = arguments.take();
    if (arguments.take_load_option(argument, options.load)) continue;
    if (argument == "--state") {
      options.state = true;
    } else if (argument == "--digest") {
      options.digest = true;
    } else if (argument.starts_with('-')) {
      throw UsageError("option " + argument + " is not known");
    } else {
      options.paths.push_back(argument);
    }
  }
  const std::size_t least = options.digest ? 2 : 3;
  if (options.paths.size() < least || options.paths.size() > 3) {
    throw UsageError("an artifact, a trajectory and an output file are needed");
  }
  return options;
}

/// Reads the lines of a trajectory: a flag, and an observation.
class TrajectoryReader {
 public:
  TrajectoryReader(const std::string& path, const ganglion::Contract& contract) : path_(path), file_(path) {
    numbers_ = std::to_string(1 + contract.observation_size()) + " numbers (reset";
    for (const ganglion::TensorSpec& input : contract.inputs) {
      numbers_ += " + " + input.name + " " + std::to_string(input.size);
    }
    numbers_ += ')';
    std::string header;
    if (!file_ || !std::getline(file_, header)) throw std::runtime_error("'" + path + "' cannot be read");
  }

  /// False at the end of the file.
  bool next(std::uint8_t& reset, std::span<float> observation) {
    std::string line;
    if (!std::getline(file_, line)) return false;
    ++line_;
    const char* at = line.data();
    const char* const end = line.data() + line.size();
    float flag = 0.0F;
    at = number(at, end, flag);
    reset = flag != 0.0F ? 1 : 0;
    for (float& value : observation) {
      if (at == end || *at != ',') refuse("has fewer than " + numbers_);
      at = number(at + 1, end, value);
    }
    if (at != end && *at != '\r') refuse("has more than " + numbers_);
    return true;
  }

  [[nodiscard]] std::size_t line() const { return line_; }

  [[noreturn]] void refuse(const std::string& why) const {
    throw std::runtime_error("'" + path_ + "', line " + std::to_string(line_) + ", " + why);
  }

 private:
  const char* number(const char* at, const char* end, float& value) const {
    const auto [stop, code] = std::from_chars(at, end, value);
    if (code != std::errc{}) refuse("has something that is not a number");
    return stop;
  }

  std::string path_;
  std::string numbers_;  ///< what a line has, for errors
  std::ifstream file_;
  std::size_t line_ = 1;
};

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
  const std::size_t size = policy.contract().observation_size();
  std::vector<float> observation(batch * size);
  std::vector<float> action(batch * policy.contract().action_size());
  std::vector<std::uint8_t> reset(batch);
  if (answer.out != nullptr) write_header(*answer.out, policy, answer.with_state);
  std::size_t steps = 0;
  while (trajectory.next(reset[0], std::span(observation).first(size))) {
    for (std::size_t row = 1; row < batch; ++row) {
      if (!trajectory.next(reset[row], std::span(observation).subspan(row * size, size))) {
        trajectory.refuse("the file ends inside a step of " + std::to_string(batch) + " rows");
      }
    }
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
