// Whether a program's operations fit their operands, and its values are written once and before they are read. What
// passes here can be run without any further check.

#include "io/program/check.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ganglion/error.hpp"
#include "io/json.hpp"
#include "io/program/program.hpp"

namespace ganglion::detail {

namespace {

using native::Dtype;
using native::Index;
using native::none;
using native::Op;
using native::OpKind;
using native::Program;
using native::Tensor;
using native::Unary;

[[nodiscard]] const char* type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return "float32";
    case Dtype::f16:
      return "float16";
    case Dtype::i8:
      return "int8";
    case Dtype::i32:
      return "int32";
  }
  return "";
}

std::string text(const std::vector<std::size_t>& shape) {
  std::string result = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) result += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return result + "]";
}

std::string type_and_shape(const Tensor& tensor) {
  return std::string(type_of(tensor.dtype)) + " " + text(tensor.shape);
}

template <class T>
T element(const Tensor& tensor, std::size_t i) {
  T value;
  std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
  return value;
}

bool has_nan(const Tensor& tensor) {
  for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(float); ++i) {
    if (std::isnan(element<float>(tensor, i))) return true;
  }
  return false;
}

bool all_finite(const Tensor& tensor) {
  if (tensor.dtype == Dtype::f32) {
    for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(float); ++i) {
      if (!std::isfinite(element<float>(tensor, i))) return false;
    }
  }
  if (tensor.dtype == Dtype::f16) {
    for (std::size_t i = 0; i < tensor.bytes.size() / 2; ++i) {
      if ((element<std::uint16_t>(tensor, i) & 0x7C00U) == 0x7C00U) return false;
    }
  }
  return true;
}

/// How many elements an input or an output must have.
struct Wanted {
  std::size_t size = 0;
  bool or_one = false;  ///< or one, for all of them
  bool any = false;     ///< one input or more, of any size
};

/// The sizes of all inputs or outputs.
struct Sizes {
  template <class... Size>
  explicit Sizes(Size... sizes) : all{wanted(sizes)...} {}

  static Wanted wanted(Wanted size) { return size; }
  static Wanted wanted(std::integral auto size) { return {static_cast<std::size_t>(size)}; }

  std::vector<Wanted> all;
};

/// A tensor that an operation may have.
struct Role {
  const char* name;
  Index index;
  std::vector<std::size_t> shape;
  bool is_needed = false;
  bool is_matrix = false;  ///< any type for weights, and a scale where it is int8
};

/// One operation with everything that its check needs.
class OpCheck {
 public:
  OpCheck(const Program& program, const Op& op, std::string where)
      : program_(program), op_(op), where_(std::move(where)) {}

  void run() const {
    const bool is_convolution = op_.kind == OpKind::conv1d || op_.kind == OpKind::conv2d;
    if (is_convolution) before_the_table();
    by_the_table();
    if (op_.kind == OpKind::rnn) rnn();
    if (is_convolution) convolution();
    if (op_.kind == OpKind::gather) gather();
  }

 private:
  // The words of the last columns of GANGLION_OPERATION.
  void by_the_table() const {
    const auto size = [&](const std::vector<Index>& values, std::size_t i) {
      return i < values.size() ? program_.values[values[i]].size : 0;
    };
    const std::size_t x = size(op_.in, 0);
    const std::size_t h = size(op_.in, 1);
    const std::size_t y = size(op_.out, 0);
    const auto [rows, columns, inner] = std::array{op_.rows, op_.columns, op_.inner};
    const auto& [in_channels, height, width, out_channels, out_height, out_width, kernel_height, kernel_width,
                 stride_height, stride_width, dilation_height, dilation_width, groups, top, bottom, left, right,
                 round] = op_.conv;
    const auto [length, out_length] = std::array{width, out_width};
    const Wanted any{0, false, true};
    const auto or_one = [](std::size_t n) { return Wanted{n, true, false}; };
    const auto role = [](const char* name, Index index, auto... shape) { return Role{name, index, {shape...}}; };
    const auto weight = [&](auto... shape) { return role("weight", op_.weight, shape...); };
    const auto bias = [&](auto... shape) { return role("bias", op_.bias, shape...); };
    const auto recurrent_bias = [&](auto... shape) { return role("recurrent_bias", op_.recurrent_bias, shape...); };
    const auto index = [&](auto... shape) { return role("index", op_.index, shape...); };
    const auto matrix = [&](std::size_t outputs, std::size_t inputs) {
      return Role{"weight", op_.weight, {outputs, inputs}, true, true};
    };
    const auto needed = [](Role given) {
      given.is_needed = true;
      return given;
    };
#define GANGLION_OPERATION(id, attributes, inputs, outputs, ...) \
  if (op_.kind == OpKind::id) return fit(Sizes inputs, Sizes outputs, {__VA_ARGS__});
#include "native/vocabulary.def"
  }

  void fit(const Sizes& inputs, const Sizes& outputs, const std::vector<Role>& roles) const {
    const bool any = inputs.all[0].any;
    if (any && op_.in.empty()) refuse_program(where_, "it has no inputs");
    const std::size_t wanted = any ? op_.in.size() : inputs.all.size();
    if (op_.in.size() != wanted || op_.out.size() != outputs.all.size()) {
      refuse_program(where_, "it has " + std::to_string(op_.in.size()) + " inputs and " +
                                 std::to_string(op_.out.size()) + " outputs; " + std::to_string(wanted) + " and " +
                                 std::to_string(outputs.all.size()) + " are needed");
    }
    for (std::size_t i = 0; i < inputs.all.size(); ++i) fit("an input", op_.in[i], inputs.all[i]);
    for (std::size_t i = 0; i < outputs.all.size(); ++i) fit("an output", op_.out[i], outputs.all[i]);
    no_other_tensors(roles);
    for (const Role& role : roles) {
      tensor(role);
      if (!role.is_matrix) continue;
      matrix();
      tensor({"scale", op_.scale, {role.shape[0]}});
    }
  }

  void fit(const char* what, Index value, const Wanted& wanted) const {
    const std::size_t found = program_.values[value].size;
    if (wanted.any || found == wanted.size || (wanted.or_one && found == 1)) return;
    refuse_program(where_, std::string(what) + " has " + std::to_string(found) + " elements; " +
                               (wanted.or_one ? "1 or " + std::to_string(wanted.size) + " are possible"
                                              : std::to_string(wanted.size) + " fit"));
  }

  void no_other_tensors(const std::vector<Role>& known) const {
    const bool has_scale = std::any_of(known.begin(), known.end(), [](const Role& role) { return role.is_matrix; });
    for (const auto& [name, index] : {std::pair{"weight", op_.weight},
                                      {"bias", op_.bias},
                                      {"scale", has_scale ? none : op_.scale},
                                      {"recurrent_bias", op_.recurrent_bias},
                                      {"index", op_.index}}) {
      const auto is_it = [name = std::string_view(name)](const Role& role) { return role.name == name; };
      if (index != none && std::none_of(known.begin(), known.end(), is_it)) {
        refuse_program(where_, std::string("tensor '") + name + "' is unknown: this operation has none");
      }
    }
  }

  void tensor(const Role& role) const {
    if (role.index == none) {
      if (role.is_needed) refuse_program(where_, std::string("tensor '") + role.name + "' is missing");
      return;
    }
    const Tensor& found = program_.tensors[role.index];
    const bool is_index = std::string_view(role.name) == "index";
    const Dtype plain = is_index ? Dtype::i32 : Dtype::f32;
    const bool is_of_type = role.is_matrix ? found.dtype != Dtype::i32 : found.dtype == plain;
    if (!is_of_type || found.shape != role.shape) {
      const std::string is = std::string("tensor '") + role.name + "' is " + type_and_shape(found);
      if (is_index) refuse_program(where_, is + ", not int32 " + text(role.shape));
      refuse_program(where_, is + "; " + (role.is_matrix ? "float32, float16 or int8 " : "float32 ") +
                                 text(role.shape) + " is needed");
    }
    if (!all_finite(found)) {
      refuse_program(where_,
                     std::string("tensor '") + role.name + "' has an element that is not finite (NaN or infinite)");
    }
  }

  void matrix() const {
    const Tensor& found = program_.tensors[op_.weight];
    if ((found.dtype == Dtype::i8) != (op_.scale != none)) {
      refuse_program(where_, "an int8 weight, and only that, needs a tensor 'scale'");
    }
    if (found.dtype == Dtype::i8 &&
        std::find(found.bytes.begin(), found.bytes.end(), std::byte{0x80}) != found.bytes.end()) {
      refuse_program(where_, "tensor 'weight' has the integer -128; -127 to 127 are possible");
    }
  }

  void rnn() const {
    const std::initializer_list<std::pair<Unary, std::string_view>> possible{
#define GANGLION_RNN_ACTIVATION(id) {Unary::id, #id},
#include "native/vocabulary.def"
    };
    std::string names;
    for (const auto& [function, name] : possible) {
      if (op_.function.unary == function) return;
      names += (names.empty() ? "" : " or ") + std::string(name);
    }
    refuse_program(where_, "the activation of an rnn is " + names);
  }

  /// What the products of the table count on: that a convolution has its axes, and that no product is too large.
  void before_the_table() const {
    const std::size_t axes = op_.kind == OpKind::conv1d ? 3 : 4;
    if (op_.weight != none && program_.tensors[op_.weight].shape.size() != axes) {
      refuse_program(where_, "tensor 'weight' is " + type_and_shape(program_.tensors[op_.weight]) + "; " +
                                 (axes == 3 ? "three" : "four") + " axes are needed");
    }
    if (op_.kind == OpKind::conv1d) return;
    const native::Convolution& conv = op_.conv;
    // Each number is 2^24 at most, so a product of two lengths does not wrap, nor one of channels with a small product.
    const auto is_too_large = [](std::size_t channels, std::size_t height, std::size_t width) {
      return height * width > native::largest_size || channels * (height * width) > native::largest_size;
    };
    if (is_too_large(conv.in_channels, conv.pad_top + conv.height + conv.pad_bottom,
                     conv.pad_left + conv.width + conv.pad_right) ||
        is_too_large(conv.out_channels, conv.out_height, conv.out_width)) {
      refuse_program(where_, "its padded input, or its output, has more than " + std::to_string(native::largest_size) +
                                 " elements");
    }
  }

  void convolution() const {
    const native::Convolution& conv = op_.conv;
    if (conv.in_channels % conv.groups != 0 || conv.out_channels % conv.groups != 0) {
      refuse_program(where_, "its channels cannot be divided into " + std::to_string(conv.groups) + " groups");
    }
    if (conv.circular && std::max(conv.pad_left, conv.pad_right) > conv.width) {
      refuse_program(where_, "circular padding is longer than the input");
    }
    const bool is_row = op_.kind == OpKind::conv1d;
    along(is_row ? "out_length" : "out_width", conv.pad_left + conv.width + conv.pad_right, conv.kernel_width,
          conv.stride_width, conv.dilation_width, conv.out_width);
    along("out_height", conv.pad_top + conv.height + conv.pad_bottom, conv.kernel_height, conv.stride_height,
          conv.dilation_height, conv.out_height);
  }

  void along(const char* name, std::size_t padded, std::size_t kernel, std::size_t stride, std::size_t dilation,
             std::size_t out) const {
    if (kernel - 1 > padded || dilation * (kernel - 1) + 1 > padded ||
        (padded - dilation * (kernel - 1) - 1) / stride + 1 != out) {
      refuse_program(where_, std::string(name) + " does not follow from the other lengths");
    }
  }

  void gather() const {
    std::size_t total = 0;
    for (const Index value : op_.in) total += program_.values[value].size;
    if (total > native::largest_gather) {
      refuse_program(where_, "its inputs have " + std::to_string(total) + " elements together; at most " +
                                 std::to_string(native::largest_gather) + " are possible");
    }
    const Tensor& index = program_.tensors[op_.index];
    auto [least, most] = std::pair{element<std::int32_t>(index, 0), element<std::int32_t>(index, 0)};
    for (std::size_t i = 1; i < index.shape[0]; ++i) {
      const auto at = element<std::int32_t>(index, i);
      least = std::min(least, at);
      most = std::max(most, at);
    }
    if (least < 0 || std::cmp_greater_equal(most, total)) {
      refuse_program(where_, "the index runs from " + std::to_string(least) + " to " + std::to_string(most) +
                                 "; the inputs have " + std::to_string(total) + " elements");
    }
  }

  const Program& program_;
  const Op& op_;
  std::string where_;
};

class ProgramCheck {
 public:
  ProgramCheck(const Program& program, const std::vector<std::string>& names)
      : program_(program), names_(names), written_(program.values.size(), false) {}

  void run() {
    if (program_.inputs.empty() || program_.outputs.empty()) {
      refuse_program("the document", "at least one input and one output are needed");
    }
    for (Index i = 0; i < program_.values.size(); ++i) constant(i);
    for (const Index value : program_.inputs) write(value, "an input");
    for (const native::StatePair& pair : program_.state) write(pair.in, "a state input");
    for (std::size_t i = 0; i < program_.ops.size(); ++i) {
      const std::string where = "operation " + std::to_string(i) + " (" + name_of(program_.ops[i].kind) + ")";
      for (const Index value : program_.ops[i].in) {
        if (!written_[value]) {
          refuse_program(where, "it reads value " + std::to_string(value) +
                                    " before it is written; no operation runs before anything has written its inputs");
        }
      }
      for (const Index value : program_.ops[i].out) write(value, where);
      OpCheck(program_, program_.ops[i], where).run();
    }
    // All reads come after a write, so a value that is never written is only a result, or nothing's.
    for (Index i = 0; i < program_.values.size(); ++i) {
      if (!written_[i]) refuse_program("the values", "nothing writes value " + std::to_string(i));
    }
    for (const native::StatePair& pair : program_.state) {
      if (program_.values[pair.in].size != program_.values[pair.out].size) {
        refuse_program("the state", "a slot enters with " + std::to_string(program_.values[pair.in].size) +
                                        " elements and leaves with " + std::to_string(program_.values[pair.out].size));
      }
    }
  }

 private:
  void constant(Index i) {
    const native::Value& value = program_.values[i];
    if (value.constant == none) return;
    const Tensor& tensor = program_.tensors[value.constant];
    const std::string where = "value " + std::to_string(i) + ": tensor " + in_quotes(names_[value.constant]);
    if (tensor.dtype != Dtype::f32 || tensor.shape != std::vector<std::size_t>{value.size}) {
      refuse_program(where,
                     "it is " + type_and_shape(tensor) + "; float32 [" + std::to_string(value.size) + "] is needed");
    }
    if (has_nan(tensor)) refuse_program(where, "it has a NaN");
    written_[i] = true;
  }

  void write(Index value, const std::string& what) {
    if (written_[value]) {
      refuse_program(what,
                     "it writes value " + std::to_string(value) + ", which is constant or has been written before");
    }
    written_[value] = true;
  }

  const Program& program_;
  const std::vector<std::string>& names_;
  std::vector<bool> written_;
};

void check_sizes(const char* what, const std::vector<std::size_t>& program, const std::vector<std::size_t>& contract) {
  if (program != contract) {
    throw Error(ErrorCode::bad_contract, std::string("program and contract disagree on the sizes of ") + what + ": " +
                                             text(program) + " and " + text(contract) + "; export the policy again");
  }
}

}  // namespace

const char* name_of(OpKind kind) {
  switch (kind) {
#define GANGLION_OPERATION(id, ...) \
  case OpKind::id:                  \
    return #id;
#include "native/vocabulary.def"
  }
  return "";
}

void refuse_program(const std::string& where, const std::string& why) {
  throw Error(ErrorCode::bad_artifact, "program: " + where + ": " + why + "; export the policy again");
}

void check_program(const Program& program, const std::vector<std::string>& names) {
  ProgramCheck(program, names).run();
}

void check_fit(const Program& program, const Contract& contract) {
  std::vector<std::size_t> found;
  std::vector<std::size_t> wanted;
  for (const Index value : program.inputs) found.push_back(program.values[value].size);
  for (const TensorSpec& spec : contract.inputs) wanted.push_back(spec.size);
  check_sizes("inputs", found, wanted);
  found.clear();
  wanted.clear();
  for (const Index value : program.outputs) found.push_back(program.values[value].size);
  for (const TensorSpec& spec : contract.outputs) wanted.push_back(spec.size);
  check_sizes("outputs", found, wanted);
  found.clear();
  wanted.clear();
  for (const native::StatePair& pair : program.state) found.push_back(program.values[pair.in].size);
  for (const StateSlot& slot : contract.state) wanted.push_back(slot.size());
  check_sizes("state slots", found, wanted);
}

}  // namespace ganglion::detail
