#pragma once

// Recurrent layers of a TorchScript program that take several observations in one step, and whose state is fed back.
// Part of the LibTorch engine's translation unit.

#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engines/libtorch/forward_graph.hpp"

namespace ganglion::detail {

class WindowTrace {
 public:
  /// `state` are the buffers that are kept from step to step.
  WindowTrace(const torch::jit::Module& module, std::set<std::string> state)
      : module_(module), program_(module), state_(std::move(state)) {}

  /// A sentence for each layer that goes on from the last step and then takes more than one. Nothing but running it
  /// tells how long a sequence is: what goes into the layers is noted beside. `observation` is of one row, all elements
  /// different; runs a step with `module`.
  [[nodiscard]] std::vector<std::string> windows(const at::Tensor& observation) {
    std::vector<Group> fed;
    for (const RecurrentNode& layer : program_.layers()) group_of(fed, layer).push_back(&layer);
    std::erase_if(fed, [&](const Group& group) { return !goes_on(group); });
    std::vector<std::string> sentences;
    if (fed.empty()) return sentences;
    std::vector<bool> is_chain;
    for (const Group& group : fed) is_chain.push_back(is_chained(group));
    const std::vector<Notes> noted = run(fed, observation);
    std::size_t at = 0;
    for (std::size_t i = 0; i < fed.size(); ++i) {
      const std::int64_t steps = steps_of(fed[i], noted, at, is_chain[i]);
      at += fed[i].size();
      if (steps < 2) continue;
      std::string sentence = fed[i].front()->name() + " runs over a sequence of length " + std::to_string(steps) +
                             " in every step and goes on from the state that the last step left: each control step "
                             "moves its memory by " +
                             std::to_string(steps) +
                             " observations; feed as many new ones in every step, or export a policy that takes one "
                             "observation per step";
      if (std::ranges::find(sentences, sentence) == sentences.end()) sentences.push_back(std::move(sentence));
    }
    return sentences;
  }

 private:
  using Group = std::vector<const RecurrentNode*>;  ///< of one layer
  using Notes = std::vector<at::Tensor>;            ///< what was given and the state that was left, run after run

  [[nodiscard]] static Group& group_of(std::vector<Group>& groups, const RecurrentNode& layer) {
    for (Group& group : groups) {
      if (group.front()->runs_with_weights_of(layer)) return group;
    }
    return groups.emplace_back();
  }

  /// Whether it starts from what the last step left.
  [[nodiscard]] bool goes_on(const Group& group) const {
    const auto is_kept = [&](const torch::jit::Value* value) {
      return value->node()->kind() == torch::jit::prim::GetAttr && state_.contains(ForwardGraph::path_of(value));
    };
    return std::ranges::any_of(group, [&](const RecurrentNode* layer) {
      return std::ranges::any_of(layer->starts,
                                 [&](const auto& start) { return program_.reaches(start.place, is_kept); });
    });
  }

  /// Whether one run starts from what an earlier one of the same step has left.
  [[nodiscard]] bool is_chained(const Group& group) const {
    for (std::size_t i = 0; i < group.size(); ++i) {
      const auto is_earlier = [&](const torch::jit::Value* value) {
        for (std::size_t j = 0; j < group.size(); ++j) {
          if (value->node() == group[j]->node && (j < i || shares_loop(*group[i], *group[j]))) return true;
        }
        return false;
      };
      for (const RecurrentNode::Start& start : group[i]->starts) {
        if (program_.reaches(start.place, is_earlier, /*in_time=*/true)) return true;
      }
    }
    return false;
  }

  [[nodiscard]] static bool shares_loop(const RecurrentNode& a, const RecurrentNode& b) {
    return std::ranges::any_of(a.loops, [&](const torch::jit::Node* loop) { return b.loops.contains(loop); });
  }

  [[nodiscard]] std::vector<Notes> run(const std::vector<Group>& groups, const at::Tensor& observation) {
    namespace jit = torch::jit;
    jit::Graph& graph = *program_.graph();
    jit::Node* const begin = *graph.block()->nodes().begin();
    std::size_t count = 0;
    for (const Group& group : groups) {
      for (const RecurrentNode* layer : group) {
        jit::Value* const list = graph.createList(c10::TensorType::get(), {})->insertBefore(begin)->output();
        const auto note = [&](jit::Value* value) {
          graph.insert(jit::aten::append, {list, graph.insert(jit::aten::clone, {value})});
        };
        {
          const jit::WithInsertPoint before(layer->node);
          note(layer->node->input(0));
        }
        {
          const jit::WithInsertPoint behind(layer->node->next());
          note(layer->node->output(layer->is_cell ? 0 : 1));
        }
        graph.registerOutput(list);
        ++count;
      }
    }
    jit::Stack stack{module_._ivalue()};
    const auto& arguments = module_.get_method("forward").function().getSchema().arguments();
    for (std::size_t i = 1; i < arguments.size(); ++i) {
      stack.push_back(arguments[i].default_value().value_or(jit::IValue(observation)));
    }
    jit::GraphExecutor(program_.graph(), "forward").run(stack);
    std::vector<Notes> noted;
    for (std::size_t i = stack.size() - count; i < stack.size(); ++i) noted.push_back(stack[i].toTensorVector());
    return noted;
  }

  /// Observations that go through a layer, one after the other; the same one again does not count.
  [[nodiscard]] static std::int64_t steps_of(const Group& group, const std::vector<Notes>& noted, std::size_t at,
                                             bool is_chain) {
    std::int64_t total = 0;
    std::int64_t longest = 0;
    Notes seen;
    for (const RecurrentNode* layer : group) {
      const Notes& notes = noted[at++];
      for (std::size_t i = 0; i + 1 < notes.size(); i += 2) {
        const at::Tensor& given = notes[i];
        const std::int64_t rows = notes[i + 1].dim() == 3 ? notes[i + 1].size(1) : 1;
        const std::int64_t steps =
            layer->is_cell ? 1 : given.numel() / std::max<std::int64_t>(1, given.size(-1) * rows);
        longest = std::max(longest, steps);
        if (std::ranges::any_of(seen, [&](const at::Tensor& other) { return same(given, other); })) continue;
        total += steps;
        seen.push_back(given);
      }
    }
    return is_chain ? total : longest;
  }

  torch::jit::Module module_;
  ForwardGraph program_;
  std::set<std::string> state_;
};

}  // namespace ganglion::detail
