// Whether a program's operations fit their operands, and its values are written once and before they are read. What
// passes here can be run without any further check.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ganglion/error.hpp"
#include "io/ganglion_file.hpp"

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

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorCode::bad_artifact, "program: " + where + ": " + why + "; export the policy again");
}

std::string text(const std::vector<std::size_t>& shape) {
  std::string result = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) result += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return result + "]";
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

/// One operation with everything that its check needs.
class OpCheck {
 public:
  OpCheck(const Program& program, const Op& op, std::size_t number)
      : program_(program), op_(op), where_("operation " + std::to_string(number)) {}

  void run() const {
    switch (op_.kind) {
      case OpKind::affine:
        ports(1, 1);
        roles({op_.weight, op_.bias, op_.scale});
        weight(out(0), in(0));
        return tensor(op_.bias, "bias", {out(0)});
      case OpKind::lstm:
        ports(3, 2);
        roles({op_.weight, op_.bias, op_.scale});
        cell(4);
        return tensor(op_.bias, "bias", {4 * out(0)});
      case OpKind::gru:
        ports(2, 1);
        roles({op_.weight, op_.bias, op_.scale, op_.recurrent_bias});
        cell(3);
        tensor(op_.recurrent_bias, "recurrent_bias", {out(0)});
        return tensor(op_.bias, "bias", {3 * out(0)});
      case OpKind::rnn:
        ports(2, 1);
        roles({op_.weight, op_.bias, op_.scale});
        cell(1);
        if (op_.function.unary != Unary::tanh && op_.function.unary != Unary::relu) {
          refuse(where_, "the activation of an rnn is tanh or relu");
        }
        return tensor(op_.bias, "bias", {out(0)});
      case OpKind::unary:
        ports(1, 1);
        roles({});
        return fit("the output", out(0), in(0));
      case OpKind::binary:
      case OpKind::where:
        ports(op_.kind == OpKind::binary ? 2 : 3, 1);
        roles({});
        for (std::size_t i = 0; i < op_.in.size(); ++i) {
          if (in(i) != 1) fit("an input", in(i), out(0));
        }
        return;
      case OpKind::reduce:
      case OpKind::argmax:
        ports(1, 1);
        roles({});
        table();
        return fit("the output", out(0), op_.rows);
      case OpKind::softmax:
      case OpKind::log_softmax:
        ports(1, 1);
        roles({});
        table();
        return fit("the output", out(0), in(0));
      case OpKind::layer_norm:
        ports(1, 1);
        roles({op_.weight, op_.bias});
        table();
        tensor(op_.weight, "weight", {op_.columns});
        tensor(op_.bias, "bias", {op_.columns});
        return fit("the output", out(0), in(0));
      case OpKind::conv1d:
        return convolution();
      case OpKind::matmul:
        ports(2, 1);
        roles({});
        fit("the first input", in(0), op_.rows * op_.inner);
        fit("the second input", in(1), op_.inner * op_.columns);
        return fit("the output", out(0), op_.rows * op_.columns);
      case OpKind::gather:
        return gather();
      case OpKind::lookup:
        ports(2, 1);
        roles({});
        table();
        fit("the index", in(1), 1);
        return fit("the output", out(0), op_.columns);
    }
  }

 private:
  [[nodiscard]] std::size_t in(std::size_t i) const { return program_.values[op_.in[i]].size; }
  [[nodiscard]] std::size_t out(std::size_t i) const { return program_.values[op_.out[i]].size; }

  void ports(std::size_t inputs, std::size_t outputs) const {
    if (op_.in.size() != inputs || op_.out.size() != outputs) {
      refuse(where_, "it has " + std::to_string(op_.in.size()) + " inputs and " + std::to_string(op_.out.size()) +
                         " outputs; " + std::to_string(inputs) + " and " + std::to_string(outputs) + " are needed");
    }
  }

  /// Refuses a tensor in a role that the operation does not have.
  void roles(std::initializer_list<Index> known) const {
    const auto given = [](Index index) { return index != none; };
    const std::initializer_list<Index> all{op_.weight, op_.bias, op_.scale, op_.recurrent_bias, op_.index};
    if (std::count_if(all.begin(), all.end(), given) != std::count_if(known.begin(), known.end(), given)) {
      refuse(where_, "it has a tensor that it cannot use");
    }
  }

  void fit(const char* what, std::size_t found, std::size_t wanted) const {
    if (found != wanted) {
      refuse(where_,
             std::string(what) + " has " + std::to_string(found) + " elements; " + std::to_string(wanted) + " fit");
    }
  }

  void table() const { fit("the input", in(0), op_.rows * op_.columns); }

  void tensor(Index index, const char* role, const std::vector<std::size_t>& shape) const {
    if (index == none) return;
    const Tensor& found = program_.tensors[index];
    if (found.dtype != Dtype::f32 || found.shape != shape) {
      refuse(where_, std::string("tensor '") + role + "' is " + name_of(found.dtype) + " " + text(found.shape) +
                         "; F32 " + text(shape) + " is needed");
    }
    if (!all_finite(found)) refuse(where_, std::string("tensor '") + role + "' has an element that is NaN or infinite");
  }

  void weight(std::size_t rows, std::size_t columns) const {
    if (op_.weight == none) refuse(where_, "it has no tensor 'weight'");
    const Tensor& found = program_.tensors[op_.weight];
    const std::vector<std::size_t> shape{rows, columns};
    if (found.dtype == Dtype::i32 || found.shape != shape) {
      refuse(where_, std::string("tensor 'weight' is ") + name_of(found.dtype) + " " + text(found.shape) +
                         "; F32, F16 or I8 " + text(shape) + " is needed");
    }
    if (!all_finite(found)) refuse(where_, "tensor 'weight' has an element that is NaN or infinite");
    if ((found.dtype == Dtype::i8) != (op_.scale != none)) {
      refuse(where_, "an I8 weight, and only that, needs a tensor 'scale'");
    }
    if (found.dtype == Dtype::i8 &&
        std::find(found.bytes.begin(), found.bytes.end(), std::byte{0x80}) != found.bytes.end()) {
      refuse(where_, "tensor 'weight' has the integer -128; -127 to 127 are possible");
    }
    tensor(op_.scale, "scale", {rows});
  }

  void cell(std::size_t gates) const {
    const std::size_t hidden = out(0);
    for (std::size_t i = 1; i < op_.in.size(); ++i) fit("a state input", in(i), hidden);
    for (std::size_t i = 1; i < op_.out.size(); ++i) fit("an output", out(i), hidden);
    weight(gates * hidden, in(0) + hidden);
  }

  void convolution() const {
    ports(1, 1);
    roles({op_.weight, op_.bias});
    const native::Conv1d& conv = op_.conv;
    fit("the input", in(0), conv.in_channels * conv.length);
    fit("the output", out(0), conv.out_channels * conv.out_length);
    if (conv.in_channels % conv.groups != 0 || conv.out_channels % conv.groups != 0) {
      refuse(where_, "its channels cannot be divided into " + std::to_string(conv.groups) + " groups");
    }
    if (conv.circular && std::max(conv.pad_left, conv.pad_right) > conv.length) {
      refuse(where_, "circular padding is longer than the input");
    }
    if (op_.weight == none || program_.tensors[op_.weight].shape.size() != 3) {
      refuse(where_, "tensor 'weight' is missing or has not three axes");
    }
    const std::size_t kernel = program_.tensors[op_.weight].shape[2];
    tensor(op_.weight, "weight", {conv.out_channels, conv.in_channels / conv.groups, kernel});
    tensor(op_.bias, "bias", {conv.out_channels});
    const std::size_t padded = conv.pad_left + conv.length + conv.pad_right;
    if (kernel - 1 > padded || conv.dilation * (kernel - 1) + 1 > padded ||
        (padded - conv.dilation * (kernel - 1) - 1) / conv.stride + 1 != conv.out_length) {
      refuse(where_, "out_length does not follow from the other lengths");
    }
  }

  void gather() const {
    if (op_.in.empty()) refuse(where_, "it has no inputs");
    ports(op_.in.size(), 1);
    roles({op_.index});
    if (op_.index == none) refuse(where_, "it has no tensor 'index'");
    const Tensor& index = program_.tensors[op_.index];
    if (index.dtype != Dtype::i32 || index.shape != std::vector<std::size_t>{out(0)}) {
      refuse(where_, std::string("tensor 'index' is ") + name_of(index.dtype) + " " + text(index.shape) + "; I32 [" +
                         std::to_string(out(0)) + "] is needed");
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < op_.in.size(); ++i) total += in(i);
    // An executor may keep offsets in 32 bits.
    if (total > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
      refuse(where_, "its inputs are too large");
    for (std::size_t i = 0; i < out(0); ++i) {
      const auto at = element<std::int32_t>(index, i);
      if (at < 0 || std::cmp_greater_equal(at, total)) {
        refuse(where_,
               "its index has " + std::to_string(at) + "; the inputs have " + std::to_string(total) + " elements");
      }
    }
  }

  const Program& program_;
  const Op& op_;
  std::string where_;
};

class ProgramCheck {
 public:
  explicit ProgramCheck(const Program& program) : program_(program), written_(program.values.size(), false) {}

  void run() {
    if (program_.inputs.empty() || program_.outputs.empty()) {
      refuse("the document", "at least one input and one output are needed");
    }
    for (Index i = 0; i < program_.values.size(); ++i) constant(i);
    for (const Index value : program_.inputs) write(value, "an input");
    for (const native::StatePair& pair : program_.state) write(pair.in, "a state input");
    for (std::size_t i = 0; i < program_.ops.size(); ++i) {
      const std::string where = "operation " + std::to_string(i);
      for (const Index value : program_.ops[i].in) {
        if (!written_[value]) refuse(where, "it reads value " + std::to_string(value) + " before it is written");
      }
      for (const Index value : program_.ops[i].out) write(value, where);
      OpCheck(program_, program_.ops[i], i).run();
    }
    // All reads come after a write, so a value that is never written is only a result, or nothing's.
    for (Index i = 0; i < program_.values.size(); ++i) {
      if (!written_[i]) refuse("value " + std::to_string(i), "nothing writes it");
    }
    for (const native::StatePair& pair : program_.state) {
      if (program_.values[pair.in].size != program_.values[pair.out].size) {
        refuse("the state", "a slot enters with " + std::to_string(program_.values[pair.in].size) +
                                " elements and leaves with " + std::to_string(program_.values[pair.out].size));
      }
    }
  }

 private:
  void constant(Index i) {
    const native::Value& value = program_.values[i];
    if (value.constant == none) return;
    const std::string where = "value " + std::to_string(i);
    const Tensor& tensor = program_.tensors[value.constant];
    if (tensor.dtype != Dtype::f32 || tensor.shape != std::vector<std::size_t>{value.size}) {
      refuse(where, std::string("its tensor is ") + name_of(tensor.dtype) + " " + text(tensor.shape) + "; F32 [" +
                        std::to_string(value.size) + "] is needed");
    }
    if (has_nan(tensor)) refuse(where, "its tensor has a NaN");
    written_[i] = true;
  }

  void write(Index value, const std::string& what) {
    if (written_[value]) {
      refuse(what, "it writes value " + std::to_string(value) + ", which is constant or has been written before");
    }
    written_[value] = true;
  }

  const Program& program_;
  std::vector<bool> written_;
};

void check_sizes(const char* what, const std::vector<std::size_t>& program, const std::vector<std::size_t>& contract) {
  if (program != contract) {
    throw Error(ErrorCode::bad_contract, std::string("program and contract disagree on the sizes of ") + what + ": " +
                                             text(program) + " and " + text(contract) + "; export the policy again");
  }
}

}  // namespace

void check_program(const Program& program) { ProgramCheck(program).run(); }

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
