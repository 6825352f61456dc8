#include "io/json.hpp"

#include <set>
#include <vector>

#include "ganglion/error.hpp"

namespace ganglion::detail {

namespace {

constexpr std::size_t deepest = 16;
constexpr std::size_t longest = 60;

std::string cut(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  return text;
}

/// Looks at a text before it is parsed. A callback of the parser could do the same, but with one of those nlohmann-json
/// goes through the whole parent at the end of every child: lists of objects would take time by the square.
class Strict final : public Json::json_sax_t {
 public:
  explicit Strict(const char* what) : what_(what) {}

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::bad_artifact, std::string(what_) + " " + why + "; export the policy again");
  }

  bool null() override { return look(); }
  bool boolean(bool) override { return look(); }
  bool number_integer(number_integer_t) override { return look(); }
  bool number_unsigned(number_unsigned_t) override { return look(); }
  bool number_float(number_float_t, const string_t&) override { return look(); }
  bool string(string_t&) override { return look(); }
  bool binary(binary_t&) override { return look(); }
  bool start_object(std::size_t) override { return look() && enter(); }
  bool start_array(std::size_t) override { return look() && enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) refuse("has the key " + in_quotes(name) + " twice");
    return true;
  }
  // The parser says the same again, in its own words.
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  [[nodiscard]] bool look() {
    if (keys_.size() > deepest) refuse("is nested too deeply");
    if (++values_ > most_values) refuse("has more than " + std::to_string(most_values) + " values");
    return true;
  }
  bool enter() {
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  // A value of two characters takes tens of bytes in memory.
  static constexpr std::size_t most_values = std::size_t{1} << 24;

  const char* what_;
  std::size_t values_ = 0;
  std::vector<std::set<std::string, std::less<>>> keys_;  ///< of every object and list that is open
};

}  // namespace

Json parse_json(std::string_view text, const char* what) {
  Strict strict(what);
  try {
    Json::sax_parse(text, &strict);
    return Json::parse(text);
  } catch (const Json::exception& error) {
    strict.refuse("is not valid JSON (" + cut(error.what()) + ")");
  }
}

std::string in_quotes(std::string_view name) { return "'" + cut(std::string(name)) + "'"; }

std::string text_of(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

std::string shortened(const Json& value) { return cut(value.dump(-1, ' ', false, Json::error_handler_t::replace)); }

}  // namespace ganglion::detail
