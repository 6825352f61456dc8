#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.hpp"
#include "io/program/program.hpp"

namespace ganglion::detail {

namespace {

struct LimitEntry {
  const char* name;
  std::size_t value;
  const char* what;
};

constexpr LimitEntry limits[] = {
#define GANGLION_LIMIT(id, value, what) {#id, value, what},
#include "native/vocabulary.def"
};

struct FunctionEntry {
  const char* name;
  const char* identifier;
  const char* parameters;
};

constexpr FunctionEntry unary_functions[] = {
#define GANGLION_UNARY(id, name, first, second, ...) {name, #id, #first "," #second},
#include "native/vocabulary.def"
};

constexpr FunctionEntry binary_functions[] = {
#define GANGLION_BINARY(id, name, ...) {name, #id, ""},
#include "native/vocabulary.def"
};

struct OperationEntry {
  const char* name;
  const char* attributes;
  bool plain;
};

constexpr OperationEntry operations[] = {
#define GANGLION_OPERATION(id, attributes, ...) {#id, #attributes, false},
#define GANGLION_PLAIN_OPERATION(id, attributes, ...) {#id, #attributes, true},
#include "native/vocabulary.def"
};

constexpr const char* schemes[] = {
#define GANGLION_SCHEME(id, ...) #id,
#include "native/vocabulary.def"
};

constexpr const char* reduce_functions[] = {
#define GANGLION_REDUCE(id) #id,
#include "native/vocabulary.def"
};

constexpr const char* rnn_activations[] = {
#define GANGLION_RNN_ACTIVATION(id) #id,
#include "native/vocabulary.def"
};

/// The names in a list like "(rows, columns)".
Json names_in(std::string_view list) {
  Json names = Json::array();
  std::string name;
  for (const char c : list) {
    if (c != ',' && c != '(' && c != ')' && c != ' ') {
      name += c;
    } else if (!name.empty()) {
      names.push_back(std::exchange(name, {}));
    }
  }
  if (!name.empty()) names.push_back(name);
  return names;
}

template <class Entries>
Json functions(const Entries& entries) {
  Json list = Json::array();
  for (const FunctionEntry& one : entries) {
    list.push_back(Json{{"name", one.name}, {"identifier", one.identifier}, {"parameters", names_in(one.parameters)}});
  }
  return list;
}

Json all(std::span<const char* const> words) { return std::vector<const char*>(words.begin(), words.end()); }

}  // namespace

std::string vocabulary_json() {
  Json words{{"schemes", all(schemes)},
             {"unary", functions(unary_functions)},
             {"binary", functions(binary_functions)},
             {"reduce", all(reduce_functions)},
             {"rnn_activations", all(rnn_activations)}};
  for (const LimitEntry& one : limits) words["limits"][one.name] = Json{{"value", one.value}, {"what", one.what}};
  for (const OperationEntry& one : operations) {
    words["operations"].push_back(
        Json{{"name", one.name}, {"attributes", names_in(one.attributes)}, {"plain", one.plain}});
  }
  return words.dump();
}

}  // namespace ganglion::detail
