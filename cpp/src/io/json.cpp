#include "io/json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

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

[[noreturn]] void mismatch(const char* wanted) { throw Json::Mismatch(text_of({wanted, " is needed"})); }

bool is_before(const Json::Member& member, std::string_view name) { return member.name < name; }

/// How many bytes at the beginning are one character of UTF-8 (Unicode 15, table 3-7); 0: none.
std::size_t character_at(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool is_good = (first != 0xE0 || byte(1) >= 0xA0) && (first != 0xED || byte(1) < 0xA0);
    return is_good && follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool is_good = (first != 0xF0 || byte(1) >= 0x90) && (first != 0xF4 || byte(1) < 0x90);
    return is_good && follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

void dump_text(std::string_view value, std::string& text) {
  constexpr std::string_view hex = "0123456789abcdef";
  text += '"';
  while (!value.empty()) {
    const std::size_t count = character_at(value);
    const char c = value.front();
    if (count == 0) {
      text += "\xEF\xBF\xBD";
    } else if (c == '"' || c == '\\') {
      (text += '\\') += c;
    } else if (c == '\n') {
      text += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      ((text += "\\u00") += hex[static_cast<unsigned char>(c) / 16U]) += hex[static_cast<unsigned char>(c) % 16U];
    } else {
      text += value.substr(0, count);
    }
    value.remove_prefix(std::max<std::size_t>(count, 1));
  }
  text += '"';
}

template <class Number>
void dump_number(Number number, std::string& text) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  text.append(digits.data(), end);
}

}  // namespace

Json::Json(Array items) : value_(std::make_unique<Array>(std::move(items))) {}

Json::Json(Object members) : value_(std::make_unique<Object>(std::move(members))) {}

Json::Json(std::initializer_list<std::pair<const char*, Json>> members) : Json(Object()) {
  for (const auto& [name, value] : members) (*this)[name] = value;
}

// NOLINTBEGIN(misc-no-recursion): no deeper than what was parsed, whose nesting is bounded
Json::Json(const Json& other) {
  if (other.is_string()) {
    value_ = std::make_unique<std::string>(other.get_text());
  } else if (other.is_array()) {
    auto copy = std::make_unique<Array>();
    for (const Json& item : other.items()) copy->push_back(Json(item));
    value_ = std::move(copy);
  } else if (other.is_object()) {
    auto copy = std::make_unique<Object>();
    for (const auto& [name, value] : other.members()) copy->push_back({name, Json(value)});
    value_ = std::move(copy);
  } else if (other.is_boolean()) {
    value_ = other.get_bool();
  } else if (const auto* real = std::get_if<double>(&other.value_)) {
    value_ = *real;
  } else if (const auto* natural = std::get_if<std::uint64_t>(&other.value_)) {
    value_ = *natural;
  } else if (const auto* whole = std::get_if<std::int64_t>(&other.value_)) {
    value_ = *whole;
  }
}
// NOLINTEND(misc-no-recursion)

Json& Json::operator=(const Json& other) {
  if (this != &other) *this = Json(other);
  return *this;
}

const Json::Array& Json::items() const {
  const auto* const found = std::get_if<Items>(&value_);
  if (found == nullptr) mismatch("a list");
  return **found;
}

const Json::Object& Json::members() const {
  const auto* const found = std::get_if<Members>(&value_);
  if (found == nullptr) mismatch("an object");
  return **found;
}

std::size_t Json::size() const noexcept {
  if (const auto* const found = std::get_if<Members>(&value_)) return (*found)->size();
  const auto* const found = std::get_if<Items>(&value_);
  return found == nullptr ? 0 : (*found)->size();
}

const Json* Json::find(std::string_view name) const noexcept {
  const auto* const found = std::get_if<Members>(&value_);
  if (found == nullptr) return nullptr;
  const Object& all = **found;
  const auto member = std::lower_bound(all.begin(), all.end(), name, is_before);
  return member != all.end() && member->name == name ? &member->value : nullptr;
}

const Json& Json::at(std::string_view name) const {
  const Json* const found = find(name);
  if (found == nullptr) throw Mismatch(text_of({in_quotes(name), " is missing"}));
  return *found;
}

bool Json::get_bool() const {
  const auto* const found = std::get_if<bool>(&value_);
  if (found == nullptr) mismatch("true or false");
  return *found;
}

double Json::get_number() const {
  if (const auto* const natural = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*natural);
  if (const auto* const whole = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*whole);
  const auto* const found = std::get_if<double>(&value_);
  if (found == nullptr) mismatch("a number");
  return *found;
}

std::uint64_t Json::get_unsigned() const {
  const auto* const found = std::get_if<std::uint64_t>(&value_);
  if (found == nullptr) mismatch("a whole number of at least 0");
  return *found;
}

const std::string& Json::get_text() const {
  const auto* const found = std::get_if<Text>(&value_);
  if (found == nullptr) mismatch("a string");
  return **found;
}

std::map<std::string, std::string> Json::get_texts() const {
  std::map<std::string, std::string> texts;
  for (const auto& [name, value] : members()) texts.emplace(name, value.get_text());
  return texts;
}

void Json::push_back(Json item) {
  if (is_null()) *this = array();
  static_cast<void>(items());
  std::get<Items>(value_)->push_back(std::move(item));
}

Json& Json::operator[](std::string_view name) {
  if (is_null()) *this = Json(Object());
  static_cast<void>(members());
  Object& all = *std::get<Members>(value_);
  auto member = std::lower_bound(all.begin(), all.end(), name, is_before);
  if (member == all.end() || member->name != name) member = all.insert(member, {std::string(name), Json()});
  return member->value;
}

// NOLINTNEXTLINE(misc-no-recursion): as above
void Json::dump_to(std::string& text) const {
  if (is_object()) {
    char before = '{';
    for (const auto& [name, value] : members()) {
      text += std::exchange(before, ',');
      dump_text(name, text);
      text += ':';
      value.dump_to(text);
    }
    text += before == '{' ? "{}" : "}";
  } else if (is_array()) {
    char before = '[';
    for (const Json& item : items()) {
      text += std::exchange(before, ',');
      item.dump_to(text);
    }
    text += before == '[' ? "[]" : "]";
  } else if (is_string()) {
    dump_text(get_text(), text);
  } else if (is_boolean()) {
    text += get_bool() ? "true" : "false";
  } else if (const auto* natural = std::get_if<std::uint64_t>(&value_)) {
    dump_number(*natural, text);
  } else if (const auto* whole = std::get_if<std::int64_t>(&value_)) {
    dump_number(*whole, text);
  } else if (const auto* real = std::get_if<double>(&value_); real != nullptr && std::isfinite(*real)) {
    const std::size_t begin = text.size();
    dump_number(*real, text);
    // What was no integer is to be none for whoever reads it.
    if (text.find_first_of(".e", begin) == std::string::npos) text += ".0";
  } else {
    text += "null";
  }
}

std::string Json::dump() const {
  std::string text;
  dump_to(text);
  return text;
}

/// Puts a value together while its text is read.
class JsonBuilder final : public nlohmann::json::json_sax_t {
 public:
  explicit JsonBuilder(const char* what) : what_(what) {}

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::bad_artifact, text_of({what_, " ", why, "; export the policy again"}));
  }

  [[nodiscard]] Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::string_view(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return enter(Json(Json::Object())); }
  bool start_array(std::size_t) override { return enter(Json(Json::Array())); }
  bool end_object() override {
    Json::Object& all = *std::get<Json::Members>(open_.back()->value_);
    const auto by_name = [](const Json::Member& a, const Json::Member& b) { return a.name < b.name; };
    std::sort(all.begin(), all.end(), by_name);
    const auto same_name = [](const Json::Member& a, const Json::Member& b) { return a.name == b.name; };
    const auto twice = std::adjacent_find(all.begin(), all.end(), same_name);
    if (twice != all.end()) refuse("has the key " + in_quotes(twice->name) + " twice");
    open_.pop_back();
    return true;
  }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    std::get<Json::Members>(open_.back()->value_)->push_back({name, Json()});
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) override {
    refuse("is not valid JSON (" + cut(error.what()) + ")");
  }

 private:
  /// Where the next value belongs: behind the key that was read last, at the end of a list, or at the top.
  Json& place() {
    if (open_.empty()) return root_;
    if (auto* const members = std::get_if<Json::Members>(&open_.back()->value_)) return (*members)->back().value;
    return std::get<Json::Items>(open_.back()->value_)->emplace_back();
  }
  Json& put(Json value) {
    if (open_.size() > deepest) refuse("is nested too deeply");
    if (++values_ > most_values) refuse("has more than " + std::to_string(most_values) + " values");
    Json& here = place();
    here = std::move(value);
    return here;
  }
  bool add(Json value) {
    put(std::move(value));
    return true;
  }
  bool enter(Json value) {
    open_.push_back(&put(std::move(value)));
    return true;
  }

  // A value of two characters takes tens of bytes in memory.
  static constexpr std::size_t most_values = std::size_t{1} << 24;

  const char* what_;
  std::size_t values_ = 0;
  Json root_;
  std::vector<Json*> open_;  ///< every object and list that has begun; their parents do not grow meanwhile
};

Json parse_json(std::string_view text, const char* what) {
  JsonBuilder builder(what);
  // Not nlohmann::json::sax_parse, which brings the readers of five binary formats with it: 40 KB.
  auto input = nlohmann::detail::input_adapter(text.begin(), text.end());
  // NOLINTNEXTLINE(performance-move-const-arg): it takes nothing but an rvalue
  nlohmann::detail::parser<nlohmann::json, decltype(input)> parser(std::move(input));
  static_cast<void>(parser.sax_parse(&builder));
  return builder.take();
}

std::string in_quotes(std::string_view name) { return "'" + cut(std::string(name)) + "'"; }

std::string text_of(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

std::string shortened(const Json& value) { return cut(value.dump()); }

}  // namespace ganglion::detail
