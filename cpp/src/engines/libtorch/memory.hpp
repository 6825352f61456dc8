#pragma once

// What the recurrent layers of a TorchScript program start from: kept state, or constants. Part of the LibTorch
// engine's translation unit.

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engines/libtorch/forward_graph.hpp"
#include "engines/libtorch/module.hpp"

namespace ganglion::detail {

class MemoryTrace {
 public:
  /// `state` are the buffers that are kept from step to step.
  MemoryTrace(const torch::jit::Module& module, const std::set<std::string>& state)
      : module_(module), program_(module), state_(state) {
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
    for (const RecurrentNode& layer : program_.layers()) check(layer);
    if (sentences_.empty() && state_.empty()) look_at_arguments();
    if (sentences_.empty() && state_.empty() && program_.layers().empty()) look_at_names();
    return std::move(sentences_);
  }

 private:
  void check(const RecurrentNode& layer) {
    std::vector<const char*> lost;
    std::vector<const char*> kept;
    for (const RecurrentNode::Start& start : layer.starts) {
      const bool is_given = program_.reaches(start.place, [&](const torch::jit::Value* value) { return gives(value); });
      (is_given ? kept : lost).push_back(start.name);
    }
    if (!lost.empty()) report(layer, lost, kept);
  }

  /// Whether it is kept state or the observation.
  [[nodiscard]] bool gives(const torch::jit::Value* value) const {
    const torch::jit::Node* node = value->node();
    if (node->kind() == torch::jit::prim::GetAttr) return state_.contains(ForwardGraph::path_of(value));
    return node->kind() == torch::jit::prim::Param && node->owningBlock() == program_.graph()->block() &&
           value->offset() == observation_;
  }

  void report(const RecurrentNode& layer, const std::vector<const char*>& lost, const std::vector<const char*>& kept) {
    std::string sentence = layer.name();
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

  /// A cell that a trace has taken apart: only the names of its weights tell.
  void look_at_names() {
    for (const auto& weight : module_.named_parameters()) {
      constexpr std::array parts{"weight_hh", "weight_ih", "bias_hh", "bias_ih"};
      if (std::ranges::none_of(parts, [&](const char* part) { return weight.name.find(part) != std::string::npos; })) {
        continue;
      }
      sentences_.push_back("the weight '" + weight.name +
                           "' is that of a recurrent layer, but the file has no state: the net remembers nothing "
                           "between steps; keep its state in buffers that forward(obs) writes and reset() restores "
                           "(torch.jit.trace leaves out what is assigned to self), or write the policy with "
                           "ganglion.export");
      return;
    }
  }

  const torch::jit::Module& module_;
  ForwardGraph program_;
  std::set<std::string> state_;
  std::size_t observation_ = 1;
  std::vector<std::string> optional_;
  std::vector<std::string> sentences_;
};

}  // namespace ganglion::detail
