#pragma once

// Runs a forward() with observations and states of every size and shape that its weights suggest: which it accepts, and
// which results feed the state. Part of the LibTorch engine's translation unit.

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engines/libtorch/arguments.hpp"
#include "engines/libtorch/module.hpp"
#include "engines/libtorch/told.hpp"

namespace ganglion::detail {

class ForwardTrials {
 public:
  using Shape = std::vector<std::int64_t>;

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

  /// `module` is run, and has its buffers back afterwards.
  ForwardTrials(torch::jit::Module module, const Told& told, const ForwardArguments& forward)
      : module_(std::move(module)), told_(told), forward_(forward), buffers_(buffers_of(module_)), at_load_(buffers_) {}

  /// The one that is right. Throws `ModuleRefusal`.
  [[nodiscard]] Trial choose() {
    find_shapes();
    check_initial();
    return std::move(chosen_);
  }

  [[nodiscard]] at::Tensor zeros(const Shape& shape) const { return at::zeros(shape, dtype_); }

 private:
  using Role = ForwardArguments::Role;
  using Argument = ForwardArguments::Argument;
  using Leaf = ForwardArguments::Leaf;

  static constexpr std::int64_t most_layers_ = 8;
  static constexpr std::size_t most_trials_ = 4096;
  static constexpr std::array form_text_{"[1, n]", "[1, 1, n]", "[n]"};

  [[nodiscard]] static std::int64_t elements_of(const Shape& shape) {
    std::int64_t product = 1;
    for (const std::int64_t size : shape) product *= size;
    return product;
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
    for (std::size_t i = 0; i < forward_.all().size(); ++i) {
      const Argument& argument = forward_.all()[i];
      if (argument.role == Role::left_out || (argument.role == Role::state && state == nullptr)) {
        given.push_back(forward_.schema().arguments()[i + 1].default_value().value_or(torch::jit::IValue()));
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
    for (const Leaf& leaf : forward_.leaves()) {
      torch::jit::IValue value = result;
      if (leaf.outer >= 0) value = value.toTupleRef().elements()[static_cast<std::size_t>(leaf.outer)];
      if (leaf.inner >= 0) value = value.toTupleRef().elements()[static_cast<std::size_t>(leaf.inner)];
      found.push_back(value.toTensor());
    }
    return found;
  }

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
    const std::vector<Shape> state(forward_.slots(), shape);
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
    const std::vector<std::size_t>& way = forward_.state_comes_first() ? ways.front() : ways.back();
    const std::size_t begin = forward_.state_comes_first() ? 0 : results.size() - way.size();
    if (is_strict_ && !way.empty() && (way.front() != begin || way.back() != begin + way.size() - 1))
      return std::nullopt;
    return way;
  }

  /// Whether every tuple of the state is fed by one tuple.
  [[nodiscard]] bool keeps_tuples(const std::vector<std::size_t>& way) const {
    std::size_t at = 0;
    for (const Argument& argument : forward_.all()) {
      if (argument.role != Role::state) continue;
      const std::size_t count = std::max<std::size_t>(argument.elements, 1);
      for (std::size_t i = 0; i < argument.elements; ++i) {
        const Leaf& leaf = forward_.leaves()[way[at + i]];
        if (leaf.outer != forward_.leaves()[way[at]].outer || std::cmp_not_equal(leaf.inner, i)) return false;
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
      if (forward_.slots() == 0 || !trials_.empty()) break;
    }
    choose_trial();
  }

  void attempt_weights(const std::vector<std::int64_t>& widths, const std::vector<std::int64_t>& units) {
    for (const auto& sizes : combinations(widths)) attempt_all(sizes, units);
    if (forward_.slots() == 0 || !trials_.empty() || forward_.parts().size() > 1 || !told_.sizes.empty()) return;
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
    for (const std::string& part : forward_.parts()) {
      const std::int64_t told = told_.size_of(part, forward_.parts().size());
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
      if (forward_.slots() == 0) {
        attempt(sizes, form, {});
        continue;
      }
      for (const std::int64_t unit : units) {
        for (const Shape& shape : state_shapes(unit)) attempt(sizes, form, shape);
      }
    }
  }

  [[nodiscard]] std::string how_to_say() const {
    if (forward_.parts().size() == 1)
      return "say it: observation: N in <FILE>.yaml, load(..., observation=N), --observation N";
    std::string entries;
    std::string options;
    for (const std::string& part : forward_.parts()) {
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
      throw ModuleRefusal("observation-size-unknown", "no sizes of " + join(forward_.parts()) +
                                                          (forward_.slots() > 0 ? " and of the state" : "") +
                                                          " were found that forward accepts" +
                                                          (why_.empty() ? "" : ": " + why_) + "; " + how_to_say());
    }
    for (const Trial& trial : trials_) {
      if (trial.sizes != trials_.front().sizes) refuse_sizes(trials_.front().sizes, trial.sizes);
    }
    check_shifted();
    check_larger();
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
    throw ModuleRefusal("observation-size-ambiguous", "its observation " + join(forward_.parts()) + " may have " +
                                                          shape_text(a) + " or " + shape_text(b) +
                                                          " elements: forward accepts both; " + how_to_say());
  }

  /// Of parts that go side by side into one matrix only the sum is known.
  void check_shifted() {
    const std::vector<std::int64_t> sizes = trials_.front().sizes;
    if (forward_.parts().size() < 2 || std::ranges::all_of(forward_.parts(), [&](const std::string& part) {
          return told_.size_of(part, forward_.parts().size()) > 0;
        })) {
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

  /// What reads slices takes larger ones, too: the width of a matrix is not the size then.
  void check_larger() {
    const std::vector<std::int64_t> sizes = trials_.front().sizes;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (told_.size_of(forward_.parts()[i], sizes.size()) > 0) continue;
      std::vector<std::int64_t> larger = sizes;
      ++larger[i];
      const auto state = state_of(trials_.front().state);
      if (run(observation_of(larger, trials_.front().form), &state)) refuse_sizes(sizes, larger);
    }
  }

  /// What may be left out begins somewhere of its own; the state begins with zeros here.
  void check_initial() {
    const auto is_needed = [](const Argument& argument) {
      return argument.role == Role::state && !argument.may_be_left_out;
    };
    if (forward_.slots() == 0 || std::ranges::any_of(forward_.all(), is_needed)) return;
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

  torch::jit::Module module_;
  const Told& told_;
  const ForwardArguments& forward_;
  std::vector<ModuleBuffer> buffers_;
  Snapshot at_load_;
  at::ScalarType dtype_ = at::kFloat;
  std::vector<Trial> trials_;
  bool is_open_ = false;
  bool is_strict_ = true;
  std::string why_;
  Trial chosen_{};
};

}  // namespace ganglion::detail
