#pragma once

// The program of a TorchScript module as a graph: its recurrent layers, and where their values come from. Part of the
// LibTorch engine's translation unit.

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/libtorch/module.hpp"

namespace ganglion::detail {

/// A value, or one element of a tuple or list.
using GraphPlace = std::pair<const torch::jit::Value*, std::int64_t>;
constexpr std::int64_t whole_value = -1;

/// A node that runs a recurrent layer or cell.
struct RecurrentNode {
  struct Start {
    const char* name;
    GraphPlace place;
  };

  torch::jit::Node* node;
  std::string kind;     ///< "LSTM", "GRU" or "RNN"
  std::string path;     ///< where the layer hangs, by its first weight; "" where that is no attribute
  const void* weights;  ///< equal where two nodes run one frozen layer
  bool is_cell;         ///< it takes one step, and gives its states and nothing else
  std::vector<Start> starts;
  std::set<const torch::jit::Node*> loops;  ///< that it is in

  /// "the LSTM layer 'rnn'"
  [[nodiscard]] std::string name() const { return "the " + kind + " layer" + (path.empty() ? "" : " '" + path + "'"); }
  [[nodiscard]] bool runs_with_weights_of(const RecurrentNode& other) const {
    return path == other.path && weights == other.weights;
  }
};

/// The forward of a module, everything that it calls put in.
class ForwardGraph {
 public:
  using Value = torch::jit::Value;
  using Node = torch::jit::Node;

  explicit ForwardGraph(const torch::jit::Module& module) : graph_(module.get_method("forward").graph()->copy()) {
    torch::jit::Inline(*graph_);
    look_into(graph_->block(), {});
  }

  [[nodiscard]] const std::shared_ptr<torch::jit::Graph>& graph() const { return graph_; }
  /// Recurrent ones, in the order of the program.
  [[nodiscard]] const std::vector<RecurrentNode>& layers() const { return layers_; }

  /// Whether a value comes from a source. Shapes and devices do not count, nor does, unless `in_time`, what a turn of a
  /// loop leaves to the next one and what is kept in a buffer.
  template <class IsSource>
  [[nodiscard]] bool reaches(GraphPlace start, const IsSource& is_source, bool in_time = false) const {
    std::set<GraphPlace> seen;
    std::vector<GraphPlace> open{start};
    while (!open.empty()) {
      const GraphPlace place = open.back();
      open.pop_back();
      if (!seen.insert(place).second) continue;
      if (is_source(place.first)) return true;
      follow(place, open);
      follow_writes(place.first, open);
      if (in_time) follow_earlier(place.first, open);
    }
    return false;
  }

  /// "memory.hidden_state"; "" for what is no attribute of the module.
  [[nodiscard]] static std::string path_of(const Value* value) {
    std::string path;
    for (const Node* node = value->node(); node->kind() == torch::jit::prim::GetAttr; node = node->input(0)->node()) {
      if (!path.empty()) path.insert(0, 1, '.');
      path.insert(0, node->s(torch::jit::attr::name));
    }
    return path;
  }

 private:
  // NOLINTNEXTLINE(misc-no-recursion): as deep as blocks are nested
  void look_into(torch::jit::Block* block, const std::set<const Node*>& loops) {
    for (Node* node : block->nodes()) {
      note(node, loops);
      std::set<const Node*> inside = loops;
      if (node->kind() == torch::jit::prim::Loop) inside.insert(node);
      for (torch::jit::Block* inner : node->blocks()) look_into(inner, inside);
    }
  }

  void note(Node* node, const std::set<const Node*>& loops) {
    if (node->kind() == torch::jit::prim::SetAttr) {
      const std::string owner = path_of(node->input(0));
      left_.emplace(owner + (owner.empty() ? "" : ".") + node->s(torch::jit::attr::name),
                    GraphPlace{node->input(1), whole_value});
    } else if (node->kind() == torch::jit::prim::GetAttr) {
      std::vector<GraphPlace> written;
      follow_writes(node->output(), written);
      for (const GraphPlace& place : written) left_.emplace(path_of(node->output()), place);
    }
    const std::string op = node->kind().toUnqualString();
    const bool is_cell = op.find("_cell") != std::string::npos;
    const std::string kind(kind_of(op));
    if (kind.empty() || node->inputs().size() < (is_cell ? 2U : 3U)) return;
    const bool is_lstm = kind == "LSTM";
    // Of a packed sequence the second operand is the sizes of its steps.
    const std::size_t operand = is_cell || is_list(node->input(is_lstm ? 1 : 2)) ? 1 : 2;
    RecurrentNode layer{node, kind, "", node, is_cell, {}, loops};
    const Value* start = node->input(operand);
    layer.starts.push_back({"hidden state", {start, is_lstm ? 0 : whole_value}});
    if (is_lstm) layer.starts.push_back({"cell state", {start, 1}});
    name_weights(layer, operand + 1);
    layers_.push_back(std::move(layer));
  }

  static void name_weights(RecurrentNode& layer, std::size_t operand) {
    if (layer.node->inputs().size() <= operand) return;
    const Value* first = layer.node->input(operand);
    if (first->node()->kind() == torch::jit::prim::ListConstruct && !first->node()->inputs().empty()) {
      first = first->node()->input(0);
    }
    if (const std::string path = path_of(first); !path.empty()) {
      const std::size_t dot = path.rfind('.');
      layer.path = dot == std::string::npos ? "" : path.substr(0, dot);
      if (!layer.path.empty()) layer.weights = nullptr;
      return;
    }
    auto constant = torch::jit::toIValue(first);
    if (constant && constant->isTensorList() && !constant->toTensorVector().empty()) {
      constant = constant->toTensorVector().front();
    }
    layer.weights = constant && constant->isTensor() ? constant->toTensor().const_data_ptr() : first;
  }

  /// "LSTM" for lstm, lstm_cell, quantized_lstm_cell_dynamic; "" for what is not recurrent.
  [[nodiscard]] static std::string_view kind_of(std::string_view op) {
    constexpr std::string_view quantized = "quantized_";
    if (op.starts_with(quantized)) op.remove_prefix(quantized.size());
    op = op.substr(0, op.find("_cell"));
    if (op == "lstm") return "LSTM";
    if (op == "gru") return "GRU";
    return op == "rnn_tanh" || op == "rnn_relu" ? "RNN" : "";
  }

  [[nodiscard]] static bool is_list(const Value* value) { return value->type()->kind() == c10::TypeKind::ListType; }

  static void follow(GraphPlace place, std::vector<GraphPlace>& open) {
    namespace prim = torch::jit::prim;
    const auto& [value, element] = place;
    const Node* node = value->node();
    const auto kind = node->kind();
    const std::size_t offset = value->offset();
    const auto push_element = [&](const Value* container, const Value* index) {
      const auto constant = torch::jit::toIValue(index);
      open.emplace_back(container,
                        constant && constant->isInt() && constant->toInt() >= 0 ? constant->toInt() : whole_value);
    };
    if (kind == prim::Param) {
      const Node* loop = node->owningBlock()->owningNode();
      if (loop != nullptr && loop->kind() == prim::Loop && offset > 0)
        open.emplace_back(loop->input(offset + 1), element);
    } else if (kind == prim::If) {
      for (const torch::jit::Block* block : node->blocks()) open.emplace_back(block->outputs()[offset], element);
    } else if (kind == prim::Loop) {
      open.emplace_back(node->input(offset + 2), element);
      open.emplace_back(node->blocks()[0]->outputs()[offset + 1], element);
    } else if (kind == prim::TupleConstruct || kind == prim::ListConstruct) {
      for (std::size_t i = 0; i < node->inputs().size(); ++i) {
        if (element == whole_value || std::cmp_equal(element, i)) open.emplace_back(node->input(i), whole_value);
      }
    } else if (kind == prim::TupleUnpack || kind == prim::ListUnpack) {
      open.emplace_back(node->input(0), static_cast<std::int64_t>(offset));
    } else if (kind == prim::TupleIndex || kind == torch::jit::aten::__getitem__) {
      push_element(node->input(0), node->input(1));
    } else if (kind == prim::unchecked_cast || kind == prim::unchecked_unwrap_optional ||
               kind == torch::jit::aten::_unwrap_optional) {
      open.emplace_back(node->input(0), element);
    } else if (kind != prim::GetAttr && !takes_shape_only(kind.toUnqualString())) {
      for (const Value* input : node->inputs()) open.emplace_back(input, whole_value);
    }
  }

  /// What stood there before, in this step.
  void follow_earlier(const Value* value, std::vector<GraphPlace>& open) const {
    const Node* node = value->node();
    if (node->kind() == torch::jit::prim::Param) {
      const Node* loop = node->owningBlock()->owningNode();
      if (loop == nullptr || loop->kind() != torch::jit::prim::Loop || value->offset() == 0) return;
      open.emplace_back(loop->blocks()[0]->outputs()[value->offset()], whole_value);
    } else if (const std::string path = path_of(value); !path.empty()) {
      const auto [begin, end] = left_.equal_range(path);
      for (auto left = begin; left != end; ++left) open.push_back(left->second);
    }
  }

  [[nodiscard]] static bool takes_shape_only(std::string_view op) {
    constexpr std::array ops{"size",      "dim",      "len",   "zeros",     "zeros_like", "ones",       "ones_like",
                             "new_zeros", "new_ones", "empty", "new_empty", "empty_like", "full",       "full_like",
                             "new_full",  "numel",    "dtype", "device",    "layout",     "NumToTensor"};
    return std::any_of(ops.begin(), ops.end(), [op](const char* known) { return op == known; });
  }

  /// What is written into a value, or into a view of it, after it was made.
  // NOLINTNEXTLINE(misc-no-recursion): as deep as views of views
  static void follow_writes(const Value* value, std::vector<GraphPlace>& open) {
    constexpr std::array views{"slice", "select", "view", "narrow", "unsqueeze", "squeeze", "alias", "detach"};
    if (value->type()->kind() != c10::TypeKind::TensorType) return;
    for (const torch::jit::Use& use : value->uses()) {
      const std::string_view op = use.user->kind().toUnqualString();
      if (use.offset != 0 || op.starts_with("__")) continue;
      if (op.ends_with('_')) {
        for (std::size_t i = 1; i < use.user->inputs().size(); ++i) open.emplace_back(use.user->input(i), whole_value);
      } else if (std::any_of(views.begin(), views.end(), [op](const char* view) { return op == view; })) {
        follow_writes(use.user->output(), open);
      }
    }
  }

  std::shared_ptr<torch::jit::Graph> graph_;
  std::vector<RecurrentNode> layers_;
  std::multimap<std::string, GraphPlace> left_;  ///< what is written into attributes, by their paths
};

}  // namespace ganglion::detail
