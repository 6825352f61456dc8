// The program JSON of a .ganglion file, read strictly: every key is known, every number in range, every name there.

#include "io/json.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "ganglion/error.hpp"
#include "io/program/check.hpp"
#include "io/program/program.hpp"

namespace ganglion::detail {

namespace {

using native::Activations;
using native::Binary;
using native::Index;
using native::Op;
using native::OpKind;
using native::Program;
using native::Reduce;
using native::Tensor;
using native::Unary;

template <class Enumerator>
struct Word {
  const char* name;
  Enumerator value;
};

constexpr Word<OpKind> operation_words[] = {
#define GANGLION_OPERATION(id, ...) {#id, OpKind::id},
#include "native/vocabulary.def"
};

/// A function of one element with the names of its parameters; an empty one is none.
struct UnaryWord : Word<Unary> {
  const char* parameters[2];
};

constexpr UnaryWord unary_words[] = {
#define GANGLION_UNARY(id, name, first, second, ...) {{name, Unary::id}, {#first, #second}},
#include "native/vocabulary.def"
};

constexpr Word<Binary> binary_words[] = {
#define GANGLION_BINARY(id, name, ...) {name, Binary::id},
#include "native/vocabulary.def"
};

constexpr Word<Reduce> reduce_words[] = {
#define GANGLION_REDUCE(id) {#id, Reduce::id},
#include "native/vocabulary.def"
};

constexpr Word<Activations> scheme_words[] = {
#define GANGLION_SCHEME(id, activations) {#id, Activations::activations},
#include "native/vocabulary.def"
};

constexpr Word<bool> paddings[] = {{"zeros", false}, {"circular", true}};

/// One object of the document: keys are taken one by one, and at the end none may be left.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) refuse_program(where_, "it is not an object");
  }

  [[nodiscard]] bool has(const char* key) const { return json_.contains(key); }
  [[nodiscard]] const std::string& where() const { return where_; }

  const Json& take(const char* key) {
    const Json* const found = json_.find(key);
    if (found == nullptr) refuse_program(where_, std::string("key '") + key + "' is missing");
    taken_.insert(key);
    return *found;
  }

  const Json& take_list(const char* key) {
    const Json& list = take(key);
    if (!list.is_array()) refuse_program(where_, std::string("'") + key + "' is not a list");
    if (list.size() > native::most_items) {
      refuse_program(where_, std::string("'") + key + "' has " + std::to_string(list.size()) + " items; at most " +
                                 std::to_string(native::most_items) + " are possible");
    }
    return list;
  }

  std::string take_text(const char* key) {
    const Json& text = take(key);
    if (!text.is_string()) refuse_program(where_, std::string("'") + key + "' is not a string");
    return text.get<std::string>();
  }

  std::size_t take_count(const char* key, std::uint64_t least = 1) {
    const Json& number = take(key);
    if (!number.is_number_integer()) {
      refuse_program(where_, std::string("'") + key + "' is " + shortened(number) + ", which is not an integer");
    }
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() < least ||
        number.get<std::uint64_t>() > native::largest_size) {
      refuse_program(where_, std::string("'") + key + "' is out of range: " + key + " " + shortened(number) + "; " +
                                 std::to_string(least) + " to " + std::to_string(native::largest_size) +
                                 " is possible");
    }
    return number.get<std::size_t>();
  }

  float take_float(const char* key) {
    const Json& number = take(key);
    const double value = number.is_number() ? number.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(std::abs(value) <= double{std::numeric_limits<float>::max()})) {
      refuse_program(where_, std::string("'") + key + "' is " + shortened(number) +
                                 ", which is no float32: a finite number that float32 holds is needed");
    }
    return static_cast<float>(value);
  }

  bool take_bool(const char* key) {
    const Json& flag = take(key);
    if (!flag.is_boolean()) refuse_program(where_, std::string("'") + key + "' is not true or false");
    return flag.get<bool>();
  }

  /// One of the words of a table; `what` they are is for the sentence.
  template <class Word, std::size_t count>
  const Word& take_word(const char* key, const Word (&words)[count], const char* what) {
    const std::string name = take_text(key);
    for (const Word& word : words) {
      if (name == word.name) return word;
    }
    refuse_program(where_, std::string("this version of ganglion does not know ") + what + " " + in_quotes(name) +
                               "; a newer one may");
  }

  void finish() const {
    for (const auto& [key, value] : json_.members()) {
      if (!taken_.contains(key)) refuse_program(where_, "key " + in_quotes(key) + " is unknown");
    }
  }

 private:
  const Json& json_;
  std::string where_;
  std::set<std::string> taken_;
};

class Reader {
 public:
  Reader(const Json& document, const std::map<std::string, Tensor>& tensors) : root_(document, "the document") {
    for (const auto& [name, tensor] : tensors) {
      if (tensor.bytes.empty()) refuse_program("tensor " + in_quotes(name), "it has no elements");
      indices_.emplace(name, static_cast<Index>(program_.tensors.size()));
      program_.tensors.push_back(tensor);
      names_.push_back(name);
    }
    used_.resize(tensors.size(), false);
  }

  Program read() {
    check_format();
    const Activations activations = root_.take_word("scheme", scheme_words, "scheme").value;
    std::size_t number = 0;
    for (const Json& item : root_.take_list("values")) read_value(item, number++);
    program_.inputs = read_indices(root_.take_list("inputs"), "the inputs", "it names");
    number = 0;
    for (const Json& item : root_.take_list("state")) {
      Object pair(item, "state " + std::to_string(number++));
      const Index in = read_index(pair.take("in"), pair.where(), "it names");
      program_.state.push_back({in, read_index(pair.take("out"), pair.where(), "it names")});
      pair.finish();
    }
    program_.outputs = read_indices(root_.take_list("outputs"), "the outputs", "it names");
    number = 0;
    for (const Json& item : root_.take_list("ops")) {
      Op op = read_op(item, "operation " + std::to_string(number++));
      op.activations = activations;
      program_.ops.push_back(std::move(op));
    }
    root_.finish();
    const auto unused = std::find(used_.begin(), used_.end(), false);
    if (unused == used_.end()) {
      check_program(program_, names_);
    } else {
      refuse_unused(names_[static_cast<std::size_t>(unused - used_.begin())]);
    }
    return std::move(program_);
  }

 private:
  /// Whoever names the wrong tensor leaves another one out: what does not fit is said first.
  [[noreturn]] void refuse_unused(const std::string& name) const {
    const std::string why = in_quotes(name) + " is not used: nothing uses it";
    try {
      check_program(program_, names_);
    } catch (const Error& error) {
      throw Error(error.code(), std::string(error.what()) + "; tensor " + why);
    }
    refuse_program("the tensors", why);
  }

  void check_format() {
    const Json format = root_.has("format") ? root_.take("format") : Json();
    if (!format.is_number_unsigned() || format.get<std::uint64_t>() == 0) {
      refuse_program("the document", "its format number is " + shortened(format) + "; a positive integer is needed");
    }
    if (format.get<std::uint64_t>() > native::newest_format) {
      throw Error(ErrorCode::newer_format,
                  "program: format " + shortened(format) + " is newer than format " +
                      std::to_string(native::newest_format) +
                      ", the newest this version of ganglion reads; install a newer ganglion, or compile the policy "
                      "again with this one");
    }
  }

  void read_value(const Json& item, std::size_t number) {
    Object object(item, "value " + std::to_string(number));
    native::Value value;
    value.size = object.take_count("size");
    if (object.has("constant")) value.constant = read_tensor(object.take_text("constant"), object.where());
    object.finish();
    program_.values.push_back(value);
  }

  [[nodiscard]] Index read_index(const Json& item, const std::string& where, const char* verb) const {
    if (!item.is_number_integer()) refuse_program(where, shortened(item) + " is not an integer");
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() >= program_.values.size()) {
      refuse_program(where, std::string(verb) + " value " + shortened(item) +
                                ", which is not the number of a value; there are " +
                                std::to_string(program_.values.size()));
    }
    return item.get<Index>();
  }

  [[nodiscard]] std::vector<Index> read_indices(const Json& items, const std::string& where, const char* verb) const {
    std::vector<Index> indices;
    for (const Json& item : items) indices.push_back(read_index(item, where, verb));
    return indices;
  }

  Index read_tensor(const std::string& name, const std::string& where) {
    const auto found = indices_.find(name);
    if (found == indices_.end()) {
      refuse_program(where,
                     "it names tensor " + in_quotes(name) + ", which is not there: not in the file, or not given");
    }
    used_[found->second] = true;
    return found->second;
  }

  Op read_op(const Json& item, std::string where) {
    Object object(item, where);
    Op op;
    op.kind = object.take_word("op", operation_words, "operation").value;
    where += std::string(" (") + name_of(op.kind) + ")";
    Object named(item, where);
    named.take("op");
    op.in = read_indices(named.take_list("in"), where, "it reads");
    op.out = read_indices(named.take_list("out"), where, "it writes");
    Object tensors(named.take("tensors"), where + ", tensors");
    for (const auto& [role, index] :
         std::initializer_list<std::pair<const char*, Index*>>{{"weight", &op.weight},
                                                               {"bias", &op.bias},
                                                               {"scale", &op.scale},
                                                               {"recurrent_bias", &op.recurrent_bias},
                                                               {"index", &op.index}}) {
      if (tensors.has(role)) *index = read_tensor(tensors.take_text(role), where);
    }
    tensors.finish();
    read_attributes(named, op);
    named.finish();
    if (op.weight != native::none) read_kernel(op, program_.tensors[op.weight].shape);
    return op;
  }

  /// The last axes of the weight of a convolution; the check refuses one with too few of them.
  static void read_kernel(Op& op, const std::vector<std::size_t>& shape) {
    if (op.kind == OpKind::conv1d && shape.size() == 3) op.conv.kernel_width = shape[2];
    if (op.kind != OpKind::conv2d || shape.size() != 4) return;
    op.conv.kernel_height = shape[2];
    op.conv.kernel_width = shape[3];
  }

  /// The words of the second column of GANGLION_OPERATION: each reads an attribute.
  static void read_attributes(Object& object, Op& op) {
    const auto count = [&](const char* key, std::size_t& field, std::uint64_t least = 1) {
      return [&object, &field, key, least] { field = object.take_count(key, least); };
    };
    const auto rows = count("rows", op.rows);
    const auto columns = count("columns", op.columns);
    const auto inner = count("inner", op.inner);
    const auto epsilon = [&] {
      op.epsilon = object.take_float("epsilon");
      if (op.epsilon < 0.0F)
        refuse_program(object.where(), "epsilon is negative; a finite number of at least 0 is needed");
    };
    const auto linear_before_reset = [&] { op.linear_before_reset = object.take_bool("linear_before_reset"); };
    const auto activation = [&] {
      Object function(object.take("activation"), object.where() + ", activation");
      op.function = read_function(function, "name");
      function.finish();
    };
    const auto optional_activation = [&] {
      if (object.has("activation")) activation();
    };
    const auto unary_function = [&] { op.function = read_function(object, "function"); };
    const auto binary_function = [&] { op.binary = object.take_word("function", binary_words, "function").value; };
    const auto reduce_function = [&] { op.reduce = object.take_word("function", reduce_words, "function").value; };
    const auto in_channels = count("in_channels", op.conv.in_channels);
    const auto out_channels = count("out_channels", op.conv.out_channels);
    const auto groups = count("groups", op.conv.groups);
    const auto length = count("length", op.conv.width);
    const auto out_length = count("out_length", op.conv.out_width);
    const auto stride = count("stride", op.conv.stride_width);
    const auto dilation = count("dilation", op.conv.dilation_width);
    const auto height = count("height", op.conv.height);
    const auto width = count("width", op.conv.width);
    const auto out_height = count("out_height", op.conv.out_height);
    const auto out_width = count("out_width", op.conv.out_width);
    const auto stride_height = count("stride_height", op.conv.stride_height);
    const auto stride_width = count("stride_width", op.conv.stride_width);
    const auto dilation_height = count("dilation_height", op.conv.dilation_height);
    const auto dilation_width = count("dilation_width", op.conv.dilation_width);
    const auto pad_top = count("pad_top", op.conv.pad_top, 0);
    const auto pad_bottom = count("pad_bottom", op.conv.pad_bottom, 0);
    const auto pad_left = count("pad_left", op.conv.pad_left, 0);
    const auto pad_right = count("pad_right", op.conv.pad_right, 0);
    const auto padding = [&] { op.conv.circular = object.take_word("padding", paddings, "padding").value; };
    const auto read = [](const auto&... attributes) { (attributes(), ...); };
#define GANGLION_OPERATION(id, attributes, ...) \
  if (op.kind == OpKind::id) return read attributes;
#include "native/vocabulary.def"
  }

  static native::Function read_function(Object& object, const char* key) {
    const UnaryWord& word = object.take_word(key, unary_words, "function");
    native::Function function{word.value, 0.0F, 0.0F};
    const auto read = [&](const std::string& parameter, float& to) {
      if (parameter.empty()) return;
      if (!object.has(parameter.c_str())) {
        refuse_program(object.where(), std::string(word.name) + " has parameters, and '" + parameter + "' is missing");
      }
      const bool may_be_null = parameter == "low" || parameter == "high";
      if (may_be_null && object.take(parameter.c_str()).is_null()) {
        to = parameter == "low" ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity();
      } else {
        to = object.take_float(parameter.c_str());
      }
    };
    read(word.parameters[0], function.alpha);
    read(word.parameters[1], function.beta);
    return function;
  }

  Object root_;
  Program program_;
  std::vector<std::string> names_;
  std::map<std::string, Index> indices_;
  std::vector<bool> used_;
};

}  // namespace

native::Program read_program(const std::string& json, const std::map<std::string, native::Tensor>& tensors) {
  return Reader(parse_json(json, "program: the document"), tensors).read();
}

void check_program(const std::string& json, const std::map<std::string, ForeignTensor>& tensors) {
  const std::map<std::string_view, native::Dtype> dtypes{{"float32", native::Dtype::f32},
                                                         {"float16", native::Dtype::f16},
                                                         {"int8", native::Dtype::i8},
                                                         {"int32", native::Dtype::i32}};
  std::map<std::string, Tensor> known;
  for (const auto& [name, tensor] : tensors) {
    const auto dtype = dtypes.find(tensor.dtype);
    if (dtype == dtypes.end()) {
      refuse_program("tensor " + in_quotes(name),
                     "it is " + tensor.dtype + "; float32, float16, int8 and int32 are possible");
    }
    known.emplace(name, Tensor{dtype->second, tensor.shape, tensor.bytes});
  }
  static_cast<void>(read_program(json, known));
}

}  // namespace ganglion::detail
