#pragma once

// What a forward() takes and gives, and which of its arguments are observations and which the state. Part of the
// LibTorch engine's translation unit.

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/libtorch/module.hpp"
#include "engines/libtorch/told.hpp"

namespace ganglion::detail {

class ForwardArguments {
 public:
  enum class Role : std::uint8_t { undecided, observation, state, left_out };

  struct Argument {
    std::string name;
    c10::TypePtr type;  ///< without Optional
    bool may_be_left_out;
    std::size_t elements;           ///< of a tuple of tensors; 0: one tensor, or something else
    std::vector<std::string> keys;  ///< of a dictionary
    Role role = Role::undecided;

    [[nodiscard]] bool is_tensor() const { return type->kind() == c10::TypeKind::TensorType; }
    [[nodiscard]] bool is_dictionary() const { return type->kind() == c10::TypeKind::DictType; }
  };

  /// A tensor among the results: result[outer], or result[outer][inner]; outer -1: the result itself.
  struct Leaf {
    int outer;
    int inner;
    int siblings;  ///< elements of the inner tuple; 0: there is none
  };

  ForwardArguments(torch::jit::Module module, Told told) : module_(std::move(module)), told_(std::move(told)) {
    read_schema();
  }

  /// Finds the roles. Throws `ModuleRefusal`.
  void choose() {
    check_schema();
    choose_roles();
  }

  [[nodiscard]] const c10::FunctionSchema& schema() const {
    return module_.get_method("forward").function().getSchema();
  }
  [[nodiscard]] const std::vector<Argument>& all() const { return arguments_; }
  [[nodiscard]] const std::vector<Leaf>& leaves() const { return leaves_; }
  /// Names of the observations.
  [[nodiscard]] const std::vector<std::string>& parts() const { return parts_; }

  /// The form that the probe knows, or the wrong one that it refuses.
  [[nodiscard]] bool is_plain() const {
    std::size_t needed = 0;
    bool takes_state = false;
    bool takes_other = false;
    for (const Argument& argument : arguments_) {
      const bool is_known = argument.is_tensor() || argument.elements > 0;
      if (!argument.may_be_left_out) {
        ++needed;
        if (!argument.is_tensor()) takes_other = true;
      } else if (is_known) {
        takes_state = true;
      }
    }
    if (needed == 0) return true;
    return needed == 1 && !takes_other && (gives_one_tensor() || !takes_state);
  }

  [[nodiscard]] std::size_t slots() const {
    std::size_t count = 0;
    for (const Argument& argument : arguments_) {
      if (argument.role == Role::state) count += std::max<std::size_t>(argument.elements, 1);
    }
    return count;
  }

  [[nodiscard]] bool state_comes_first() const {
    const auto first = std::ranges::find_if(
        arguments_, [](const Argument& a) { return a.role == Role::state || a.role == Role::observation; });
    return first->role == Role::state;
  }

  /// What its slots are called: the argument; of a pair "h" and "c"; of other tuples the argument and a number.
  [[nodiscard]] std::vector<std::string> slots_of(const Argument& argument) const {
    if (argument.elements == 0) return {argument.name == "policy" ? "policy_state" : argument.name};
    const bool is_taken =
        std::ranges::any_of(arguments_, [&](const Argument& other) { return other.name == "h" || other.name == "c"; });
    const auto is_pair = [](const Argument& other) { return other.elements == 2; };
    if (argument.elements == 2 && !is_taken && std::ranges::count_if(arguments_, is_pair) == 1) return {"h", "c"};
    std::vector<std::string> names;
    for (std::size_t i = 0; i < argument.elements; ++i) names.push_back(argument.name + "_" + std::to_string(i));
    return names;
  }

 private:
  void read_schema() {
    const auto& arguments = schema().arguments();
    for (std::size_t i = 1; i < arguments.size(); ++i) {  // the first one is self
      c10::TypePtr type = arguments[i].type();
      bool may_be_left_out = arguments[i].default_value().has_value();
      if (const auto optional = type->cast<c10::OptionalType>()) {
        type = optional->getElementType();
        may_be_left_out = true;
      }
      std::size_t elements = 0;
      if (const auto tuple = type->cast<c10::TupleType>()) {
        const auto parts = tuple->elements();
        const bool tensors = std::all_of(parts.begin(), parts.end(), is_tensor_type);
        elements = tensors ? parts.size() : 0;
      }
      arguments_.push_back({arguments[i].name(), type, may_be_left_out, elements, {}});
    }
    flatten(schema().returns().front().type());
  }

  [[nodiscard]] static bool is_tensor_type(const c10::TypePtr& type) {
    return type->kind() == c10::TypeKind::TensorType;
  }

  /// The tensors among the results; none where there is anything else.
  void flatten(const c10::TypePtr& type) {
    if (is_tensor_type(type)) {
      leaves_.push_back({-1, -1, 0});
      return;
    }
    const auto tuple = type->cast<c10::TupleType>();
    if (!tuple) return;
    std::vector<Leaf> found;
    for (std::size_t i = 0; i < tuple->elements().size(); ++i) {
      const c10::TypePtr& part = tuple->elements()[i];
      const auto inner = part->cast<c10::TupleType>();
      if (is_tensor_type(part)) {
        found.push_back({static_cast<int>(i), -1, 0});
      } else if (inner && std::all_of(inner->elements().begin(), inner->elements().end(), is_tensor_type)) {
        const auto siblings = static_cast<int>(inner->elements().size());
        for (int j = 0; j < siblings; ++j) found.push_back({static_cast<int>(i), j, siblings});
      } else {
        return;
      }
    }
    leaves_ = std::move(found);
  }

  [[nodiscard]] bool gives_one_tensor() const { return leaves_.size() == 1 && leaves_[0].outer < 0; }

  [[noreturn]] void refuse_arguments(const std::string& why) const {
    std::vector<std::string> needed;
    for (const Argument& argument : arguments_) {
      if (!argument.may_be_left_out) needed.push_back(argument.name);
    }
    throw ModuleRefusal("forward-arguments", "forward(" + join(needed) + ") " + why +
                                                 "; a file without a contract takes tensors, a dictionary of tensors, "
                                                 "or a state of tensors that it gives back; write this policy with "
                                                 "ganglion.export instead");
  }

  void check_schema() {
    for (Argument& argument : arguments_) {
      if (argument.is_dictionary()) read_keys(argument);
      const bool is_known = argument.is_tensor() || argument.elements > 0 || argument.is_dictionary();
      if (!is_known && !argument.may_be_left_out) {
        refuse_arguments("needs '" + argument.name + "' of the type " + argument.type->repr_str());
      }
      if (!is_known) argument.role = Role::left_out;
    }
    if (leaves_.empty()) {
      throw ModuleRefusal("forward-result",
                          "forward(obs) returns " + schema().returns().front().type()->str() +
                              " instead of the action alone; export a module that returns one tensor");
    }
  }

  /// The keys of a dictionary that the program looks up by name.
  void read_keys(Argument& argument) {
    const auto type = argument.type->cast<c10::DictType>();
    if (type->getKeyType()->kind() != c10::TypeKind::StringType || !is_tensor_type(type->getValueType())) {
      refuse_arguments("needs '" + argument.name + "' of the type " + argument.type->repr_str());
    }
    const auto graph = module_.get_method("forward").graph()->copy();
    torch::jit::Inline(*graph);
    const auto place = static_cast<std::size_t>(&argument - arguments_.data()) + 1;
    bool is_open = false;
    for (const torch::jit::Use& use : graph->inputs()[place]->uses()) {
      const std::string_view op = use.user->kind().toUnqualString();
      if (op != "__getitem__" && op != "get" && op != "__contains__") is_open = true;
      const auto key = use.user->inputs().size() > 1 ? torch::jit::toIValue(use.user->input(1)) : std::nullopt;
      if (!key || !key->isString()) {
        is_open = true;
      } else if (op == "__getitem__" && std::ranges::find(argument.keys, key->toStringRef()) == argument.keys.end()) {
        argument.keys.push_back(key->toStringRef());
      }
    }
    if (is_open || argument.keys.empty()) {
      refuse_arguments("takes a dictionary '" + argument.name + "' whose keys cannot be read off its program");
    }
    std::ranges::sort(argument.keys);
  }

  [[nodiscard]] static bool sounds_like_state(std::string_view name) {
    constexpr std::array whole{"h",    "c",   "hc",  "hx",  "cx",  "h0",     "c0",     "h_0",   "c_0", "h_in",
                               "c_in", "h_t", "c_t", "h_n", "c_n", "h_prev", "c_prev", "carry", "mem", "cell"};
    constexpr std::array parts{"state", "hidden", "memory", "carry", "hx", "lstm", "gru", "rnn", "recurrent"};
    if (name.find("obs") != std::string_view::npos || name.find("action") != std::string_view::npos) return false;
    const auto is_whole = [name](const char* known) { return name == known; };
    const auto has = [name](const char* part) { return name.find(part) != std::string_view::npos; };
    return std::any_of(whole.begin(), whole.end(), is_whole) || std::any_of(parts.begin(), parts.end(), has);
  }

  [[nodiscard]] static bool sounds_like_observation(std::string_view name) {
    constexpr std::array parts{"obs",    "act",   "command", "cmd",   "goal",  "target", "image",   "img",
                               "camera", "depth", "vision",  "scan",  "lidar", "imu",    "proprio", "joint",
                               "pos",    "vel",   "height",  "phase", "time",  "latent", "vec",     "input"};
    const auto has = [name](const char* part) { return name.find(part) != std::string_view::npos; };
    return std::any_of(parts.begin(), parts.end(), has);
  }

  [[nodiscard]] bool is_told_state(const Argument& argument) const {
    const auto is_named = [&](const std::string& slot) { return told_.names_state(slot); };
    return is_named(argument.name) || std::ranges::any_of(slots_of(argument), is_named);
  }

  [[nodiscard]] Role role_of(const Argument& argument) const {
    if (argument.is_dictionary()) return Role::observation;
    if (told_.state) return is_told_state(argument) ? Role::state : Role::observation;
    if (argument.elements > 0 || sounds_like_state(argument.name)) return Role::state;
    return sounds_like_observation(argument.name) ? Role::observation : Role::undecided;
  }

  /// Which arguments are observations, and which are the state: told, of a type that says so, by name, else by place.
  void choose_roles() {
    std::size_t slots = 0;
    for (Argument& argument : arguments_) {
      if (argument.role != Role::undecided) continue;
      argument.role = role_of(argument);
      // What may be left out and is nothing that is given back is left out.
      if (argument.may_be_left_out && (argument.role != Role::state || gives_one_tensor())) {
        argument.role = Role::left_out;
      }
      if (argument.role == Role::state) slots += std::max<std::size_t>(argument.elements, 1);
    }
    const auto is_observation = [](const Argument& argument) { return argument.role == Role::observation; };
    bool has_observation = std::ranges::any_of(arguments_, is_observation);
    for (Argument& argument : arguments_) {
      if (argument.role != Role::undecided) continue;
      const bool is_fed = has_observation && slots + 1 < leaves_.size();
      argument.role = is_fed ? Role::state : Role::observation;
      if (is_fed) ++slots;
      has_observation = true;
    }
    if (!has_observation) refuse_arguments("takes nothing but a state");
    if (slots > 0 && slots >= leaves_.size()) {
      std::vector<std::string> names;
      for (const Argument& argument : arguments_) {
        if (argument.role == Role::state) names.push_back(argument.name);
      }
      throw ModuleRefusal("state-not-fed",
                          "forward takes the state " + join(names) +
                              ", but does not return what it becomes: it gives " + std::to_string(leaves_.size()) +
                              (leaves_.size() == 1 ? " tensor" : " tensors") + " beside " + std::to_string(slots) +
                              " of the state; export a module that returns the action and the next state, or name what "
                              "is the state");
    }
    name_parts();
  }

  void name_parts() {
    for (const Argument& argument : arguments_) {
      if (argument.role != Role::observation) continue;
      if (argument.elements > 0) {
        for (std::size_t i = 0; i < argument.elements; ++i) parts_.push_back(argument.name + "_" + std::to_string(i));
      } else if (argument.is_dictionary()) {
        parts_.insert(parts_.end(), argument.keys.begin(), argument.keys.end());
      } else {
        parts_.push_back(argument.name);
      }
    }
    told_.check_parts(parts_);
  }

  torch::jit::Module module_;
  Told told_;
  std::vector<Argument> arguments_;
  std::vector<Leaf> leaves_;
  std::vector<std::string> parts_;
};

}  // namespace ganglion::detail
