// Recurrent nodes that are not given what they remembered, and those that run over more than one step at once.

#include <algorithm>
#include <array>
#include <map>

#include "io/json.hpp"
#include "io/onnx/ports.hpp"
#include "io/onnx/reading.hpp"
#include "io/words.hpp"

namespace ganglion::detail {

namespace {

/// How many elements values have for one row, where shapes and operations that keep the count say it.
class RowSizes {
 public:
  RowSizes(const OnnxGraph& graph, const OnnxFlow& flow) : graph_(graph) {
    for (const OnnxPort& port : graph.inputs) {
      if (!port.has_shape) continue;
      const auto batch_axis = batch_axis_of(port);
      std::int64_t size = 1;
      for (std::size_t axis = 0; axis < port.shape.size(); ++axis) {
        if (axis != batch_axis) size = product(size, std::max<std::int64_t>(port.shape[axis], 1));
      }
      sizes_[port.name] = size;
    }
    for (const OnnxNode* node : flow.order()) add(*node);
  }

  [[nodiscard]] std::int64_t of(std::string_view value) const {
    const auto found = sizes_.find(value);
    return found == sizes_.end() ? unknown : found->second;
  }

  static constexpr std::int64_t unknown = 0;

 private:
  static constexpr std::int64_t largest_ = std::int64_t{1} << 30;

  [[nodiscard]] static std::int64_t product(std::int64_t a, std::int64_t b) {
    return a == unknown || b <= 0 || a > largest_ / b ? unknown : a * b;
  }

  [[nodiscard]] const OnnxTensor* weight(const OnnxNode& node, std::size_t operand) const {
    if (node.inputs.size() <= operand) return nullptr;
    const auto found = graph_.initializers.find(node.inputs[operand]);
    return found == graph_.initializers.end() ? nullptr : &found->second;
  }

  void add(const OnnxNode& node) {
    constexpr std::array keeping{"Identity",
                                 "Reshape",
                                 "Transpose",
                                 "Squeeze",
                                 "Unsqueeze",
                                 "Flatten",
                                 "Cast",
                                 "Relu",
                                 "Elu",
                                 "Selu",
                                 "Celu",
                                 "LeakyRelu",
                                 "Gelu",
                                 "Tanh",
                                 "Sigmoid",
                                 "Softplus",
                                 "LayerNormalization",
                                 "Dropout",
                                 "Clip",
                                 "Softmax",
                                 "Mish",
                                 "HardSwish",
                                 "DequantizeLinear",
                                 "QuantizeLinear",
                                 "Neg",
                                 "Softsign",
                                 "Sqrt"};
    constexpr std::array pairing{"Add", "Sub", "Mul", "Div", "Max", "Min", "Where", "Concat"};
    if (node.inputs.empty() || node.outputs.empty()) return;
    std::int64_t size = unknown;
    if (is_one_of(keeping, node.op)) {
      size = of(node.inputs[0]);
    } else if (is_one_of(pairing, node.op)) {
      for (const std::string_view input : node.inputs) {
        size = node.op == "Concat" ? size + of(input) : std::max(size, of(input));
      }
      if (size > largest_) size = unknown;
    } else if (node.op == "MatMul" || node.op == "Gemm") {
      size = behind_product(node);
    } else if (hidden_units(node) > 0) {
      size = product(of(node.inputs[0]) / std::max<std::int64_t>(input_width(node), 1), hidden_units(node));
    }
    if (size == unknown) return;
    sizes_[node.outputs[0]] = size;
  }

  [[nodiscard]] std::int64_t behind_product(const OnnxNode& node) const {
    const OnnxTensor* const matrix = weight(node, 1);
    if (matrix == nullptr || matrix->dims.size() != 2 || matrix->dims[0] <= 0 || matrix->dims[1] <= 0) return unknown;
    const auto transposed = node.integers.find("transB");
    const bool swapped = node.op == "Gemm" && transposed != node.integers.end() && transposed->second != 0;
    const std::int64_t in = matrix->dims[swapped ? 1 : 0];
    return product(of(node.inputs[0]) / in, matrix->dims[swapped ? 0 : 1]);
  }

  [[nodiscard]] static std::int64_t hidden_units(const OnnxNode& node) {
    const auto size = node.integers.find("hidden_size");
    return is_recurrent(node.op) && size != node.integers.end() ? size->second : 0;
  }

 public:
  /// Elements that a recurrent node takes in one of its steps; 0 where the weights do not say it.
  [[nodiscard]] std::int64_t input_width(const OnnxNode& node) const {
    const OnnxTensor* const matrix = weight(node, 1);
    if (matrix == nullptr || matrix->dims.size() != 3) return 0;
    return matrix->dims[node.op == "DynamicQuantizeLSTM" ? 1 : 2];
  }

 private:
  const OnnxGraph& graph_;
  std::map<std::string_view, std::int64_t> sizes_;
};

class MemoryCheck {
 public:
  MemoryCheck(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence, Reading& reading)
      : graph_(graph), dependence_(dependence), sizes_(graph, flow), reading_(reading) {
    for (const OnnxPort& port : graph.inputs) {
      given_.push_back(!reading.constants.contains(port.name));
      fed_.push_back(std::any_of(reading.state.begin(), reading.state.end(),
                                 [&](const StateNames& names) { return names.input == port.name; }));
    }
  }

  void run() {
    for (const OnnxNode& node : graph_.nodes) check(node);
    // Inside of functions and inner graphs names mean something else; an operand that is left out is left out.
    for (const OnnxNode& node : graph_.function_nodes) check_inner(node);
    for (const OnnxNode& node : graph_.nodes) {
      for (const OnnxNode& inner : node.inner) check_inner(inner);
    }
    if (!has_found_ && reading_.state.empty()) check_names();
  }

 private:
  struct Slot {
    std::size_t operand;
    const char* name;
  };

  /// initial_h, and initial_c of an LSTM.
  [[nodiscard]] static std::vector<Slot> slots_of(const OnnxNode& node) {
    std::vector<Slot> slots{{5, "hidden state"}};
    if (node.op != "GRU" && node.op != "RNN") slots.push_back({6, "cell state"});
    return slots;
  }

  [[nodiscard]] static bool is_left_out(const OnnxNode& node, std::size_t operand) {
    return node.inputs.size() <= operand || node.inputs[operand].empty();
  }

  /// Observations that a node takes in one step, one after the other; 0 where nothing says it.
  [[nodiscard]] std::int64_t steps_of(const OnnxNode& node) const {
    const auto layout = node.integers.find("layout");
    const std::size_t axis = layout != node.integers.end() && layout->second != 0 ? 1 : 0;
    const auto stated = graph_.shapes.find(node.inputs[0]);
    if (stated != graph_.shapes.end() && stated->second.size() == 3 && stated->second[axis] > 0) {
      return stated->second[axis];
    }
    const std::int64_t width = sizes_.input_width(node);
    const std::int64_t size = sizes_.of(node.inputs[0]);
    return width > 0 && size > 0 && size % width == 0 ? size / width : 0;
  }

  void check(const OnnxNode& node) {
    if (!is_recurrent(node.op) || node.inputs.empty()) return;
    std::vector<const char*> forgotten;
    std::vector<const char*> kept;
    bool goes_on = false;
    for (const Slot& slot : slots_of(node)) {
      const bool is_given =
          !is_left_out(node, slot.operand) && dependence_.depends_on_any(node.inputs[slot.operand], given_);
      (is_given ? kept : forgotten).push_back(slot.name);
      goes_on = goes_on || (is_given && dependence_.depends_on_any(node.inputs[slot.operand], fed_));
    }
    const std::int64_t steps = steps_of(node);
    if (!forgotten.empty()) report_forgotten(node, forgotten, kept, steps);
    if (goes_on && steps > 1) report_window(node, steps);
  }

  // NOLINTNEXTLINE(misc-no-recursion): as deep as graphs may nest, which the reader bounds
  void check_inner(const OnnxNode& node) {
    for (const OnnxNode& inner : node.inner) check_inner(inner);
    if (!is_recurrent(node.op)) return;
    std::vector<const char*> forgotten;
    std::vector<const char*> kept;
    for (const Slot& slot : slots_of(node)) (is_left_out(node, slot.operand) ? forgotten : kept).push_back(slot.name);
    if (!forgotten.empty()) report_forgotten(node, forgotten, kept, 0);
  }

  /// A cell that was written out, and folded where it starts from zeros: only the names of its weights tell.
  void check_names() {
    const auto is_recurrent_weight = [](const auto& tensor) {
      constexpr std::array parts{"weight_hh", "weight_ih", "bias_hh", "bias_ih", "recurrent_kernel"};
      return std::any_of(parts.begin(), parts.end(),
                         [&](const char* part) { return tensor.first.find(part) != std::string_view::npos; });
    };
    const auto found = std::find_if(graph_.initializers.begin(), graph_.initializers.end(), is_recurrent_weight);
    if (found == graph_.initializers.end()) return;
    reading_.findings.push_back(
        {"state-forgotten",
         text_of({"the weight ", in_quotes(found->first),
                  " is that of a recurrent layer, but the file has no state: the net remembers nothing between steps; ",
                  "export its state as inputs and outputs (h_in -> h_out)"})});
  }

  [[nodiscard]] static std::string name_of(const OnnxNode& node) {
    return text_of({"the ", node.op, " node ", in_quotes(node.label())});
  }

  void report_forgotten(const OnnxNode& node, const std::vector<const char*>& forgotten,
                        const std::vector<const char*>& kept, std::int64_t steps) {
    std::string sentence = name_of(node);
    if (steps > 1) {
      sentence += text_of(
          {" reads a window of ", std::to_string(steps),
           " observations in every step and starts it from a constant: it knows what is in the window, and nothing ",
           "from before; right where the policy was trained on such windows, else export its state as inputs and ",
           "outputs"});
    } else if (kept.empty()) {
      sentence +=
          " starts from a constant in every step: the net remembers nothing between steps; export its state as inputs "
          "and outputs (h_in -> h_out";
      sentence += forgotten.size() > 1 ? ", c_in -> c_out)" : ")";
    } else {
      sentence +=
          text_of({" is given its ", kept[0], ", but its ", forgotten[0],
                   " starts from a constant in every step and is forgotten; export it as an input and an output, too"});
    }
    reading_.findings.push_back({"state-forgotten", sentence});
    has_found_ = true;
  }

  void report_window(const OnnxNode& node, std::int64_t steps) {
    reading_.findings.push_back(
        {"window-with-state",
         text_of({name_of(node), " runs over a sequence of length ", std::to_string(steps),
                  " in every step and goes on from the state that the last step left: each control step moves its ",
                  "memory by ", std::to_string(steps),
                  " observations; feed as many new ones in every step, or export a policy that takes one observation ",
                  "per step"})});
  }

  const OnnxGraph& graph_;
  const Dependence& dependence_;
  RowSizes sizes_;
  std::vector<bool> given_;  ///< inputs of the graph that are no constants
  std::vector<bool> fed_;    ///< and those that are state
  Reading& reading_;
  bool has_found_ = false;
};

}  // namespace

void find_lost_memory(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence, Reading& reading) {
  MemoryCheck(graph, flow, dependence, reading).run();
}

}  // namespace ganglion::detail
