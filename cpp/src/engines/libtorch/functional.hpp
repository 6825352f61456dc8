#pragma once

// A forward() that takes several observations, a dictionary of them, or its state, and gives the next state back: as a
// module with forward(obs) that keeps the state in buffers, which is what the rest of the LibTorch engine runs. Part of
// its translation unit.

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engines/libtorch/arguments.hpp"
#include "engines/libtorch/module.hpp"
#include "engines/libtorch/told.hpp"
#include "engines/libtorch/trials.hpp"

namespace ganglion::detail {

/// The module that stands for one of another form.
struct Rewritten {
  torch::jit::Module module;
  std::vector<std::pair<std::string, std::int64_t>> inputs;  ///< name and elements, side by side in the observation
  bool without_rows = false;                                 ///< it takes an observation [n]
  std::map<std::string, std::string> fed;                    ///< state slots: "argument hc[0]"
  std::vector<std::string> notes;
};

class FunctionalForm {
 public:
  FunctionalForm(const torch::jit::Module& module, const Told& told)
      : original_(module), copy_(module.deepcopy()), forward_(copy_, told), trials_(copy_, told, forward_) {}

  /// None where forward takes one tensor and keeps its state by itself. Throws `ModuleRefusal`.
  [[nodiscard]] std::optional<Rewritten> rewrite() {
    if (forward_.is_plain()) return std::nullopt;
    forward_.choose();
    chosen_ = trials_.choose();
    return written();
  }

 private:
  using Role = ForwardArguments::Role;
  using Argument = ForwardArguments::Argument;
  using Leaf = ForwardArguments::Leaf;

  [[nodiscard]] std::string result_text(std::size_t index) const {
    const Leaf& leaf = forward_.leaves()[index];
    std::string text = "r";
    if (leaf.outer >= 0) text += "[" + std::to_string(leaf.outer) + "]";
    return leaf.inner < 0 ? text : text + "[" + std::to_string(leaf.inner) + "]";
  }

  /// The parts of the observation as they stand in the program.
  [[nodiscard]] std::vector<std::string> part_texts() const {
    std::vector<std::string> texts;
    std::int64_t begin = 0;
    for (const std::int64_t size : chosen_.sizes) {
      std::string text = "obs";
      if (forward_.parts().size() > 1)
        text += "[..., " + std::to_string(begin) + ":" + std::to_string(begin + size) + "]";
      if (chosen_.form == 1) text += chosen_.rows_axis == 1 ? ".unsqueeze(0)" : ".unsqueeze(1)";
      texts.push_back(text);
      begin += size;
    }
    return texts;
  }

  [[nodiscard]] Rewritten written() const {
    Rewritten result;
    result.module = torch::jit::Module("__torch__.ganglion.Functional");
    result.module.register_module("policy", original_);
    result.without_rows = chosen_.form == 2;
    const std::vector<std::string> parts = part_texts();
    std::string given;
    std::string after;
    std::string reset;
    std::size_t part = 0;
    std::size_t slot = 0;
    bool is_skipped = false;
    for (const Argument& argument : forward_.all()) {
      if (argument.role == Role::left_out) {
        is_skipped = true;
        continue;
      }
      std::vector<std::string> texts;
      if (argument.role == Role::state) {
        const std::vector<std::string> names = forward_.slots_of(argument);
        for (std::size_t i = 0; i < names.size(); ++i, ++slot) {
          result.module.register_buffer(names[i], trials_.zeros(chosen_.state[slot]));
          result.fed[names[i]] = argument.name + (argument.elements == 0 ? "" : "[" + std::to_string(i) + "]");
          after += "  self." + names[i] + " = " + result_text(chosen_.fed[slot]) + "\n";
          reset += "  self." + names[i] + " = torch.zeros_like(self." + names[i] + ")\n";
          texts.push_back("self." + names[i]);
        }
      } else {
        const std::size_t count =
            argument.is_dictionary() ? argument.keys.size() : std::max<std::size_t>(argument.elements, 1);
        for (std::size_t i = 0; i < count; ++i) texts.push_back(parts[part++]);
      }
      given += (given.empty() ? "" : ", ") + (is_skipped ? argument.name + "=" : std::string()) +
               expression(argument, texts);
    }
    result.module.define("def forward(self, obs: Tensor) -> Tensor:\n  r = self.policy.forward(" + given + ")\n" +
                         after + "  return " + result_text(chosen_.action) + "\n");
    for (const char* name : {"reset", "reset_memory"}) {
      if (!takes_nothing(original_, name)) continue;
      std::string method = "def ";
      for (const char* text : {name, "(self) -> None:\n  self.policy.", name, "()\n"}) method += text;
      result.module.define(method + reset);
    }
    result.module.eval();
    for (std::size_t i = 0; i < forward_.parts().size(); ++i)
      result.inputs.emplace_back(input_name(i), chosen_.sizes[i]);
    add_notes(result);
    return result;
  }

  /// One tensor is "obs", as everywhere; several have their names.
  [[nodiscard]] std::string input_name(std::size_t index) const {
    return forward_.parts().size() == 1 ? "obs" : forward_.parts()[index];
  }

  [[nodiscard]] static std::string expression(const Argument& argument, const std::vector<std::string>& texts) {
    if (argument.is_dictionary()) {
      std::string text;
      for (std::size_t i = 0; i < texts.size(); ++i) {
        text += (i == 0 ? "" : ", ") + quoted(argument.keys[i]) + ": " + texts[i];
      }
      return "{" + text + "}";
    }
    if (argument.elements == 0) return texts.front();
    return "(" + join(texts) + (texts.size() == 1 ? ",)" : ")");
  }

  [[nodiscard]] static std::string quoted(const std::string& key) {
    std::string text = "\"";
    for (const char c : key) text += (c == '"' || c == '\\' ? std::string("\\") : std::string()) + c;
    return text + "\"";
  }

  void add_notes(Rewritten& result) const {
    if (forward_.parts().size() > 1) {
      std::string text;
      for (std::size_t i = 0; i < forward_.parts().size(); ++i) {
        text += (i == 0 ? "" : ", ") + forward_.parts()[i] + " " + std::to_string(chosen_.sizes[i]);
      }
      result.notes.push_back("forward takes several observations, side by side here: " + text);
    }
    const std::size_t unread = forward_.leaves().size() - chosen_.fed.size() - 1;
    if (unread > 0) {
      result.notes.push_back("of the results of forward " + std::to_string(unread) +
                             (unread == 1 ? " is neither the action nor a state, and is"
                                          : " are neither the action nor a state, and are") +
                             " not read");
    }
  }

  const torch::jit::Module& original_;
  torch::jit::Module copy_;
  ForwardArguments forward_;
  ForwardTrials trials_;
  ForwardTrials::Trial chosen_{};
};

/// The module that stands for one of another form; see `FunctionalForm`.
[[nodiscard]] inline std::optional<Rewritten> rewritten_of(const torch::jit::Module& module, const Told& told) {
  if (!module.find_method("forward")) return std::nullopt;
  return FunctionalForm(module, told).rewrite();
}

}  // namespace ganglion::detail
