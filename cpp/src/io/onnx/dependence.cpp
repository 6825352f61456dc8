#include "io/onnx/dependence.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "io/onnx/ports.hpp"
#include "io/words.hpp"

namespace ganglion::detail {

namespace {

constexpr std::size_t most_inputs = 1024;
constexpr std::size_t word_bits = 64;

/// Ops that ask for nothing but the shape of what they are given.
bool takes_shape_only(std::string_view op) {
  constexpr std::array ops{"Shape", "Size", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike"};
  return is_one_of(ops, op);
}

/// A Dropout that is switched on; by default it hands its input through.
bool drops(const OnnxGraph& graph, const OnnxFlow& flow, const OnnxNode& node) {
  if (node.op != "Dropout" || node.inputs.size() < 3 || node.inputs[2].empty()) return false;
  const OnnxTensor* const training = flow.constant(graph, node.inputs[2]);
  if (training == nullptr || !training->is_true()) return false;
  const OnnxTensor* const ratio = flow.constant(graph, node.inputs[1]);
  const auto values = ratio == nullptr ? std::nullopt : ratio->values();
  return !values || values->empty() || values->front() != 0.0;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as graphs may nest, which the reader bounds
bool draws(const OnnxGraph& graph, const OnnxFlow& flow, const OnnxNode& node) {
  constexpr std::array ops{"RandomNormal",      "RandomNormalLike", "RandomUniform",
                           "RandomUniformLike", "Multinomial",      "Bernoulli"};
  if (is_one_of(ops, node.op) || drops(graph, flow, node)) return true;
  // NOLINTNEXTLINE(readability-use-anyofallof): a lambda would be one more link of the recursion
  for (const OnnxNode& inner : node.inner) {
    if (draws(graph, flow, inner)) return true;
  }
  return false;
}

/// Values that are zero whatever the inputs are: obs * 0 has the shape of an observation, and nothing of it.
class Zeros {
 public:
  Zeros(const OnnxGraph& graph, const OnnxFlow& flow) : graph_(graph), flow_(flow) {}

  /// To be called with the nodes in their order.
  void look_at(const OnnxNode& node) {
    if (is_zero(node)) zeros_.insert(node.outputs.begin(), node.outputs.end());
  }

  [[nodiscard]] bool has(std::string_view value) const {
    if (zeros_.contains(value)) return true;
    const OnnxTensor* const tensor = flow_.constant(graph_, value);
    return tensor != nullptr && tensor->is_zero();
  }

  /// A product with zeros: what it gives is its last operand, which is added.
  [[nodiscard]] bool adds_only(const OnnxNode& node) const {
    return (node.op == "Gemm" || node.op == "Conv") && node.inputs.size() == 3 && any_of_two(node);
  }

 private:
  [[nodiscard]] bool any_of_two(const OnnxNode& node) const {
    return node.inputs.size() > 1 && (has(node.inputs[0]) || has(node.inputs[1]));
  }

  [[nodiscard]] bool is_zero(const OnnxNode& node) const {
    constexpr std::array through{"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten",
                                 "Cast",     "Expand",  "Slice",     "Gather",  "Split",     "Tile",
                                 "Neg",      "Abs",     "Relu",      "Tanh",    "LeakyRelu", "Elu",
                                 "Selu",     "Sqrt",    "Sin",       "Erf",     "Dropout",   "Softsign",
                                 "Gelu",     "Div",     "ReduceSum", "Floor",   "ReduceMean"};
    constexpr std::array together{"Add", "Sub", "Sum", "Concat", "Max", "Min"};
    if (node.op == "ConstantOfShape") return !node.value || node.value->is_zero();
    if (node.inputs.empty()) return false;
    if (node.op == "Sub" && node.inputs[0] == node.inputs[1]) return true;
    if (is_one_of(through, node.op)) return has(node.inputs[0]);
    const auto is_zero = [this](std::string_view input) { return has(input); };
    if (is_one_of(together, node.op)) return std::all_of(node.inputs.begin(), node.inputs.end(), is_zero);
    if (node.op == "Mul" || node.op == "MatMul") return any_of_two(node);
    return (node.op == "Gemm" || node.op == "Conv") && any_of_two(node) &&
           (node.inputs.size() < 3 || has(node.inputs[2]));
  }

  const OnnxGraph& graph_;
  const OnnxFlow& flow_;
  std::set<std::string_view> zeros_;
};

}  // namespace

Dependence::Dependence(const OnnxGraph& graph, const OnnxFlow& flow) {
  if (graph.inputs.size() > most_inputs) {
    refuse("the graph has " + std::to_string(graph.inputs.size()) + " inputs; at most " + std::to_string(most_inputs) +
               " are read",
           "too-many-inputs");
  }
  const std::size_t words = (graph.inputs.size() + word_bits - 1) / word_bits;
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    positions_[graph.inputs[i].name] = i;
    Words bits(words, 0);
    bits[i / word_bits] |= std::uint64_t{1} << (i % word_bits);
    origins_[graph.inputs[i].name] = {std::move(bits), nullptr};
  }
  // A function is read once, and what it draws may come out of any node that calls it.
  const auto function_draw = std::find_if(graph.function_nodes.begin(), graph.function_nodes.end(),
                                          [&](const OnnxNode& node) { return draws(graph, flow, node); });
  Zeros zeros(graph, flow);
  for (const OnnxNode* node : flow.order()) {
    Origins origins{Words(words, 0), nullptr};
    zeros.look_at(*node);
    if (!node->outputs.empty() && zeros.has(node->outputs[0])) {
      for (const std::string_view output : node->outputs) origins_.insert_or_assign(output, origins);
      continue;
    }
    if (zeros.adds_only(*node)) {
      merge(origins, node->inputs[2]);
    } else if (!takes_shape_only(node->op)) {
      for (const std::string_view input : node->inputs) merge(origins, input);
    }
    const bool calls = !graph.functions.empty() && graph.functions.contains(node->op);
    if (origins.draw == nullptr && draws(graph, flow, *node)) origins.draw = node;
    if (origins.draw == nullptr && calls && function_draw != graph.function_nodes.end()) origins.draw = &*function_draw;
    for (const std::string_view output : node->outputs) origins_.insert_or_assign(output, origins);
  }
}

void Dependence::merge(Origins& into, std::string_view value) const {
  const auto found = origins_.find(value);
  if (found == origins_.end()) return;
  for (std::size_t i = 0; i < into.inputs.size(); ++i) into.inputs[i] |= found->second.inputs[i];
  if (into.draw == nullptr) into.draw = found->second.draw;
}

bool Dependence::depends(std::string_view value, std::string_view input) const {
  const auto found = origins_.find(value);
  const auto position = positions_.find(input);
  if (found == origins_.end() || position == positions_.end()) return false;
  return (found->second.inputs[position->second / word_bits] >> (position->second % word_bits) & 1U) != 0;
}

bool Dependence::depends_on_any(std::string_view value, const std::vector<bool>& inputs) const {
  const auto found = origins_.find(value);
  if (found == origins_.end()) return false;
  const Words& words = found->second.inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] && (words[i / word_bits] >> (i % word_bits) & 1U) != 0) return true;
  }
  return false;
}

const OnnxNode* Dependence::draw(std::string_view value) const {
  const auto found = origins_.find(value);
  return found == origins_.end() ? nullptr : found->second.draw;
}

}  // namespace ganglion::detail
