#pragma once

// A forward() that takes several observations, a dictionary of them, or its state, and gives the next state back: as a
// module with forward(obs) that keeps the state in buffers, which is what the rest of the LibTorch engine runs. Part of
// its translation unit.

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/libtorch/module.hpp"
#include "engines/libtorch/told.hpp"

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
  FunctionalForm(const torch::jit::Module& module, Told told)
      : original_(module),
        told_(std::move(told)),
        module_(module.deepcopy()),
        buffers_(buffers_of(module_)),
        at_load_(buffers_) {}

  /// None where forward takes one tensor and keeps its state by itself. Throws `ModuleRefusal`.
  [[nodiscard]] std::optional<Rewritten> rewrite() {
    if (!module_.find_method("forward")) return std::nullopt;
    read_schema();
    if (is_plain()) return std::nullopt;
    check_schema();
    choose_roles();
    find_shapes();
    check_initial();
    return written();
  }

 private:
  using Shape = std::vector<std::int64_t>;
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

  /// What has run: sizes, shapes, and which results feed the state.
  struct Trial {
    std::vector<std::int64_t> sizes;
    std::size_t form;
    std::vector<Shape> state;
    std::vector<std::size_t> fed;
    std::size_t action;
    std::int64_t action_size;
    int rows_axis;  ///< where form 1 has its rows, if it runs several: 0 or 1; else -1

    [[nodiscard]] std::int64_t total() const {
      std::int64_t sum = 0;
      for (const Shape& shape : state) sum += elements_of(shape);
      return sum;
    }
  };

  static constexpr std::int64_t most_layers_ = 8;
  static constexpr std::size_t most_trials_ = 4096;
  static constexpr std::array form_text_{"[1, n]", "[1, 1, n]", "[n]"};

  [[nodiscard]] static std::int64_t elements_of(const Shape& shape) {
    std::int64_t product = 1;
    for (const std::int64_t size : shape) product *= size;
    return product;
  }

  [[nodiscard]] const c10::FunctionSchema& schema() const {
    return module_.get_method("forward").function().getSchema();
  }

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

  [[nodiscard]] std::size_t slots() const {
    std::size_t count = 0;
    for (const Argument& argument : arguments_) {
      if (argument.role == Role::state) count += std::max<std::size_t>(argument.elements, 1);
    }
    return count;
  }

  /// Runs forward with what is given; none, with the reason kept, where the program refuses it.
  [[nodiscard]] std::optional<std::vector<at::Tensor>> run(const std::vector<at::Tensor>& observation,
                                                           const std::vector<at::Tensor>* state) {
    std::vector<torch::jit::IValue> given;
    std::size_t part = 0;
    std::size_t slot = 0;
    const auto tuple_of = [](const std::vector<at::Tensor>& from, std::size_t& at, std::size_t count) {
      std::vector<torch::jit::IValue> elements;
      for (std::size_t i = 0; i < count; ++i) elements.emplace_back(from[at++]);
      return c10::ivalue::Tuple::create(std::move(elements));
    };
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      const Argument& argument = arguments_[i];
      if (argument.role == Role::left_out || (argument.role == Role::state && state == nullptr)) {
        given.push_back(schema().arguments()[i + 1].default_value().value_or(torch::jit::IValue()));
      } else if (argument.is_dictionary()) {
        const c10::Dict<std::string, at::Tensor> entries;
        for (const std::string& key : argument.keys) entries.insert(key, observation[part++]);
        given.emplace_back(entries);
      } else {
        const bool is_state = argument.role == Role::state;
        const std::vector<at::Tensor>& from = is_state ? *state : observation;
        std::size_t& at = is_state ? slot : part;
        if (argument.elements > 0) {
          given.emplace_back(tuple_of(from, at, argument.elements));
        } else {
          given.emplace_back(from[at++]);
        }
      }
    }
    std::optional<std::vector<at::Tensor>> found;
    try {
      found = tensors_of(module_.forward(std::move(given)));
    } catch (const std::exception& error) {
      why_ = last_line(error);
    }
    at_load_.restore(buffers_);
    return found;
  }

  [[nodiscard]] std::vector<at::Tensor> tensors_of(const torch::jit::IValue& result) const {
    std::vector<at::Tensor> found;
    for (const Leaf& leaf : leaves_) {
      torch::jit::IValue value = result;
      if (leaf.outer >= 0) value = value.toTupleRef().elements()[static_cast<std::size_t>(leaf.outer)];
      if (leaf.inner >= 0) value = value.toTupleRef().elements()[static_cast<std::size_t>(leaf.inner)];
      found.push_back(value.toTensor());
    }
    return found;
  }

  [[nodiscard]] at::Tensor zeros(const Shape& shape) const { return at::zeros(shape, dtype_); }

  [[nodiscard]] std::vector<at::Tensor> observation_of(const std::vector<std::int64_t>& sizes, std::size_t form,
                                                       std::int64_t rows = 1, int rows_axis = 0) const {
    std::vector<at::Tensor> given;
    for (const std::int64_t size : sizes) {
      if (form == 2) given.push_back(zeros({size}));
      if (form == 1) given.push_back(zeros(rows_axis == 0 ? Shape{rows, 1, size} : Shape{1, rows, size}));
      if (form == 0) given.push_back(zeros({rows, size}));
    }
    return given;
  }

  [[nodiscard]] std::vector<at::Tensor> state_of(const std::vector<Shape>& shapes) const {
    std::vector<at::Tensor> given;
    for (const Shape& shape : shapes) given.push_back(zeros(shape));
    return given;
  }

  /// Tries one combination, and keeps it where every state comes back in its own shape.
  void attempt(const std::vector<std::int64_t>& sizes, std::size_t form, const Shape& shape) {
    const std::vector<Shape> state(slots(), shape);
    const auto given = state_of(state);
    const auto results = run(observation_of(sizes, form), &given);
    if (!results) return;
    const auto fed = feeding(state, *results);
    if (!fed) return;
    std::size_t action = 0;
    while (std::ranges::find(*fed, action) != fed->end()) ++action;
    const std::int64_t action_size = (*results)[action].numel();
    if (action_size == 0) return;
    Trial trial{sizes, form, state, *fed, action, action_size, -1};
    trial.rows_axis = axis_of_rows(trial);
    trials_.push_back(std::move(trial));
  }

  /// Which results have the shapes of the state, in the order of the state; none where no choice does.
  [[nodiscard]] std::optional<std::vector<std::size_t>> feeding(const std::vector<Shape>& state,
                                                                const std::vector<at::Tensor>& results) {
    std::vector<std::vector<std::size_t>> ways;
    std::vector<std::size_t> chosen;
    // NOLINTNEXTLINE(misc-no-recursion): as deep as there are slots
    const auto choose = [&](auto&& self, std::size_t from) -> void {
      if (chosen.size() == state.size()) {
        if (chosen.size() < results.size()) ways.push_back(chosen);
        return;
      }
      for (std::size_t i = from; i < results.size(); ++i) {
        if (results[i].sizes() != at::IntArrayRef(state[chosen.size()])) continue;
        chosen.push_back(i);
        self(self, i + 1);
        chosen.pop_back();
      }
    };
    choose(choose, 0);
    if (ways.empty()) return std::nullopt;
    const auto is_nested = [&](const std::vector<std::size_t>& way) { return keeps_tuples(way); };
    if (std::ranges::any_of(ways, is_nested)) std::erase_if(ways, [&](const auto& way) { return !keeps_tuples(way); });
    if (ways.size() > 1 && results.size() > state.size() + 1) {
      is_open_ = true;
      return std::nullopt;
    }
    // torch returns what it computes and then its state; where the state comes first, so does what it becomes.
    const std::vector<std::size_t>& way = state_comes_first() ? ways.front() : ways.back();
    const std::size_t begin = state_comes_first() ? 0 : results.size() - way.size();
    if (is_strict_ && !way.empty() && (way.front() != begin || way.back() != begin + way.size() - 1))
      return std::nullopt;
    return way;
  }

  [[nodiscard]] bool state_comes_first() const {
    const auto first = std::ranges::find_if(
        arguments_, [](const Argument& a) { return a.role == Role::state || a.role == Role::observation; });
    return first->role == Role::state;
  }

  /// Whether every tuple of the state is fed by one tuple.
  [[nodiscard]] bool keeps_tuples(const std::vector<std::size_t>& way) const {
    std::size_t at = 0;
    for (const Argument& argument : arguments_) {
      if (argument.role != Role::state) continue;
      const std::size_t count = std::max<std::size_t>(argument.elements, 1);
      for (std::size_t i = 0; i < argument.elements; ++i) {
        const Leaf& leaf = leaves_[way[at + i]];
        if (leaf.outer != leaves_[way[at]].outer || std::cmp_not_equal(leaf.inner, i)) return false;
        if (std::cmp_not_equal(leaf.siblings, argument.elements)) return false;
      }
      at += count;
    }
    return true;
  }

  /// Where an observation [1, 1, n] has its rows: 0 or 1; for other forms 0 where several rows run; -1 where none do.
  [[nodiscard]] int axis_of_rows(const Trial& trial) {
    constexpr std::int64_t rows = 3;
    if (trial.form == 2) return -1;
    std::vector<Shape> state = trial.state;
    for (Shape& shape : state) {
      const std::size_t axis = shape.size() == 3 ? 1 : 0;
      if (shape.size() < 2 || shape[axis] != 1) return -1;
      shape[axis] = rows;
    }
    const auto given = state_of(state);
    for (const int axis : {0, 1}) {
      if (axis == 1 && trial.form == 0) break;
      const auto results = run(observation_of(trial.sizes, trial.form, rows, axis), &given);
      if (!results || (*results)[trial.action].numel() != rows * trial.action_size) continue;
      const auto is_fed = [&](std::size_t i) { return (*results)[trial.fed[i]].sizes() == at::IntArrayRef(state[i]); };
      bool fits = true;
      for (std::size_t i = 0; i < state.size(); ++i) fits = fits && is_fed(i);
      if (fits) return axis;
    }
    return -1;
  }

  [[nodiscard]] static std::vector<Shape> state_shapes(std::int64_t units) {
    std::vector<Shape> shapes;
    for (std::int64_t k = 1; k <= most_layers_; ++k) {
      shapes.push_back({k, 1, units});
      shapes.push_back({1, k * units});
      shapes.push_back({k * units});
      if (k == 1) continue;
      shapes.push_back({k, units});
      shapes.push_back({1, k, units});
    }
    return shapes;
  }

  static void add(std::vector<std::int64_t>& to, std::int64_t value) {
    if (value > 0 && std::ranges::find(to, value) == to.end()) to.push_back(value);
  }

  void find_shapes() {
    const std::vector<at::Tensor> weights = matrices_of(module_);
    if (!weights.empty()) dtype_ = weights.front().scalar_type();
    std::vector<std::int64_t> widths;
    std::vector<std::int64_t> units;
    for (const at::Tensor& weight : weights) add(widths, weight.size(1));
    for (const std::int64_t width : widths) add(units, width);
    for (const at::Tensor& weight : weights) {
      for (const std::int64_t gates : {1, 3, 4}) {
        if (weight.size(0) % gates == 0) add(units, weight.size(0) / gates);
      }
    }
    // First with the state where it stands as a rule, then with it anywhere.
    for (const bool is_strict : {true, false}) {
      is_strict_ = is_strict;
      attempt_weights(widths, units);
      if (slots() == 0 || !trials_.empty()) break;
    }
    choose_trial();
  }

  void attempt_weights(const std::vector<std::int64_t>& widths, const std::vector<std::int64_t>& units) {
    for (const auto& sizes : combinations(widths)) attempt_all(sizes, units);
    if (slots() == 0 || !trials_.empty() || parts_.size() > 1 || !told_.sizes.empty()) return;
    // Side by side with the state: a matrix is as wide as both.
    for (const std::int64_t unit : units) {
      for (const std::int64_t width : widths) {
        if (width > unit) attempt_all({width - unit}, {unit});
      }
    }
  }

  /// All sizes that the parts of the observation may have: told, or of the weights.
  [[nodiscard]] std::vector<std::vector<std::int64_t>> combinations(const std::vector<std::int64_t>& widths) const {
    std::vector<std::vector<std::int64_t>> found{{}};
    for (const std::string& part : parts_) {
      const std::int64_t told = told_.size_of(part, parts_.size());
      const std::vector<std::int64_t> choices = told > 0 ? std::vector{told} : widths;
      std::vector<std::vector<std::int64_t>> longer;
      for (const auto& before : found) {
        for (const std::int64_t choice : choices) {
          longer.push_back(before);
          longer.back().push_back(choice);
        }
      }
      found = std::move(longer);
      if (found.size() > most_trials_) return {};
    }
    return found;
  }

  void attempt_all(const std::vector<std::int64_t>& sizes, const std::vector<std::int64_t>& units) {
    for (std::size_t form = 0; form < form_text_.size(); ++form) {
      if (slots() == 0) {
        attempt(sizes, form, {});
        continue;
      }
      for (const std::int64_t unit : units) {
        for (const Shape& shape : state_shapes(unit)) attempt(sizes, form, shape);
      }
    }
  }

  [[nodiscard]] std::string how_to_say() const {
    if (parts_.size() == 1) return "say it: observation: N in <FILE>.yaml, load(..., observation=N), --observation N";
    std::string entries;
    std::string options;
    for (const std::string& part : parts_) {
      entries += (entries.empty() ? "'" : ", '") + part + "': N";
      options += " --observation " + part + ":N";
    }
    return "say it of each: a map observation in <FILE>.yaml, load(..., observation={" + entries + "})," + options;
  }

  void choose_trial() {
    if (trials_.empty() && is_open_) {
      throw ModuleRefusal("state-ambiguous",
                          "several results of forward have the shape of its state; export a module that returns the "
                          "action and the next state alone");
    }
    if (trials_.empty()) {
      throw ModuleRefusal("observation-size-unknown", "no sizes of " + join(parts_) +
                                                          (slots() > 0 ? " and of the state" : "") +
                                                          " were found that forward accepts" +
                                                          (why_.empty() ? "" : ": " + why_) + "; " + how_to_say());
    }
    for (const Trial& trial : trials_) {
      if (trial.sizes != trials_.front().sizes) refuse_sizes(trials_.front().sizes, trial.sizes);
    }
    check_shifted();
    // Of the state the smallest: a larger one may be spread over several rows, which gives as many actions.
    const auto is_smaller = [](const Trial& a, const Trial& b) { return a.total() < b.total(); };
    const std::int64_t least = std::ranges::min_element(trials_, is_smaller)->total();
    const auto of_least = [least](const Trial& trial) { return trial.total() == least; };
    const Trial& first = *std::ranges::find_if(trials_, of_least);
    for (const Trial& trial : trials_) {
      if (of_least(trial) || trial.action_size != first.action_size) continue;
      throw ModuleRefusal("state-ambiguous",
                          "the state of forward may have the shape " + shape_text(first.state.front()) + " or " +
                              shape_text(trial.state.front()) + "; write this policy with ganglion.export instead");
    }
    const auto runs_rows = [&](const Trial& trial) { return of_least(trial) && trial.rows_axis >= 0; };
    const auto found = std::ranges::find_if(trials_, runs_rows);
    chosen_ = found == trials_.end() ? first : *found;
  }

  [[noreturn]] void refuse_sizes(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) const {
    throw ModuleRefusal("observation-size-ambiguous", "its observation " + join(parts_) + " may have " + shape_text(a) +
                                                          " or " + shape_text(b) + " elements: forward accepts both; " +
                                                          how_to_say());
  }

  /// Of parts that go side by side into one matrix only the sum is known.
  void check_shifted() {
    const std::vector<std::int64_t> sizes = trials_.front().sizes;
    if (parts_.size() < 2 ||
        std::ranges::all_of(parts_, [&](const std::string& part) { return told_.size_of(part, parts_.size()) > 0; })) {
      return;
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      for (std::size_t j = 0; j < sizes.size(); ++j) {
        std::vector<std::int64_t> shifted = sizes;
        if (i == j || --shifted[i] < 1) continue;
        ++shifted[j];
        const auto state = state_of(trials_.front().state);
        if (run(observation_of(shifted, trials_.front().form), &state)) refuse_sizes(sizes, shifted);
      }
    }
  }

  /// What may be left out begins somewhere of its own; the state begins with zeros here.
  void check_initial() {
    const auto is_needed = [](const Argument& argument) {
      return argument.role == Role::state && !argument.may_be_left_out;
    };
    if (slots() == 0 || std::ranges::any_of(arguments_, is_needed)) return;
    const auto state = state_of(chosen_.state);
    const auto given = observation_of(chosen_.sizes, chosen_.form);
    const auto with = run(given, &state);
    const auto without = run(given, nullptr);
    if (!with || !without) return;
    for (std::size_t i = 0; i < with->size(); ++i) {
      if ((*with)[i].sizes() == (*without)[i].sizes() && at::allclose((*with)[i], (*without)[i])) continue;
      throw ModuleRefusal("state-not-restored",
                          "the state of forward begins with something else than zeros where it is left out; keep it in "
                          "buffers that forward(obs) writes and reset() restores, or write the policy with "
                          "ganglion.export");
    }
  }

  [[nodiscard]] std::string result_text(std::size_t index) const {
    const Leaf& leaf = leaves_[index];
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
      if (parts_.size() > 1) text += "[..., " + std::to_string(begin) + ":" + std::to_string(begin + size) + "]";
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
    for (const Argument& argument : arguments_) {
      if (argument.role == Role::left_out) {
        is_skipped = true;
        continue;
      }
      std::vector<std::string> texts;
      if (argument.role == Role::state) {
        const std::vector<std::string> names = slots_of(argument);
        for (std::size_t i = 0; i < names.size(); ++i, ++slot) {
          result.module.register_buffer(names[i], zeros(chosen_.state[slot]));
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
    for (std::size_t i = 0; i < parts_.size(); ++i) result.inputs.emplace_back(input_name(i), chosen_.sizes[i]);
    add_notes(result);
    return result;
  }

  /// One tensor is "obs", as everywhere; several have their names.
  [[nodiscard]] std::string input_name(std::size_t index) const { return parts_.size() == 1 ? "obs" : parts_[index]; }

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
    if (parts_.size() > 1) {
      std::string text;
      for (std::size_t i = 0; i < parts_.size(); ++i) {
        text += (i == 0 ? "" : ", ") + parts_[i] + " " + std::to_string(chosen_.sizes[i]);
      }
      result.notes.push_back("forward takes several observations, side by side here: " + text);
    }
    const std::size_t unread = leaves_.size() - chosen_.fed.size() - 1;
    if (unread > 0) {
      result.notes.push_back("of the results of forward " + std::to_string(unread) +
                             (unread == 1 ? " is neither the action nor a state, and is"
                                          : " are neither the action nor a state, and are") +
                             " not read");
    }
  }

  const torch::jit::Module& original_;
  Told told_;
  torch::jit::Module module_;
  std::vector<ModuleBuffer> buffers_;
  Snapshot at_load_;
  std::vector<Argument> arguments_;
  std::vector<Leaf> leaves_;
  std::vector<std::string> parts_;
  at::ScalarType dtype_ = at::kFloat;
  std::vector<Trial> trials_;
  bool is_open_ = false;
  bool is_strict_ = true;
  std::string why_;
  Trial chosen_{};
};

}  // namespace ganglion::detail
