#pragma once

#include <charconv>
#include <ganglion/policy.hpp>
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

  [[nodiscard]] int count_of(const std::string& option) {
    const std::string text = value_of(option);
    int value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size() || value < 1) {
      throw UsageError("option " + option + " needs a whole number of at least 1, not '" + text + "'");
    }
    return value;
  }

  [[nodiscard]] Engine engine_of(const std::string& option) {
    const std::string name = value_of(option);
    for (const Engine engine : {Engine::automatic, Engine::native, Engine::onnxruntime, Engine::libtorch}) {
      if (name == to_string(engine)) return engine;
    }
    throw UsageError("engine '" + name + "' is not one of automatic, native, onnxruntime, libtorch");
  }

 private:
  std::vector<std::string> values_;
  std::size_t next_ = 0;
};

}  // namespace ganglion::tools
