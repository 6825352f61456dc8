#pragma once

// What the recurrent layers of a TorchScript program start from: kept state, or constants. Part of the LibTorch
// engine's translation unit.

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/libtorch/module.hpp"

namespace ganglion::detail {

class MemoryTrace {
 public:
  /// `state` are the buffers that are kept from step to step.
  MemoryTrace(const torch::jit::Module& module, std::set<std::string> state)
      : graph_(module.get_method("forward").graph()->copy()), state_(std::move(state)) {
    torch::jit::Inline(*graph_);
    const auto& arguments = module.get_method("forward").function().getSchema().arguments();
    for (std::size_t i = 1; i < arguments.size(); ++i) {
      if (arguments[i].default_value()) {
        optional_.push_back(arguments[i].name());
      } else {
        observation_ = i;
      }
    }
  }

  /// A sentence for each layer that starts from a constant.
  [[nodiscard]] std::vector<std::string> forgotten() {
    look_into(graph_->block());
    if (sentences_.empty() && state_.empty()) look_at_arguments();
    return std::move(sentences_);
  }

 private:
  using Value = torch::jit::Value;
  using Node = torch::jit::Node;
  /// A value, or one element of a tuple or list.
  using Place = std::pair<const Value*, std::int64_t>;
  static constexpr std::int64_t whole_ = -1;

  // NOLINTNEXTLINE(misc-no-recursion): as deep as blocks are nested
  void look_into(const torch::jit::Block* block) {
    for (const Node* node : block->nodes()) {
      check(*node);
      for (const torch::jit::Block* inner : node->blocks()) look_into(inner);
    }
  }

  void check(const Node& node) {
    const std::string op = node.kind().toUnqualString();
    const bool is_cell = op.find("_cell") != std::string::npos;
    const std::string kind(kind_of(op));
    const std::size_t needed = is_cell ? 2 : 3;
    if (kind.empty() || node.inputs().size() < needed) return;
    const bool is_lstm = kind == "LSTM";
    // Of a packed sequence the second operand is the sizes of its steps.
    std::size_t operand = 1;
    if (!is_cell && !is_list(node.input(is_lstm ? 1 : 2))) operand = 2;
    std::vector<const char*> lost;
    std::vector<const char*> kept;
    const auto look = [&](std::int64_t element, const char* what) {
      (is_given({node.input(operand), element}) ? kept : lost).push_back(what);
    };
    look(is_lstm ? 0 : whole_, "hidden state");
    if (is_lstm) look(1, "cell state");
    if (!lost.empty()) report(kind, layer_of(node, operand + 1), lost, kept);
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

  void report(const std::string& kind, const std::string& layer, const std::vector<const char*>& lost,
              const std::vector<const char*>& kept) {
    std::string sentence = "the " + kind + " layer" + (layer.empty() ? "" : " '" + layer + "'");
    if (kept.empty()) {
      sentence +=
          " starts from a constant in every step: the net remembers nothing between steps; keep its state in buffers "
          "that forward(obs) writes and reset() restores, or write the policy with ganglion.export. It is right only "
          "where the policy was trained on windows of observations";
    } else {
      sentence += std::string(" is given its ") + kept[0] + ", but its " + lost[0] +
                  " starts from a constant in every step and is forgotten; keep it in a buffer, too";
    }
    if (std::find(sentences_.begin(), sentences_.end(), sentence) == sentences_.end()) sentences_.push_back(sentence);
  }

  /// Without a layer that we know: an argument for a state that nobody gives.
  void look_at_arguments() {
    for (const std::string& name : optional_) {
      constexpr std::array parts{"state", "hidden", "memory", "carry", "hx", "lstm", "gru", "rnn"};
      const bool sounds = name == "h" || name == "h0" || std::any_of(parts.begin(), parts.end(), [&](const char* part) {
                            return name.find(part) != std::string::npos;
                          });
      if (!sounds) continue;
      sentences_.push_back(
          "forward takes an argument '" + name +
          "' that sounds like a state and may be left out, which it is in every step: what it starts "
          "from is forgotten; keep the state in buffers that forward(obs) writes and reset() restores, "
          "or write the policy with ganglion.export");
    }
  }

  /// Whether kept state or the observation reaches it. Shapes and devices do not count, nor does what a loop carries
  /// from one of its turns to the next.
  [[nodiscard]] bool is_given(Place start) const {
    std::set<Place> seen;
    std::vector<Place> open{start};
    while (!open.empty()) {
      const Place place = open.back();
      open.pop_back();
      if (!seen.insert(place).second) continue;
      if (is_source(place.first)) return true;
      follow(place, open);
      follow_writes(place.first, open);
    }
    return false;
  }

  [[nodiscard]] bool is_source(const Value* value) const {
    const Node* node = value->node();
    if (node->kind() == torch::jit::prim::GetAttr) return state_.contains(path_of(value));
    return node->kind() == torch::jit::prim::Param && node->owningBlock() == graph_->block() &&
           value->offset() == observation_;
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

  static void follow(Place place, std::vector<Place>& open) {
    namespace prim = torch::jit::prim;
    const auto& [value, element] = place;
    const Node* node = value->node();
    const auto kind = node->kind();
    const std::size_t offset = value->offset();
    const auto push_element = [&](const Value* container, const Value* index) {
      const auto constant = torch::jit::toIValue(index);
      open.emplace_back(container,
                        constant && constant->isInt() && constant->toInt() >= 0 ? constant->toInt() : whole_);
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
        if (element == whole_ || std::cmp_equal(element, i)) open.emplace_back(node->input(i), whole_);
      }
    } else if (kind == prim::TupleUnpack || kind == prim::ListUnpack) {
      open.emplace_back(node->input(0), static_cast<std::int64_t>(offset));
    } else if (kind == prim::TupleIndex || kind == torch::jit::aten::__getitem__) {
      push_element(node->input(0), node->input(1));
    } else if (kind == prim::unchecked_cast || kind == prim::unchecked_unwrap_optional ||
               kind == torch::jit::aten::_unwrap_optional) {
      open.emplace_back(node->input(0), element);
    } else if (kind != prim::GetAttr && !takes_shape_only(kind.toUnqualString())) {
      for (const Value* input : node->inputs()) open.emplace_back(input, whole_);
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
  static void follow_writes(const Value* value, std::vector<Place>& open) {
    constexpr std::array views{"slice", "select", "view", "narrow", "unsqueeze", "squeeze", "alias", "detach"};
    if (value->type()->kind() != c10::TypeKind::TensorType) return;
    for (const torch::jit::Use& use : value->uses()) {
      const std::string_view op = use.user->kind().toUnqualString();
      if (use.offset != 0 || op.starts_with("__")) continue;
      if (op.ends_with('_')) {
        for (std::size_t i = 1; i < use.user->inputs().size(); ++i) open.emplace_back(use.user->input(i), whole_);
      } else if (std::any_of(views.begin(), views.end(), [op](const char* view) { return op == view; })) {
        follow_writes(use.user->output(), open);
      }
    }
  }

  /// Where the layer hangs, by its first weight; "" where that is no attribute.
  [[nodiscard]] static std::string layer_of(const Node& node, std::size_t operand) {
    if (node.inputs().size() <= operand) return "";
    const Value* weights = node.input(operand);
    if (weights->node()->kind() == torch::jit::prim::ListConstruct && !weights->node()->inputs().empty()) {
      weights = weights->node()->input(0);
    }
    const std::string path = path_of(weights);
    const std::size_t dot = path.rfind('.');
    return dot == std::string::npos ? "" : path.substr(0, dot);
  }

  std::shared_ptr<torch::jit::Graph> graph_;
  std::set<std::string> state_;
  std::size_t observation_ = 1;
  std::vector<std::string> optional_;
  std::vector<std::string> sentences_;
};

}  // namespace ganglion::detail
