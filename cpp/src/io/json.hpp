#pragma once

// JSON of unknown honesty.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace ganglion::detail {

/// A JSON value. A type of our own, because that of nlohmann-json, whose parser we use, allocates in its destructor and
/// in comparisons that it calls noexcept: where memory is short, the program would end there.
class Json {
 public:
  struct Member;
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;  ///< in ascending order of the names

  /// A field that is missing or of another kind; what() says which.
  class Mismatch : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
  };

  // NOLINTBEGIN(*-explicit-constructor): a value is made of what it holds
  Json() noexcept = default;
  Json(std::nullptr_t) noexcept {}
  // Not of what merely converts: a pointer does.
  template <std::same_as<bool> Bool>
  Json(Bool value) noexcept : value_(value) {}
  Json(double value) noexcept : value_(value) {}
  template <std::signed_integral Integer>
  Json(Integer value) noexcept : value_(static_cast<std::int64_t>(value)) {}
  template <std::unsigned_integral Integer>
    requires(!std::same_as<Integer, bool>)
  Json(Integer value) noexcept : value_(static_cast<std::uint64_t>(value)) {}
  Json(std::string_view text) : value_(std::make_unique<std::string>(text)) {}
  Json(const std::string& text) : Json(std::string_view(text)) {}
  Json(const char* text) : Json(std::string_view(text)) {}
  explicit Json(Array items);
  template <class Item>
  Json(const std::vector<Item>& items) : Json(Array(items.begin(), items.end())) {}
  template <class Value>
  Json(const std::map<std::string, Value>& entries);
  explicit Json(Object members);
  Json(std::initializer_list<std::pair<const char*, Json>> members);
  // NOLINTEND(*-explicit-constructor)
  Json(const Json& other);
  Json(Json&& other) noexcept = default;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept = default;
  ~Json() = default;

  [[nodiscard]] static Json array() { return Json(Array()); }

  [[nodiscard]] bool is_null() const noexcept { return holds<std::monostate>(); }
  [[nodiscard]] bool is_boolean() const noexcept { return holds<bool>(); }
  [[nodiscard]] bool is_string() const noexcept { return holds<Text>(); }
  [[nodiscard]] bool is_array() const noexcept { return holds<Items>(); }
  [[nodiscard]] bool is_object() const noexcept { return holds<Members>(); }
  [[nodiscard]] bool is_number_unsigned() const noexcept { return holds<std::uint64_t>(); }
  [[nodiscard]] bool is_number_integer() const noexcept { return is_number_unsigned() || holds<std::int64_t>(); }
  [[nodiscard]] bool is_number() const noexcept { return is_number_integer() || holds<double>(); }

  /// The value as something else; throws `Mismatch` where it is of another kind.
  template <class As>
  [[nodiscard]] As get() const {
    if constexpr (std::is_same_v<As, bool>) {
      return get_bool();
    } else if constexpr (std::is_same_v<As, double>) {
      return get_number();
    } else if constexpr (std::is_unsigned_v<As>) {
      return static_cast<As>(get_unsigned());
    } else if constexpr (std::is_same_v<As, std::string>) {
      return get_text();
    } else if constexpr (std::is_same_v<As, std::map<std::string, std::string>>) {
      return get_texts();
    } else {
      As all;
      for (const Json& item : items()) all.push_back(item.get<typename As::value_type>());
      return all;
    }
  }

  /// The elements of a list; throws `Mismatch` where it is none.
  [[nodiscard]] const Array& items() const;
  /// The members of an object; throws `Mismatch` where it is none.
  [[nodiscard]] const Object& members() const;
  [[nodiscard]] Array::const_iterator begin() const { return items().begin(); }
  [[nodiscard]] Array::const_iterator end() const { return items().end(); }
  [[nodiscard]] std::size_t size() const noexcept;  ///< of a list or an object

  /// The member of that name; null where there is none, or where this is no object.
  [[nodiscard]] const Json* find(std::string_view name) const noexcept;
  [[nodiscard]] bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }
  /// The same; throws `Mismatch` in place of null.
  [[nodiscard]] const Json& at(std::string_view name) const;
  [[nodiscard]] bool is_text(std::string_view text) const noexcept { return is_string() && get_text() == text; }

  /// Into a list, or a null that becomes one.
  void push_back(Json item);
  /// The member of an object, or of a null that becomes one; a new one is null.
  Json& operator[](std::string_view name);

  /// As text; what is not UTF-8 becomes U+FFFD.
  [[nodiscard]] std::string dump() const;

 private:
  friend class JsonBuilder;
  using Text = std::unique_ptr<std::string>;
  using Items = std::unique_ptr<Array>;
  using Members = std::unique_ptr<Object>;

  template <class Kind>
  [[nodiscard]] bool holds() const noexcept {
    return std::holds_alternative<Kind>(value_);
  }
  [[nodiscard]] bool get_bool() const;
  [[nodiscard]] double get_number() const;
  [[nodiscard]] std::uint64_t get_unsigned() const;
  [[nodiscard]] const std::string& get_text() const;
  [[nodiscard]] std::map<std::string, std::string> get_texts() const;
  void dump_to(std::string& text) const;

  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, Text, Items, Members> value_;
};

struct Json::Member {
  std::string name;
  Json value;
};

template <class Value>
Json::Json(const std::map<std::string, Value>& entries) : Json(Object()) {
  for (const auto& [name, value] : entries) std::get<Members>(value_)->push_back({name, value});
}

/// Parses strictly: a key that stands twice in one object, or too deep a nesting, is refused. `what` names the text in
/// the sentence of the `Error` (bad_artifact).
[[nodiscard]] Json parse_json(std::string_view text, const char* what);

/// A name from a file for use in a sentence: quoted, control characters replaced, cut where it is long.
[[nodiscard]] std::string in_quotes(std::string_view name);
/// The parts behind each other; a sum of strings makes the same in ten times the code.
[[nodiscard]] std::string text_of(std::initializer_list<std::string_view> parts);
/// A value as JSON, cut where it is long.
[[nodiscard]] std::string shortened(const Json& value);

}  // namespace ganglion::detail
