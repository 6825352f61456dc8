#pragma once

// Finds out by running it what a TorchScript file without a contract is: how long its observation is, which buffers
// hold its state, what puts them back, and what to call that. Part of the LibTorch engine's translation unit.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engines/libtorch/functional.hpp"
#include "engines/libtorch/memory.hpp"
#include "engines/libtorch/module.hpp"
#include "engines/libtorch/told.hpp"
#include "engines/libtorch/windows.hpp"

namespace ganglion::detail {

/// How to run a module, and what to tell about it.
struct Explained {
  struct Finding {
    const char* code;
    std::string sentence;
  };

  ModuleLayout layout;
  std::vector<std::pair<std::string, std::int64_t>> inputs;  ///< name and elements
  const char* dialect = "unknown";
  std::vector<std::string> notes;
  std::vector<Finding> findings;
};

class TorchScriptProbe {
 public:
  /// `module` is in eval mode; `rewritten` where it stands for one of another form. With names of the state these
  /// buffers are the state, and no other. Throws `ModuleRefusal` where there is no way to read the file, or more than
  /// one.
  TorchScriptProbe(const torch::jit::Module& module, const Told& told, const Rewritten* rewritten)
      : original_(module),
        told_(told),
        rewritten_(rewritten),
        is_told_(told.state.has_value()),
        module_(module.deepcopy()),
        buffers_(buffers_of(module_)),
        at_load_(buffers_),
        initial_(at_load_) {
    if (!is_told_) return;
    for (const std::string& name : *told.state) {
      // An argument that is a state was named, and its slots are meant.
      bool is_argument = false;
      for (const auto& [slot, argument] : fed()) {
        if (argument != name && !argument.starts_with(name + "[")) continue;
        if (!is_named(slot)) named_.push_back(slot);
        is_argument = true;
      }
      if (!is_argument && !is_named(name)) named_.push_back(name);
    }
  }

  [[nodiscard]] Explained explain() {
    check_names();
    check_forward();
    check_normalisers();
    find_observation();
    find_reset();
    find_state();
    const Tensors actions = prove_one_row();
    find_lost_memory();
    find_constant_action(actions);
    check_many_rows(actions);
    name_dialect();
    if (rewritten_ != nullptr) {
      result_.notes.insert(result_.notes.end(), rewritten_->notes.begin(), rewritten_->notes.end());
      result_.inputs = rewritten_->inputs;
    } else {
      result_.inputs = {{"obs", result_.layout.observation_size()}};
    }
    return std::move(result_);
  }

 private:
  using Tensors = std::vector<at::Tensor>;

  static constexpr int probe_steps_ = 3;
  static constexpr std::int64_t largest_scanned_ = 4096;
  static constexpr double tolerance_ = 1e-5;

  [[nodiscard]] const std::map<std::string, std::string>& fed() const {
    static const std::map<std::string, std::string> none;
    return rewritten_ == nullptr ? none : rewritten_->fed;
  }

  [[nodiscard]] bool is_named(const std::string& path) const { return std::ranges::find(named_, path) != named_.end(); }
  [[nodiscard]] bool has_buffer(const char* path) const {
    return std::ranges::find(buffers_, path, &ModuleBuffer::path) != buffers_.end();
  }
  void note(std::string sentence) { result_.notes.push_back(std::move(sentence)); }

  void check_names() const {
    for (const std::string& name : named_) {
      if (has_buffer(name.c_str())) continue;
      std::vector<std::string> paths;
      for (const ModuleBuffer& buffer : buffers_) paths.push_back(buffer.path);
      throw ModuleRefusal("state-buffer-unknown", "the file has no buffer '" + name +
                                                      "' to keep the state in; it has " +
                                                      (paths.empty() ? "none" : join(paths)));
    }
  }

  void check_forward() const {
    const auto method = module_.find_method("forward");
    if (!method) {
      throw ModuleRefusal("forward-missing", "the module has no method forward(obs); export a module that has one");
    }
    std::vector<std::string> needed;
    const auto& arguments = method->function().getSchema().arguments();
    for (std::size_t i = 1; i < arguments.size(); ++i) {  // the first one is self
      if (!arguments[i].default_value()) needed.push_back(arguments[i].name());
    }
    if (needed.size() != 1) {
      throw ModuleRefusal("forward-arguments",
                          "forward(" + join(needed) + ") needs " + std::to_string(needed.size()) +
                              " arguments; a file without a contract must take one observation and keep its state in "
                              "buffers; write this policy with ganglion.export instead");
    }
  }

  void check_normalisers() {
    for (const ModuleBuffer& buffer : buffers_) {
      if (!buffer.is_normaliser() || is_named(buffer.path) || !buffer.get().is_floating_point()) continue;
      const at::Tensor values = buffer.get().flatten();
      if (const at::Tensor bad = at::isfinite(values).logical_not(); bad.any().item<bool>()) {
        throw ModuleRefusal(
            "normaliser-not-finite",
            "the buffer " + buffer.path + " of a normaliser has " + count_text(bad) +
                " that are not finite, so every action would be NaN; export again from a good checkpoint");
      }
      if (buffer.name.ends_with("mean")) continue;
      if (const at::Tensor zero = values == 0; zero.any().item<bool>()) {
        result_.findings.push_back({"normaliser-zero-variance",
                                    "the buffer " + buffer.path + " has " + count_text(zero) +
                                        " that are zero: these observation elements never varied in training, and any "
                                        "deviation in them is multiplied by one over the normaliser's epsilon"});
      }
    }
    for (const auto& parameter : module_.named_parameters()) {
      if (parameter.value.isnan().any().item<bool>()) {
        throw ModuleRefusal("weights-not-finite",
                            "the parameter " + parameter.name + " holds NaN; export a good checkpoint");
      }
    }
  }

  /// "2 of 48 elements (the first: 7)"
  [[nodiscard]] static std::string count_text(const at::Tensor& mask) {
    const auto first = mask.to(at::kInt).argmax().item<std::int64_t>();
    return std::to_string(mask.sum().item<std::int64_t>()) + " of " + std::to_string(mask.numel()) +
           " elements (the first: " + std::to_string(first) + ")";
  }

  /// TorchScript does not say how long its input is. The candidates are the input widths of the matrices inside and the
  /// sizes of normalisers, then any size; the one that runs is right, and several cannot be told apart.
  void find_observation() {
    const Tensors weights = matrices_of(module_);
    if (!weights.empty()) result_.layout.dtype = weights.front().scalar_type();
    const bool flat = rewritten_ != nullptr ? rewritten_->without_rows
                                            : module_.hasattr("input_size") ||
                                                  (has_buffer("hidden") && at_load_[index_of("hidden")].dim() == 1);

    std::vector<std::int64_t> widths;
    const bool is_told = rewritten_ != nullptr || !told_.sizes.empty();
    if (rewritten_ != nullptr) {
      widths = {0};
      for (const auto& [name, size] : rewritten_->inputs) widths[0] += size;
    } else if (is_told) {
      told_.check_parts({"obs"});
      widths = {told_.size_of("obs", 1)};
    } else if (module_.hasattr("input_size") && module_.attr("input_size").isInt()) {
      widths = {module_.attr("input_size").toInt()};
    } else {
      for (const at::Tensor& weight : weights) {
        if (std::ranges::find(widths, weight.size(1)) == widths.end()) widths.push_back(weight.size(1));
      }
      for (const ModuleBuffer& buffer : buffers_) {
        if (!buffer.is_normaliser() || buffer.get().dim() == 0) continue;
        const std::int64_t width = buffer.get().size(-1);
        if (std::ranges::find(widths, width) == widths.end()) widths.push_back(width);
      }
    }
    std::string why = "it has no matrix among its parameters";
    std::vector<std::int64_t> fitting;
    const auto attempt = [&](std::int64_t width) {
      for (const bool without_rows : {flat, !flat}) {
        const std::vector<std::int64_t> shape =
            without_rows ? std::vector<std::int64_t>{width} : std::vector<std::int64_t>{1, width};
        if (!runs(shape, why)) continue;
        if (fitting.empty()) result_.layout.observation_shape = shape;
        fitting.push_back(width);
        return;
      }
    };
    for (const std::int64_t width : widths) attempt(width);
    if (is_told && fitting.empty()) {
      throw ModuleRefusal("observation-size-unknown", "forward(obs) does not accept an observation of " +
                                                          std::to_string(widths[0]) + " elements, as was said: " + why);
    }
    const bool scanned = fitting.empty();
    const std::string refused_because = why;
    // What reads slices takes larger ones, too: the width of a matrix is not the size then.
    const bool is_stated = module_.hasattr("input_size") && module_.attr("input_size").isInt();
    if (!is_told && !is_stated && fitting.size() == 1) attempt(fitting[0] + 1);
    for (std::int64_t width = 2; scanned && width <= largest_scanned_ && fitting.size() < 2; ++width) attempt(width);
    // Last, because a single element broadcasts to many.
    if (scanned && fitting.empty()) attempt(1);
    if (fitting.empty()) {
      throw ModuleRefusal("observation-size-unknown", "no size of the observation up to " +
                                                          std::to_string(largest_scanned_) +
                                                          " was found that forward(obs) accepts: " + refused_because +
                                                          "; a larger one can be said: observation: N in <FILE>.yaml, "
                                                          "load(..., observation=N), --observation N");
    }
    if (fitting.size() > 1) {
      const auto [first, second] = std::minmax(fitting[0], fitting[1]);
      // A module that reads slices takes every size from one on: rather that one than the others is right.
      std::int64_t least = first;
      while (least > 1 && (runs({1, least - 1}, why) || runs({least - 1}, why))) --least;
      const std::string sizes = least < first
                                    ? std::to_string(least) + " elements or more: forward(obs) accepts all of them, " +
                                          std::to_string(first) + " and " + std::to_string(second) + ", too"
                                    : std::to_string(fitting[0]) + " or " + std::to_string(fitting[1]) +
                                          " elements: forward(obs) accepts both";
      throw ModuleRefusal("observation-size-ambiguous",
                          "its observation may have " + sizes +
                              "; say it: observation: N in <FILE>.yaml, load(..., observation=N), --observation N");
    }
    note("forward takes an observation " + shape_text(result_.layout.observation_shape) +
         (is_told ? std::string(rewritten_ != nullptr ? "" : ", as was said")
                  : ": the only size that runs, of " +
                        (scanned ? "1 to " + std::to_string(largest_scanned_) : "those that its weights suggest")));
    if (result_.layout.dtype != at::kFloat) {
      note(
          std::string("the file computes in ") + c10::toString(result_.layout.dtype) +
          ": observation, state and action are converted from and to float32 at every step, so the state keeps about 7 "
          "digits from step to step, and runs differ from the file's own by that rounding");
    }
  }

  [[nodiscard]] bool runs(const std::vector<std::int64_t>& shape, std::string& why) {
    bool ran = false;
    try {
      const torch::jit::IValue result = module_.forward({at::zeros(shape, result_.layout.dtype)});
      if (!result.isTensor()) {
        const std::string type = module_.get_method("forward").function().getSchema().returns().front().type()->str();
        throw ModuleRefusal(
            "forward-result",
            "forward(obs) returns " + type + " instead of the action alone; export a module that returns one tensor");
      }
      ran = result.toTensor().numel() > 0;
      if (!ran) why = "it returns nothing";
    } catch (const ModuleRefusal&) {
      throw;
    } catch (const std::exception& error) {
      why = last_line(error);
    }
    at_load_.restore(buffers_);
    return ran;
  }

  [[nodiscard]] std::size_t index_of(const std::string& path) const {
    return static_cast<std::size_t>(std::ranges::find(buffers_, path, &ModuleBuffer::path) - buffers_.begin());
  }

  /// Observations of a probe, all different, [rows, observation_size].
  [[nodiscard]] at::Tensor observation(int step, std::int64_t rows = 1) const {
    const std::int64_t size = result_.layout.observation_size();
    return at::sin(at::arange(rows * size, at::kFloat) * 0.7 + step).view({rows, size});
  }

  at::Tensor forward(torch::jit::Module& module, int step) const {
    return of_the_file("forward(obs)", [&] {
      return module.forward({observation(step).view(result_.layout.observation_shape).to(result_.layout.dtype)})
          .toTensor();
    });
  }

  static void call_reset(torch::jit::Module& module, const char* name) {
    of_the_file(std::string(name) + "()", [&] { module.run_method(name); });
  }

  [[nodiscard]] std::vector<std::size_t> changed_by_steps(const Snapshot& before) {
    std::vector<bool> changed(buffers_.size(), false);
    for (int step = 0; step < probe_steps_; ++step) {
      static_cast<void>(forward(module_, step));
      for (std::size_t i = 0; i < buffers_.size(); ++i) changed[i] = changed[i] || !same(before[i], buffers_[i].get());
    }
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      if (changed[i]) indices.push_back(i);
    }
    return indices;
  }

  /// The method that restores what steps change, and what they change.
  void find_reset() {
    std::vector<std::string> refused;
    std::vector<std::string> kept;
    for (const char* name : {"reset", "reset_memory"}) {
      if (!takes_nothing(module_, name)) {
        if (module_.find_method(name)) note(std::string(name) + "() needs arguments, so it is not called");
        continue;
      }
      at_load_.restore(buffers_);
      call_reset(module_, name);
      const Snapshot initial(buffers_);
      const std::vector<std::size_t> changed = changed_by_steps(initial);
      call_reset(module_, name);
      std::vector<std::string> left;
      for (const std::size_t i : changed) {
        const bool wanted = !is_told_ || is_named(buffers_[i].path);
        if (wanted && !same(initial[i], buffers_[i].get())) left.push_back(buffers_[i].path);
      }
      if (left.empty()) {
        reset_ = name;
        changed_ = changed;
        initial_ = initial;
        return;
      }
      refused.emplace_back(std::string(name) + "()");
      kept = left;
    }
    at_load_.restore(buffers_);
    initial_ = at_load_;
    changed_ = changed_by_steps(initial_);
    refuse_changing_normalisers();
    if (!refused.empty() && !is_told_) {
      throw ModuleRefusal("state-not-restored",
                          join(refused) + " does not restore what forward changes: " + join(kept) +
                              "; the initial state is not known. Where the values in the file are the "
                              "right ones, name the state buffers, and these are taken");
    }
  }

  void refuse_changing_normalisers() const {
    if (is_told_) return;
    for (const std::size_t i : changed_) {
      if (!buffers_[i].is_normaliser()) continue;
      throw ModuleRefusal(
          "normaliser-updates",
          "forward updates the normaliser's buffer " + buffers_[i].path +
              " although the module is in eval mode, so actions would drift; export the policy after eval(), "
              "or name the state buffers, and all others keep the values that a reset gives them");
    }
  }

  void find_state() {
    refuse_changing_normalisers();
    std::vector<std::size_t> chosen = changed_;
    if (is_told_) {
      chosen.clear();
      for (const std::string& name : named_) chosen.push_back(index_of(name));
      for (const std::size_t i : changed_) {
        if (is_named(buffers_[i].path)) continue;
        result_.layout.held.emplace_back(buffers_[i].path, initial_[i].clone());
        note("buffer " + buffers_[i].path +
             " is changed by forward too but was not named as state: it is held at the "
             "value that a reset gives it");
      }
    }
    for (const std::size_t i : chosen) {
      const at::Tensor& initial = initial_[i];
      if (initial.is_complex() || initial.is_quantized()) {
        throw ModuleRefusal("state-not-floating", "the buffer " + buffers_[i].path + " of type " +
                                                      c10::toString(initial.scalar_type()) +
                                                      " is changed by forward; only real numbers can be kept as state");
      }
      if (initial.numel() == 0 || !at::isfinite(initial).all().item<bool>()) {
        throw ModuleRefusal("state-not-finite", "the initial value of the buffer " + buffers_[i].path + " " +
                                                    shape_text(initial.sizes()) + " is empty or not finite");
      }
      result_.layout.state.push_back(
          {buffers_[i].path, initial.sizes().vec(), -1, initial.to(at::kFloat).contiguous().clone()});
      note(state_note(i));
    }
    for (const char* known : {"hidden_state", "cell_state", "hidden"}) {
      if (has_buffer(known) && std::ranges::find(chosen, index_of(known)) == chosen.end()) {
        note("buffer " + std::string(known) + " is not changed by forward: no state");
      }
    }
  }

  /// "LSTM" where all recurrent layers inside are of one kind, else "".
  [[nodiscard]] std::string recurrent_kind() const {
    std::string kind;
    for (const torch::jit::Module& part : module_.modules()) {
      const std::string name = part.type()->name().value_or(c10::QualifiedName()).name();
      for (const char* known : {"LSTM", "GRU", "RNN"}) {
        if (name.substr(0, name.find("Cell")) != known) continue;
        if (!kind.empty() && kind != known) return "";
        kind = known;
      }
    }
    return kind;
  }

  [[nodiscard]] std::string state_note(std::size_t index) const {
    const ModuleBuffer& buffer = buffers_[index];
    const at::Tensor& initial = initial_[index];
    const bool moves = std::ranges::find(changed_, index) != changed_.end();
    const auto argument = fed().find(buffer.path);
    if (argument != fed().end()) {
      return "argument " + argument->second + " " + shape_text(initial.sizes()) + " is the state " + buffer.path +
             ": it begins with zeros, and what forward returns for it is fed back";
    }
    std::string text = "buffer " + buffer.path + " " + shape_text(initial.sizes());
    text += moves ? " is changed by forward(x)" : " was named as state, although forward(x) did not change it";
    if (reset_ != nullptr) text += std::string(" and restored by ") + reset_ + "()";
    const std::string kind = recurrent_kind();
    const bool cell = buffer.name.find("cell") != std::string::npos;
    text += ": " + (kind.empty() ? "recurrent" : kind) + (cell ? " cell state, " : " hidden state, ");
    if (initial.dim() == 3) {
      const std::int64_t layers = initial.size(0);
      text += std::to_string(layers) + (layers == 1 ? " layer, " : " layers, ") + std::to_string(initial.size(2)) +
              " units";
    } else {
      text += std::to_string(initial.numel()) + " elements in one piece";
    }
    const bool zero = !initial.any().item<bool>();
    text += std::string("; initial value ") + (zero ? "zeros" : "not zeros");
    text += reset_ != nullptr ? std::string(", as ") + reset_ + "() sets it"
                              : ", read from the file, which has no method that resets it";
    if (initial.is_floating_point()) return text;
    return text + "; kept as float32, which is exact up to 2^24";
  }

  /// Runs the module by itself, and as a function between steps from elsewhere: any difference is state that we do not
  /// see, or chance. Returns the actions.
  [[nodiscard]] Tensors prove_one_row() {
    torch::jit::Module alone = original_.deepcopy();
    const std::vector<ModuleBuffer> its_buffers = buffers_of(alone);
    if (reset_ != nullptr) call_reset(alone, reset_);
    Tensors expected;
    for (int step = 0; step < probe_steps_; ++step) {
      for (const auto& [path, value] : result_.layout.held) {
        std::ranges::find(its_buffers, path, &ModuleBuffer::path)->set(value.clone());
      }
      expected.push_back(forward(alone, step).to(at::kFloat).clone().view({1, -1}));
      if (!at::isfinite(expected.back()).all().item<bool>()) {
        throw ModuleRefusal("action-not-finite", "the file gives actions that are not finite");
      }
    }
    result_.layout.action_size = expected.front().numel();
    const double difference = replay(1, {expected});
    if (!(difference <= tolerance_)) {
      throw ModuleRefusal("step-not-repeatable",
                          "the same observation and state gave other actions the second time (difference " +
                              std::to_string(difference) +
                              "): forward draws random numbers, or keeps state outside of its buffers; export the "
                              "deterministic policy with its state in buffers");
    }
    return expected;
  }

  void find_lost_memory() {
    std::set<std::string> kept;
    for (const ModuleLayout::Slot& slot : result_.layout.state) kept.insert(slot.path);
    for (std::string& sentence : MemoryTrace(original_, kept).forgotten()) {
      result_.findings.push_back({"state-forgotten", std::move(sentence)});
    }
    torch::jit::Module alone = original_.deepcopy();
    if (reset_ != nullptr) call_reset(alone, reset_);
    const at::Tensor given = observation(0).view(result_.layout.observation_shape).to(result_.layout.dtype);
    for (std::string& sentence : WindowTrace(alone, std::move(kept)).windows(given)) {
      result_.findings.push_back({"window-with-state", std::move(sentence)});
    }
  }

  /// An action that no observation moves; tried with large ones and small ones, since actions may be clipped.
  void find_constant_action(const Tensors& actions) {
    const auto is_first = [&](const at::Tensor& action) { return at::equal(action.view({1, -1}), actions.front()); };
    if (!std::ranges::all_of(actions, is_first)) return;
    torch::jit::Module alone = original_.deepcopy();
    if (reset_ != nullptr) call_reset(alone, reset_);
    int tried = probe_steps_;
    for (const double scale : {1e-3, -0.1, 10.0, -1000.0}) {
      const at::Tensor given = (observation(tried) * scale).view(result_.layout.observation_shape);
      if (!is_first(alone.forward({given.to(result_.layout.dtype)}).toTensor().to(at::kFloat))) return;
      ++tried;
    }
    result_.findings.push_back({"action-constant", "the action was the same for " + std::to_string(tried) +
                                                       " different observations, small and large: it depends on none; "
                                                       "check what was exported"});
  }

  /// Steps `rows` rows from the initial state, each row seeing `observation(step + row)`, with a step from another
  /// state in between. Returns the largest difference to `expected`, one list of actions per row.
  [[nodiscard]] double replay(std::int64_t rows, const std::vector<Tensors>& expected) const {
    const ModuleLayout& layout = result_.layout;
    PureStep pure(original_.deepcopy(), layout, rows);
    const at::Tensor initial = at::empty({rows, layout.hidden_size()});
    std::int64_t begin = 0;
    for (const ModuleLayout::Slot& slot : layout.state) {
      initial.narrow(1, begin, slot.size()).copy_(slot.initial.view({1, -1}).expand({rows, -1}));
      begin += slot.size();
    }
    at::Tensor state = initial.clone();
    const at::Tensor elsewhere = initial + 0.25;
    const at::Tensor ignored = at::empty_like(initial);
    const at::Tensor action = at::empty({rows, layout.action_size});
    double worst = 0.0;
    for (int step = 0; step < probe_steps_; ++step) {
      at::Tensor given = at::empty({rows, layout.observation_size()});
      for (std::int64_t row = 0; row < rows; ++row) given[row].copy_(observation(step + static_cast<int>(row))[0]);
      given = given.view(pure.observation_shape());
      pure.run(given * -0.5, pure.views_of(elsewhere), action, pure.views_of(ignored));
      const at::Tensor next = at::empty_like(state);
      pure.run(given, pure.views_of(state), action, pure.views_of(next));
      state = next;
      for (std::int64_t row = 0; row < rows; ++row) {
        const at::Tensor& right = expected[static_cast<std::size_t>(row)][static_cast<std::size_t>(step)];
        // Of the range of the action: an element near zero may be the difference of large sums, with their roundings.
        const at::Tensor difference = (action[row] - right[0]).abs() / right[0].abs().max().clamp_min(1.0);
        const auto largest = difference.max().item<double>();
        worst = std::isnan(largest) ? std::numeric_limits<double>::infinity() : std::max(worst, largest);
      }
    }
    return worst;
  }

  /// The exporters write buffers for one row, [layers, 1, hidden]; whether the program also runs several is tried.
  void check_many_rows(Tensors first_row) {
    ModuleLayout& layout = result_.layout;
    if (layout.observation_shape.size() != 2) return;
    std::vector<std::int64_t> axes;
    for (const ModuleLayout::Slot& slot : layout.state) {
      const std::size_t axis = slot.shape.size() == 3 ? 1 : 0;
      if (slot.shape.size() < 2 || slot.shape[axis] != 1) return;
      axes.push_back(static_cast<std::int64_t>(axis));
    }
    constexpr std::int64_t rows = 3;
    std::vector<Tensors> expected = {std::move(first_row)};
    for (std::int64_t row = 1; row < rows; ++row) {
      torch::jit::Module alone = original_.deepcopy();
      if (reset_ != nullptr) call_reset(alone, reset_);
      Tensors actions;
      for (int step = 0; step < probe_steps_; ++step) {
        actions.push_back(forward(alone, step + static_cast<int>(row)).to(at::kFloat).clone().view({1, -1}));
      }
      expected.push_back(std::move(actions));
    }
    for (std::size_t i = 0; i < axes.size(); ++i) layout.state[i].rows_axis = axes[i];
    const bool works = [&] {
      try {
        return replay(rows, expected) <= tolerance_;
      } catch (const std::exception&) {
        return false;  // a program that was written for one row
      }
    }();
    layout.many_rows = works;
    if (works) {
      note("several rows run at once: tried with " + std::to_string(rows));
    } else {
      for (ModuleLayout::Slot& slot : layout.state) slot.rows_axis = -1;
    }
  }

  void name_dialect() {
    const std::vector<ModuleLayout::Slot>& state = result_.layout.state;
    const auto is_state = [&](const char* path) {
      return std::ranges::find(state, path, &ModuleLayout::Slot::path) != state.end();
    };
    const bool submodules = module_.hasattr("mlp") || module_.hasattr("actor");
    if (is_state("hidden") && result_.layout.observation_shape.size() == 1) {
      result_.dialect = "pyrado";
    } else if (!fed().empty()) {
      result_.dialect = "generic";
    } else if (is_state("hidden_state")) {
      result_.dialect = reset_ != nullptr && std::string(reset_) == "reset_memory" ? "legged_gym" : "rsl_rl";
    } else if (state.empty()) {
      note("forward changes no buffer: a policy without memory");
      result_.dialect =
          submodules && (module_.hasattr("obs_normalizer") || module_.hasattr("normalizer")) ? "rsl_rl" : "mlp";
    }
  }

  const torch::jit::Module& original_;
  const Told& told_;
  const Rewritten* rewritten_;
  bool is_told_;  ///< the state is what the user named
  std::vector<std::string> named_;
  torch::jit::Module module_;
  std::vector<ModuleBuffer> buffers_;
  Snapshot at_load_;
  const char* reset_ = nullptr;
  Snapshot initial_;  ///< what a reset sets
  std::vector<std::size_t> changed_;
  Explained result_;
};

}  // namespace ganglion::detail
