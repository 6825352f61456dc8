// A small part of YAML, read by ourselves: maps of plain names, so that a robot needs no YAML library for it.

#include "io/hints.hpp"

#include <charconv>
#include <set>
#include <system_error>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/json.hpp"

namespace ganglion::detail {

namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string_view unquoted(std::string_view text) {
  const bool is_quoted =
      text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
  return is_quoted ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

ReadingHints parse_hints(std::string_view text, const std::string& name) {
  ReadingHints hints;
  std::set<std::string> seen;  // entries with their section, each once
  std::string section;
  std::size_t number = 0;
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::bad_option,
                "'" + name + "', line " + std::to_string(number) + ": " + why +
                    "; the file has a map 'state' of 'input: output', a map 'constants' of "
                    "'input: number', an entry 'action: output' and an entry or map 'observation' of numbers of "
                    "elements, and nothing else");
  };
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (const std::size_t comment = line.find('#'); comment != std::string_view::npos) line = line.substr(0, comment);
    if (trimmed(line).empty()) continue;
    const bool is_inner = line.front() == ' ';
    line = trimmed(line);
    if (line.find('!') != std::string_view::npos) refuse("tags are not read: " + in_quotes(line));
    // A name may hold colons; the one that separates is followed by a space or the end of the line.
    std::size_t colon = line.find(": ");
    if (colon == std::string_view::npos && line.ends_with(':')) colon = line.size() - 1;
    if (colon == std::string_view::npos) refuse("no 'name: value' in " + in_quotes(line));
    const std::string key(unquoted(trimmed(line.substr(0, colon))));
    const std::string value(unquoted(trimmed(line.substr(colon + 1))));
    std::string place = is_inner ? section : std::string();
    place.append("\n").append(key);
    if (!seen.insert(place).second) refuse("the entry " + in_quotes(key) + " is there twice");
    if (!is_inner && key == "action" && !value.empty()) {
      hints.action = value;
      section = key;
      continue;
    }
    const auto elements = [&] {
      std::size_t count = 0;
      const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), count);
      if (error != std::errc() || rest != value.data() + value.size() || count == 0) {
        refuse(in_quotes(value) + " is no number of elements");
      }
      return count;
    };
    if (!is_inner && key == "observation" && !value.empty()) {
      hints.observation[""] = elements();
      section = "";
      continue;
    }
    if (!is_inner) {
      const bool is_empty = value.empty() || value == "{}";
      if ((key != "state" && key != "constants" && key != "observation") || !is_empty)
        refuse("unknown entry " + in_quotes(line));
      section = key;
      if (key == "state") hints.state.emplace();
      continue;
    }
    if (key.empty() || value.empty()) refuse("no 'name: value' in " + in_quotes(line));
    if (section == "state" && hints.state) {
      hints.state->emplace_back(key, value);
    } else if (section == "observation") {
      hints.observation[key] = elements();
    } else if (section == "constants") {
      double number_value = 0.0;
      const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), number_value);
      if (error != std::errc() || rest != value.data() + value.size()) refuse(in_quotes(value) + " is no number");
      hints.constants[key] = number_value;
    } else {
      refuse(section.empty() ? "an indented line before the first map" : "an indented line that belongs to no map");
    }
  }
  return hints;
}

ReadingHints hints_for(const std::filesystem::path& policy, const ReadingHints& given) {
  const std::filesystem::path file = policy.string() + ".yaml";
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return given;
  constexpr std::uint64_t largest_hints = 1 << 20;
  const std::vector<std::byte> bytes = read_file(file, largest_hints);
  ReadingHints hints = parse_hints(as_text(bytes), file.string());
  if (given.state) hints.state = given.state;
  if (given.action) hints.action = given.action;
  if (!given.observation.empty()) hints.observation = given.observation;
  for (const auto& [name, value] : given.constants) hints.constants[name] = value;
  return hints;
}

}  // namespace ganglion::detail
