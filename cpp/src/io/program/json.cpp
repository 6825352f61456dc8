// The program JSON of a .ganglion file, read strictly: every key is known, every number in range, every name there.

#include "io/json.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "ganglion/error.hpp"
#include "io/ganglion_file.hpp"

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

constexpr std::uint64_t newest_format = 1;
constexpr std::uint64_t largest_size = std::uint64_t{1} << 24;
constexpr std::size_t most_items = std::size_t{1} << 16;

template <class Enumerator>
using Names = std::initializer_list<std::pair<const char*, Enumerator>>;

constexpr Names<OpKind> op_names{{"affine", OpKind::affine},   {"lstm", OpKind::lstm},
                                 {"gru", OpKind::gru},         {"rnn", OpKind::rnn},
                                 {"unary", OpKind::unary},     {"binary", OpKind::binary},
                                 {"where", OpKind::where},     {"reduce", OpKind::reduce},
                                 {"softmax", OpKind::softmax}, {"log_softmax", OpKind::log_softmax},
                                 {"argmax", OpKind::argmax},   {"layer_norm", OpKind::layer_norm},
                                 {"conv1d", OpKind::conv1d},   {"matmul", OpKind::matmul},
                                 {"gather", OpKind::gather},   {"lookup", OpKind::lookup}};

constexpr Names<Unary> unary_names{{"relu", Unary::relu},
                                   {"leaky_relu", Unary::leaky_relu},
                                   {"elu", Unary::elu},
                                   {"celu", Unary::celu},
                                   {"selu", Unary::selu},
                                   {"gelu", Unary::gelu},
                                   {"gelu_tanh", Unary::gelu_tanh},
                                   {"silu", Unary::silu},
                                   {"softplus", Unary::softplus},
                                   {"mish", Unary::mish},
                                   {"tanh", Unary::tanh},
                                   {"sigmoid", Unary::sigmoid},
                                   {"hard_sigmoid", Unary::hard_sigmoid},
                                   {"hard_swish", Unary::hard_swish},
                                   {"softsign", Unary::softsign},
                                   {"exp", Unary::exp},
                                   {"log", Unary::log},
                                   {"sqrt", Unary::sqrt},
                                   {"rsqrt", Unary::rsqrt},
                                   {"reciprocal", Unary::reciprocal},
                                   {"neg", Unary::neg},
                                   {"abs", Unary::abs},
                                   {"sign", Unary::sign},
                                   {"floor", Unary::floor},
                                   {"ceil", Unary::ceil},
                                   {"round", Unary::round},
                                   {"sin", Unary::sin},
                                   {"cos", Unary::cos},
                                   {"atan", Unary::atan},
                                   {"erf", Unary::erf},
                                   {"not", Unary::logical_not},
                                   {"clip", Unary::clip}};

constexpr Names<Binary> binary_names{{"add", Binary::add},
                                     {"sub", Binary::sub},
                                     {"mul", Binary::mul},
                                     {"div", Binary::div},
                                     {"pow", Binary::pow},
                                     {"min", Binary::min},
                                     {"max", Binary::max},
                                     {"less", Binary::less},
                                     {"less_equal", Binary::less_equal},
                                     {"greater", Binary::greater},
                                     {"greater_equal", Binary::greater_equal},
                                     {"equal", Binary::equal},
                                     {"and", Binary::logical_and},
                                     {"or", Binary::logical_or},
                                     {"xor", Binary::logical_xor},
                                     {"mod", Binary::mod}};

constexpr Names<Reduce> reduce_names{{"sum", Reduce::sum},
                                     {"mean", Reduce::mean},
                                     {"max", Reduce::max},
                                     {"min", Reduce::min},
                                     {"prod", Reduce::prod},
                                     {"l1", Reduce::l1},
                                     {"l2", Reduce::l2},
                                     {"sum_square", Reduce::sum_square},
                                     {"logsumexp", Reduce::logsumexp}};

/// How the weights are stored: by their dtype; the scheme adds how int8 weights meet their input.
constexpr Names<Activations> schemes{{"float32", Activations::float32},
                                     {"float16", Activations::float32},
                                     {"int8", Activations::float32},
                                     {"int8x16", Activations::int16},
                                     {"int8x8", Activations::int8}};

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorCode::bad_artifact, "program: " + where + ": " + why + "; export the policy again");
}

/// One object of the document: keys are taken one by one, and at the end none may be left.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) refuse(where_, "it is not an object");
  }

  [[nodiscard]] bool has(const char* key) const { return json_.contains(key); }
  [[nodiscard]] const std::string& where() const { return where_; }

  const Json& take(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end()) refuse(where_, std::string("key '") + key + "' is missing");
    taken_.insert(key);
    return *found;
  }

  const Json& take_list(const char* key) {
    const Json& list = take(key);
    if (!list.is_array()) refuse(where_, std::string("'") + key + "' is not a list");
    if (list.size() > most_items) refuse(where_, std::string("'") + key + "' has too many items");
    return list;
  }

  std::string take_text(const char* key) {
    const Json& text = take(key);
    if (!text.is_string()) refuse(where_, std::string("'") + key + "' is not a string");
    return text.get<std::string>();
  }

  std::size_t take_count(const char* key, std::uint64_t least = 1) {
    const Json& number = take(key);
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() < least ||
        number.get<std::uint64_t>() > largest_size) {
      refuse(where_, std::string("'") + key + "' is " + shortened(number) + "; a whole number from " +
                         std::to_string(least) + " to " + std::to_string(largest_size) + " is needed");
    }
    return number.get<std::size_t>();
  }

  float take_float(const char* key) {
    const Json& number = take(key);
    const double value = number.is_number() ? number.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(std::abs(value) <= double{std::numeric_limits<float>::max()})) {
      refuse(where_, std::string("'") + key + "' is " + shortened(number) + "; a number that float32 holds is needed");
    }
    return static_cast<float>(value);
  }

  bool take_bool(const char* key) {
    const Json& flag = take(key);
    if (!flag.is_boolean()) refuse(where_, std::string("'") + key + "' is not true or false");
    return flag.get<bool>();
  }

  template <class Enumerator>
  Enumerator take_name(const char* key, const Names<Enumerator>& names) {
    const std::string name = take_text(key);
    for (const auto& [known, enumerator] : names) {
      if (name == known) return enumerator;
    }
    refuse(where_,
           std::string("this version of ganglion knows no ") + key + " " + in_quotes(name) + "; a newer one may");
  }

  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      if (!taken_.contains(key)) refuse(where_, "key " + in_quotes(key) + " is unknown");
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
      indices_.emplace(name, static_cast<Index>(program_.tensors.size()));
      program_.tensors.push_back(tensor);
    }
    used_.resize(tensors.size(), false);
  }

  Program read() {
    check_format();
    const Activations activations = root_.take_name("scheme", schemes);
    std::size_t number = 0;
    for (const Json& item : root_.take_list("values")) read_value(item, number++);
    program_.inputs = read_indices(root_.take_list("inputs"), "inputs");
    number = 0;
    for (const Json& item : root_.take_list("state")) {
      Object pair(item, "state " + std::to_string(number++));
      const Index in = read_index(pair.take("in"), pair.where());
      program_.state.push_back({in, read_index(pair.take("out"), pair.where())});
      pair.finish();
    }
    program_.outputs = read_indices(root_.take_list("outputs"), "outputs");
    number = 0;
    for (const Json& item : root_.take_list("ops")) {
      Op op = read_op(item, "operation " + std::to_string(number++));
      op.activations = activations;
      program_.ops.push_back(std::move(op));
    }
    root_.finish();
    for (const auto& [name, index] : indices_) {
      if (!used_[index]) refuse("tensor " + in_quotes(name), "nothing uses it");
    }
    return std::move(program_);
  }

 private:
  void check_format() {
    const Json& format = root_.take("format");
    if (!format.is_number_unsigned() || format.get<std::uint64_t>() == 0) {
      refuse("the document", "its format number is not a positive whole number");
    }
    if (format.get<std::uint64_t>() > newest_format) {
      throw Error(ErrorCode::newer_format,
                  "program: format " + shortened(format) + " is newer than format " + std::to_string(newest_format) +
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

  [[nodiscard]] Index read_index(const Json& item, const std::string& where) const {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() >= program_.values.size()) {
      refuse(where,
             shortened(item) + " is not the number of a value; there are " + std::to_string(program_.values.size()));
    }
    return item.get<Index>();
  }

  [[nodiscard]] std::vector<Index> read_indices(const Json& items, const std::string& where) const {
    std::vector<Index> indices;
    for (const Json& item : items) indices.push_back(read_index(item, where));
    return indices;
  }

  Index read_tensor(const std::string& name, const std::string& where) {
    const auto found = indices_.find(name);
    if (found == indices_.end()) refuse(where, "tensor " + in_quotes(name) + " is not in the file");
    used_[found->second] = true;
    return found->second;
  }

  Op read_op(const Json& item, std::string where) {
    Object object(item, where);
    Op op;
    op.kind = object.take_name("op", op_names);
    where += " (" + item["op"].get<std::string>() + ")";
    Object named(item, where);
    named.take("op");
    op.in = read_indices(named.take_list("in"), where);
    op.out = read_indices(named.take_list("out"), where);
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
    if (op.kind == OpKind::conv1d && op.weight != native::none && program_.tensors[op.weight].shape.size() == 3) {
      op.conv.kernel = program_.tensors[op.weight].shape[2];
    }
    return op;
  }

  static void read_attributes(Object& object, Op& op) {
    switch (op.kind) {
      case OpKind::affine:
      case OpKind::rnn:
        if (op.kind == OpKind::rnn || object.has("activation")) {
          Object activation(object.take("activation"), object.where() + ", activation");
          op.function = read_function(activation, "name");
          activation.finish();
        }
        return;
      case OpKind::gru:
        op.linear_before_reset = object.take_bool("linear_before_reset");
        return;
      case OpKind::unary:
        op.function = read_function(object, "function");
        return;
      case OpKind::binary:
        op.binary = object.take_name("function", binary_names);
        return;
      case OpKind::reduce:
        op.reduce = object.take_name("function", reduce_names);
        return read_table(object, op);
      case OpKind::layer_norm:
        op.epsilon = object.take_float("epsilon");
        if (op.epsilon < 0.0F) refuse(object.where(), "epsilon is negative");
        return read_table(object, op);
      case OpKind::softmax:
      case OpKind::log_softmax:
      case OpKind::argmax:
      case OpKind::lookup:
        return read_table(object, op);
      case OpKind::matmul:
        op.inner = object.take_count("inner");
        return read_table(object, op);
      case OpKind::conv1d:
        return read_convolution(object, op.conv);
      case OpKind::lstm:
      case OpKind::where:
      case OpKind::gather:
        return;
    }
  }

  static void read_table(Object& object, Op& op) {
    op.rows = object.take_count("rows");
    op.columns = object.take_count("columns");
  }

  static native::Function read_function(Object& object, const char* key) {
    native::Function function{object.take_name(key, unary_names), 0.0F, 0.0F};
    switch (function.unary) {
      case Unary::leaky_relu:
      case Unary::elu:
      case Unary::celu:
        function.alpha = object.take_float("alpha");
        break;
      case Unary::hard_sigmoid:
        function.alpha = object.take_float("alpha");
        function.beta = object.take_float("beta");
        break;
      case Unary::clip:
        function.alpha = read_bound(object, "low", -std::numeric_limits<float>::infinity());
        function.beta = read_bound(object, "high", std::numeric_limits<float>::infinity());
        break;
      default:
        break;
    }
    return function;
  }

  static float read_bound(Object& object, const char* key, float unbounded) {
    return object.has(key) && object.take(key).is_null() ? unbounded : object.take_float(key);
  }

  static void read_convolution(Object& object, native::Conv1d& conv) {
    conv.in_channels = object.take_count("in_channels");
    conv.length = object.take_count("length");
    conv.out_channels = object.take_count("out_channels");
    conv.out_length = object.take_count("out_length");
    conv.stride = object.take_count("stride");
    conv.dilation = object.take_count("dilation");
    conv.groups = object.take_count("groups");
    conv.pad_left = object.take_count("pad_left", 0);
    conv.pad_right = object.take_count("pad_right", 0);
    const std::string padding = object.take_text("padding");
    if (padding != "zeros" && padding != "circular")
      refuse(object.where(), "padding " + in_quotes(padding) + " is unknown");
    conv.circular = padding == "circular";
  }

  Object root_;
  Program program_;
  std::map<std::string, Index> indices_;
  std::vector<bool> used_;
};

}  // namespace

native::Program read_program(const std::string& json, const std::map<std::string, native::Tensor>& tensors) {
  const Json document = parse_json(json, "program: the document");
  Program program = Reader(document, tensors).read();
  check_program(program);
  return program;
}

}  // namespace ganglion::detail
