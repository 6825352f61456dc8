#pragma once

#include <charconv>
#include <ganglion/policy.hpp>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::tools {

/// A wrong command line; what() is the sentence to print.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Walks over a command line: options with values, flags, and everything else as positional.
class Arguments {
 public:
  Arguments(int count, char** values) : values_(values + 1, values + count) {}

  [[nodiscard]] bool empty() const { return next_ == values_.size(); }
  [[nodiscard]] std::string take() { return values_[next_++]; }

  [[nodiscard]] std::string value_of(const std::string& option) {
    if (empty()) throw UsageError("option " + option + " needs a value");
    return take();
  }

  [[nodiscard]] int count_of(const std::string& option, int least = 1) {
    const std::string text = value_of(option);
    int value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size() || value < least) {
      throw UsageError("option " + option + " needs a whole number of at least " + std::to_string(least) + ", not '" +
                       text + "'");
    }
    return value;
  }

  /// Takes the value of an option that every tool knows and that goes into the load options; false for any other.
  [[nodiscard]] bool take_load_option(const std::string& option, LoadOptions& options) {
    if (option == "--batch") {
      options.batch = static_cast<std::size_t>(count_of(option));
    } else if (option == "--onnxruntime") {
      options.onnxruntime_library = value_of(option);
    } else if (option == "--libtorch") {
      options.libtorch_library = value_of(option);
    } else if (option == "--state-pair") {
      take_state_pair(option, options.hints);
    } else {
      return false;
    }
    return true;
  }

  [[nodiscard]] Engine engine_of(const std::string& option) {
    const std::string name = value_of(option);
    for (const Engine engine : {Engine::automatic, Engine::native, Engine::onnxruntime, Engine::libtorch}) {
      if (name == to_string(engine)) return engine;
    }
    throw UsageError("engine '" + name + "' is not one of automatic, native, onnxruntime, libtorch");
  }

 private:
  /// INPUT:OUTPUT of a file without a contract; given again, and then it says it of all.
  void take_state_pair(const std::string& option, ReadingHints& hints) {
    const std::string text = value_of(option);
    // Names of tensors may have colons; the last one parts the two.
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
      throw UsageError("option " + option + " takes INPUT:OUTPUT, not '" + text + "'");
    }
    if (!hints.state) hints.state.emplace();
    hints.state->emplace_back(text.substr(0, colon), text.substr(colon + 1));
  }

  std::vector<std::string> values_;
  std::size_t next_ = 0;
};

/// The frame of a tool's main: 0 for success, 2 with the usage for a wrong command line, 1 for any other failure.
template <typename Run>
int run_tool(const char* name, const char* usage, const Run& run) {
  try {
    run();
    return 0;
  } catch (const UsageError& error) {
    std::cerr << name << ": " << error.what() << '\n' << usage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace ganglion::tools
