#include <algorithm>
#include <array>
#include <set>

#include "io/onnx/reading.hpp"
#include "io/words.hpp"

namespace ganglion::detail {

namespace {

constexpr std::array layout_ops{"Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice",
                                "Split",    "Gather",  "Concat",  "Cast",      "Expand",    "Flatten"};
// Between input and cell a state may also be masked: torchrl sets it to zero where a trajectory begins.
constexpr std::array masking_ops{"Where", "Mul"};

/// Float inputs of the graph that reach `value` by layout and masks alone.
std::set<std::string> origins(const OnnxGraph& graph, const OnnxFlow& flow, std::string_view value) {
  const auto values = reached(value, [&flow](std::string_view here, const auto& push) {
    const OnnxNode* node = flow.maker(here);
    if (node == nullptr || !(is_one_of(layout_ops, node->op) || is_one_of(masking_ops, node->op))) return;
    std::for_each(node->inputs.begin(), node->inputs.end(), push);
  });
  std::set<std::string> found;
  for (const OnnxPort& port : graph.inputs) {
    if (port.type == OnnxType::float32 && values.contains(port.name)) found.insert(port.name);
  }
  return found;
}

/// Outputs of the graph that `value` becomes by layout alone.
std::set<std::string> destinations(const OnnxGraph& graph, const OnnxFlow& flow, std::string_view value) {
  const auto values = reached(value, [&flow](std::string_view here, const auto& push) {
    for (const OnnxNode* node : flow.users(here)) {
      if (is_one_of(layout_ops, node->op)) std::for_each(node->outputs.begin(), node->outputs.end(), push);
    }
  });
  std::set<std::string> found;
  for (const OnnxPort& port : graph.outputs) {
    if (values.contains(port.name)) found.insert(port.name);
  }
  return found;
}

}  // namespace

std::vector<StateLink> recurrent_links(const OnnxGraph& graph, const OnnxFlow& flow) {
  std::vector<StateLink> links;
  // Operands and results of the recurrent operators of ONNX: initial_h is 5 and initial_c 6, Y_h is 1 and Y_c 2.
  const auto link = [&](const OnnxNode& node, std::size_t operand, std::size_t result, const char* kind) {
    if (node.inputs.size() <= operand) return;
    for (const std::string& input : origins(graph, flow, node.inputs[operand])) {
      const auto known = [&](const std::string& output) {
        return std::any_of(links.begin(), links.end(),
                           [&](const StateLink& other) { return other.input == input && other.output == output; });
      };
      std::set<std::string> outputs;
      if (node.outputs.size() > result) outputs = destinations(graph, flow, node.outputs[result]);
      // With one time step the sequence of outputs is the hidden state, too.
      if (outputs.empty() && result == 1) outputs = destinations(graph, flow, node.outputs[0]);
      if (outputs.empty()) outputs.insert("");
      for (const std::string& output : outputs) {
        if (!known(output)) links.push_back({input, output, kind});
      }
    }
  };
  for (const OnnxNode& node : graph.nodes) {
    if (node.outputs.empty()) continue;
    if (node.op == "LSTM" || node.op == "DynamicQuantizeLSTM") {
      link(node, 5, 1, "LSTM hidden state");
      link(node, 6, 2, "LSTM cell state");
    } else if (node.op == "GRU") {
      link(node, 5, 1, "GRU hidden state");
    } else if (node.op == "RNN") {
      link(node, 5, 1, "RNN hidden state");
    }
  }
  return links;
}

}  // namespace ganglion::detail
