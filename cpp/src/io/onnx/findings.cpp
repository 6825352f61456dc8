// What goes wrong in other exporters' files, found before the first step.

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "ganglion/error.hpp"
#include "io/json.hpp"
#include "io/onnx/ports.hpp"
#include "io/onnx/reading.hpp"
#include "io/words.hpp"

namespace ganglion::detail {

namespace {

/// Ops between the statistics of a normaliser and its division.
bool is_statistics_op(std::string_view op) {
  constexpr std::array ops{"Add", "Sqrt", "Max", "Clip", "Cast", "Identity", "Unsqueeze", "Reshape", "Expand", "Pow"};
  return is_one_of(ops, op);
}

/// Named constant vectors that a divisor is computed from; empty where it depends on the graph's inputs.
std::vector<std::pair<std::string, std::vector<double>>> statistics(const OnnxGraph& graph, const OnnxFlow& flow,
                                                                    std::string_view divisor) {
  bool is_constant = true;
  std::vector<std::pair<std::string, std::vector<double>>> found;
  static_cast<void>(reached(divisor, [&](std::string_view here, const auto& push) {
    const OnnxNode* node = flow.maker(here);
    if (const OnnxTensor* tensor = flow.constant(graph, here)) {
      // A single element is the small number that is added against division by zero.
      if (auto values = tensor->values(); values && values->size() > 1) found.emplace_back(here, std::move(*values));
    } else if (node != nullptr && is_statistics_op(node->op)) {
      std::for_each(node->inputs.begin(), node->inputs.end(), push);
    } else {
      is_constant = false;
    }
  }));
  if (!is_constant) found.clear();
  return found;
}

void find_flat_normalisers(const OnnxGraph& graph, const OnnxFlow& flow, Reading& reading) {
  std::set<std::string> reported;
  for (const OnnxNode& node : graph.nodes) {
    if (node.op != "Div" || node.inputs.size() != 2) continue;
    for (const auto& [name, values] : statistics(graph, flow, node.inputs[1])) {
      std::string elements;
      std::size_t count = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] > 0.0) continue;
        if (count++ < 8) elements += (elements.empty() ? "" : ", ") + std::to_string(i);
      }
      if (count == 0 || !reported.insert(name).second) continue;
      reading.findings.push_back(
          {"normaliser-zero-variance",
           "the observation is divided by " + in_quotes(name) + ", which is not positive in " + std::to_string(count) +
               " elements (" + elements + (count > 8 ? ", ..." : "") +
               "): they did not vary while the statistics were gathered, and the smallest change of them is blown up; "
               "check that the training fed these elements"});
    }
  }
}

void find_dropped_reset_gates(const OnnxGraph& graph, Reading& reading) {
  const auto check = [&](const OnnxNode& node) {
    if (node.op != "GRU") return;
    const auto attribute = node.integers.find("linear_before_reset");
    if (attribute != node.integers.end() && attribute->second != 0) return;
    reading.findings.push_back(
        {"gru-linear-before-reset",
         "the GRU node " + in_quotes(node.label()) +
             " has linear_before_reset 0; torch.nn.GRU computes with 1, and some exporters lose the attribute "
             "(pytorch issue 189225, onnxscript issue 2852): a policy trained in PyTorch then drifts from step to "
             "step. Find out and repair: ganglion repair FILE -o OUT --recording RUN (or --policy SOURCE)"});
  };
  std::for_each(graph.nodes.begin(), graph.nodes.end(), check);
  std::for_each(graph.function_nodes.begin(), graph.function_nodes.end(), check);
}

/// Some exporters want a state of every policy: what goes straight through, and is used for nothing, is theirs alone.
bool is_decoration(const OnnxFlow& flow, const Dependence& dependence, const Reading& reading,
                   const StateNames& names) {
  if (flow.origin(names.output) != names.input) return false;
  const auto& outputs = reading.contract.outputs;
  const bool drives_output = std::any_of(outputs.begin(), outputs.end(), [&](const TensorSpec& output) {
    return dependence.depends(output.name, names.input);
  });
  return !drives_output && std::none_of(reading.state.begin(), reading.state.end(), [&](const StateNames& other) {
    return other.output != names.output && dependence.depends(other.output, names.input);
  });
}

void find_idle_state(const OnnxFlow& flow, const Dependence& dependence, Reading& reading) {
  for (const StateNames& names : reading.state) {
    if (names.output.empty()) continue;
    const bool depends_on_observation =
        std::any_of(reading.contract.inputs.begin(), reading.contract.inputs.end(),
                    [&](const TensorSpec& input) { return dependence.depends(names.output, input.name); });
    if (depends_on_observation) continue;
    if (is_decoration(flow, dependence, reading, names)) {
      reading.notes.push_back(
          text_of({"input ", names.input, " goes straight through to output ", names.output,
                   " and is used for nothing: the exporter wants a state, the policy has none there"}));
      continue;
    }
    reading.findings.push_back({"state-constant", "output " + in_quotes(names.output) +
                                                      " does not depend on any observation, so this state remembers "
                                                      "nothing; check the exporter"});
  }
}

/// Whether a tensor with infinite elements hides something from a softmax: added or chosen, and minus infinity alone.
bool is_mask(const OnnxGraph& graph, std::string_view name, const OnnxTensor& tensor,
             const std::vector<double>& values) {
  const auto hides = [](double value) { return std::isfinite(value) || (std::isinf(value) && value < 0.0); };
  const auto masks = [&](const OnnxNode& node) {
    const bool reads = std::find(node.inputs.begin(), node.inputs.end(), name) != node.inputs.end();
    return !reads || node.op == "Add" || node.op == "Where" || node.op == "Attention";
  };
  return tensor.dims.size() > 1 && std::all_of(values.begin(), values.end(), hides) &&
         std::all_of(graph.nodes.begin(), graph.nodes.end(), masks);
}

}  // namespace

void check_weights(const OnnxGraph& graph, const std::filesystem::path& folder) {
  for (const auto& [name, tensor] : graph.initializers) {
    if (tensor.file) {
      const std::filesystem::path file(*tensor.file);
      const bool leaves =
          file.is_absolute() || std::any_of(file.begin(), file.end(), [](const auto& part) { return part == ".."; });
      if (leaves || file.empty()) {
        refuse("the weight " + in_quotes(name) + " lies in " + in_quotes(*tensor.file) +
                   ", outside of the model's folder; keep weights in the model or beside it",
               "weights-outside");
      }
      std::error_code code;
      if (!std::filesystem::is_regular_file(folder / file, code)) {
        refuse("the weight " + in_quotes(name) + " lies in the file " + in_quotes(*tensor.file) +
                   ", which is not beside the model; copy it there, or put everything into one file: "
                   "onnx.save_model(onnx.load(path), path)",
               "weights-missing");
      }
    }
    const auto values = tensor.values();
    if (!values) continue;
    const auto bad = std::find_if(values->begin(), values->end(), [](double value) { return !std::isfinite(value); });
    // Infinity is the bound of a clip that does not clip.
    if (bad == values->end() || (std::isinf(*bad) && values->size() == 1)) continue;
    if (is_mask(graph, name, tensor, *values)) continue;
    refuse(text_of({"element ", std::to_string(bad - values->begin()), " of ", in_quotes(name), " is ",
                    std::isnan(*bad) ? "NaN" : "infinite",
                    ": training had diverged, or a normaliser had seen no data; export a good checkpoint"}),
           "weights-not-finite");
  }
}

void find_defects(const OnnxGraph& graph, const OnnxFlow& flow, const Dependence& dependence, Reading& reading) {
  find_dropped_reset_gates(graph, reading);
  find_flat_normalisers(graph, flow, reading);
  find_idle_state(flow, dependence, reading);
  find_lost_memory(graph, flow, dependence, reading);
}

}  // namespace ganglion::detail
