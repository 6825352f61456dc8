#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <ganglion/contract.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace ganglion::tools {

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

  /// One step of `reset.size()` rows; false at the end of the file.
  bool next(std::span<std::uint8_t> reset, std::span<float> observation) {
    const std::size_t size = observation.size() / reset.size();
    for (std::size_t row = 0; row < reset.size(); ++row) {
      if (next_line(reset[row], observation.subspan(row * size, size))) continue;
      if (row == 0) return false;
      refuse("the file ends inside a step of " + std::to_string(reset.size()) + " rows");
    }
    return true;
  }

  [[noreturn]] void refuse(const std::string& why) const {
    throw std::runtime_error("'" + path_ + "', line " + std::to_string(line_) + ", " + why);
  }

 private:
  bool next_line(std::uint8_t& reset, std::span<float> observation) {
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

}  // namespace ganglion::tools
