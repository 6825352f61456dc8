#include "io/json.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include "ganglion/error.hpp"

namespace ganglion::detail {

namespace {

constexpr int deepest = 16;
constexpr std::size_t longest = 60;

std::string cut(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  return text;
}

}  // namespace

Json parse_json(std::string_view text, const char* what) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::bad_artifact, std::string(what) + " " + why + "; export the policy again");
  };
  std::vector<std::set<std::string, std::less<>>> keys;
  const Json::parser_callback_t check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > deepest) refuse("is nested too deeply");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      refuse("has the key " + in_quotes(parsed.get<std::string>()) + " twice");
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    refuse("is not valid JSON (" + cut(error.what()) + ")");
  }
  return {};
}

std::string in_quotes(std::string_view name) { return "'" + cut(std::string(name)) + "'"; }

std::string shortened(const Json& value) { return cut(value.dump(-1, ' ', false, Json::error_handler_t::replace)); }

}  // namespace ganglion::detail
