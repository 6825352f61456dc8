#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <ganglion/options.hpp>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ganglion::tools {

/// A wrong command line; what() is the sentence to print.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What an option of a load is called on a command line: `--batch`, `--onnxruntime` for a library, `--lock-memory` or
/// `--no-self-test` for a switch, and `--state-pair` for the hints, which `--action` and `--observation` complete.
template <class Value>
[[nodiscard]] std::string load_flag(std::string_view name, const Value& value) {
  std::string words(name);
  std::ranges::replace(words, '_', '-');
  if constexpr (std::is_same_v<Value, ReadingHints>) return "--state-pair";
  if constexpr (std::is_same_v<Value, bool>) return (value ? "--no-" : "--") + words;
  if constexpr (std::is_same_v<Value, std::filesystem::path>) {
    constexpr std::string_view library = "-library";
    if (words.ends_with(library)) words.resize(words.size() - library.size());
  }
  return "--" + words;
}

/// What stands for the value of an option in a usage; empty for a switch.
template <class Value>
[[nodiscard]] constexpr const char* value_word() {
  if constexpr (std::is_same_v<Value, bool>) return "";
  if constexpr (std::is_same_v<Value, Engine>) return " E";
  if constexpr (std::is_same_v<Value, Isa>) return " SET";
  if constexpr (std::is_same_v<Value, ReadingHints>) return " INPUT:OUTPUT";
  if constexpr (std::is_same_v<Value, std::filesystem::path>) return " FILE";
  return " N";
}

/// The line of one load option in a usage.
[[nodiscard]] inline std::string usage_line(std::string flag, const char* word, const char* what) {
  constexpr std::size_t width = 26;
  flag += word;
  const std::string space(flag.size() < width ? width - flag.size() : 1, ' ');
  return "  " + flag + space + (flag.starts_with("--no-") ? "do not " : "") + what + '\n';
}

/// A line for every load option, for the usage of a tool.
[[nodiscard]] inline std::string load_usage() {
  std::string text = "Options of the load:\n";
  LoadOptions options;
  for_each_option(options, [&](std::string_view name, const auto& value, const char* what) {
    text += usage_line(load_flag(name, value), value_word<std::decay_t<decltype(value)>>(), what);
  });
  text += "  --action OUTPUT           the output of a file without a contract that is the action\n";
  text +=
      "  --observation N           elements of the observation of a TorchScript file, where running it does not tell; "
      "NAME:N of one of several\n";
  return text;
}

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
    return whole_number<int>(option, value_of(option), least);
  }

  /// A positive number that is no greater than `most`.
  [[nodiscard]] double positive_of(const std::string& option, double most) {
    const std::string text = value_of(option);
    double value = 0.0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    // A comparison with NaN is false.
    if (code == std::errc{} && end == text.data() + text.size() && value > 0.0 && value <= most) return value;
    throw UsageError("option " + option + " needs a positive number of at most " +
                     std::to_string(static_cast<long>(most)) + ", not '" + text + "'");
  }

  /// Takes an option that goes into the load options, and its value; false for any other. Every load option is one:
  /// see load_flag.
  [[nodiscard]] bool take_load_option(const std::string& option, LoadOptions& options) {
    if (option == "--action") {
      options.hints.action = value_of(option);
      return true;
    }
    if (option == "--observation") {
      take(option, options.hints.observation);
      return true;
    }
    std::string_view wanted;
    LoadOptions defaults;  // they say what a switch is called
    for_each_option(defaults, [&](std::string_view name, const auto& value, const char*) {
      if (option == load_flag(name, value)) wanted = name;
    });
    for_each_option(options, [&](std::string_view name, auto& value, const char*) {
      if (name == wanted) take(option, value);
    });
    return !wanted.empty();
  }

  [[nodiscard]] Engine engine_of(const std::string& option) {
    Engine engine = Engine::automatic;
    take(option, engine);
    return engine;
  }

 private:
  template <class Number>
  [[nodiscard]] static Number whole_number(const std::string& option, const std::string& text, Number least) {
    Number value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size() || value < least) {
      throw UsageError("option " + option + " needs a whole number of at least " + std::to_string(least) + ", not '" +
                       text + "'");
    }
    return value;
  }

  void take(const std::string& option, int& value) { value = whole_number(option, value_of(option), 0); }
  void take(const std::string& option, std::size_t& value) {
    value = whole_number<std::size_t>(option, value_of(option), 1);
  }
  void take(const std::string& option, std::optional<std::uint64_t>& value) {
    value = whole_number<std::uint64_t>(option, value_of(option), 0);
  }
  static void take(const std::string& option, bool& value) { value = !option.starts_with("--no-"); }
  void take(const std::string& option, std::filesystem::path& value) { value = value_of(option); }

  template <class Named>
  [[nodiscard]] static auto one_of(const std::string& name, const char* what, Named named, const std::string& known) {
    const auto value = named(name);
    if (!value) throw UsageError(std::string(what) + " '" + name + "' is not one of " + known);
    return *value;
  }

  void take(const std::string& option, Engine& value) {
    std::string known = to_string(Engine::automatic);
    for (const EngineTraits& row : engine_table) known += std::string(", ") + row.name;
    value = one_of(value_of(option), "engine", engine_named, known);
  }

  void take(const std::string& option, Isa& value) {
    std::string known = to_string(Isa::automatic);
    for (const Isa each : every_isa) known += std::string(", ") + to_string(each);
    value = one_of(value_of(option), "instruction set", isa_named, known);
  }

  /// INPUT:OUTPUT of a file without a contract; given again, and then it says it of all. "none": there is no state.
  void take(const std::string& option, ReadingHints& hints) {
    const std::string text = value_of(option);
    if (!hints.state) hints.state.emplace();
    if (text == "none") return;
    // Names of tensors may have colons; the last one parts the two.
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
      throw UsageError("option " + option + " takes INPUT:OUTPUT, not '" + text + "'");
    }
    hints.state->emplace_back(text.substr(0, colon), text.substr(colon + 1));
  }

  /// N, or INPUT:N of one of several; given again for the others.
  void take(const std::string& option, ObservationSizes& sizes) {
    const std::string text = value_of(option);
    const std::size_t colon = text.rfind(':');
    const std::string name = colon == std::string::npos ? std::string() : text.substr(0, colon);
    const std::string count = colon == std::string::npos ? text : text.substr(colon + 1);
    sizes[name] = whole_number<std::size_t>(option, count, 1);
  }

  std::vector<std::string> values_;
  std::size_t next_ = 0;
};

/// The text with a question mark for what a terminal would obey: names come out of files that anybody wrote.
inline std::string printable(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, in UTF-8, are control characters, too.
    const bool is_c1 = i > 0 && text[i - 1] == '\xC2' && c >= 0x80 && c < 0xA0;
    if (is_c1) text[i - 1] = '?';
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F || is_c1) text[i] = '?';
  }
  return text;
}

/// The text as a string of JSON.
inline std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) result += c;
  }
  return result + '"';
}

/// Says on standard error what is suspicious about a file.
inline void print_findings(const char* tool, const std::string& file, const Reading& reading) {
  for (const Finding& finding : reading.findings) {
    std::cerr << tool << ": '" << file << "': " << printable(finding.sentence) << " [" << finding.code << "]\n";
  }
}

/// The frame of a tool's main: 0 for success, 2 with the usage for a wrong command line, 1 for any other failure.
template <typename Run>
int run_tool(const char* name, const char* usage, const Run& run) {
  try {
    run();
    return 0;
  } catch (const UsageError& error) {
    std::cerr << name << ": " << printable(error.what()) << '\n' << usage << load_usage();
    return 2;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << printable(error.what()) << '\n';
    return 1;
  }
}

}  // namespace ganglion::tools
