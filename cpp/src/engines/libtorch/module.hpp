#pragma once

// What a TorchScript module keeps inside, seen from outside: the tensors that a step may change, and running a step
// with them put in and taken out. Part of the LibTorch engine, which is one translation unit (torch's headers are
// slow).

#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/script.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ganglion::detail {

/// A file that cannot be taken as it is: a sentence and a stable code.
class ModuleRefusal final : public std::runtime_error {
 public:
  ModuleRefusal(const char* code, const std::string& sentence) : std::runtime_error(sentence + " [" + code + "]") {}
};

/// The telling line of an exception of torch, which has a page of stack before it.
inline std::string last_line(const std::exception& error) {
  constexpr std::size_t longest = 200;
  std::string_view text = error.what();
  // A C++ stack may follow the message; what the interpreter says comes last before it, and may have a page behind it.
  for (const std::string_view stack : {"\nException raised from", "\nframe #"}) text = text.substr(0, text.find(stack));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  constexpr std::string_view prefix = "RuntimeError: ";
  if (const std::size_t said = text.rfind("\nRuntimeError: "); said != std::string_view::npos) {
    text.remove_prefix(said + 1);
    text = text.substr(0, text.find('\n'));
  } else if (const std::size_t line = text.rfind('\n'); line != std::string_view::npos) {
    text.remove_prefix(line + 1);
  }
  if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  constexpr std::string_view enforce = "] . ";
  if (text.starts_with("[enforce fail")) text.remove_prefix(std::min(text.find(enforce) + enforce.size(), text.size()));
  if (text.find("'CUDA'") != std::string_view::npos || text.find("NVIDIA driver") != std::string_view::npos) {
    return "it makes tensors on a GPU (device=\"cuda\" in its code), and everything is on the CPU here; export it "
           "again "
           "from the CPU, with device=\"cpu\" or the device of another tensor";
  }
  return std::string(text.substr(0, longest));
}

/// Whatever the file's own code raises is a refusal.
template <class Call>
auto of_the_file(const std::string& method, const Call& call) {
  try {
    return call();
  } catch (const std::exception& error) {
    throw ModuleRefusal("method-fails", "the file's own " + method + " fails: " + last_line(error));
  }
}

/// "[1, 1, 256]"
inline std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

inline std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// A buffer, or any attribute that is a tensor and no parameter, by where it hangs: a step may put a new tensor there.
struct ModuleBuffer {
  std::string path;  ///< "memory.hidden_state"
  torch::jit::Module owner;
  std::string name;

  [[nodiscard]] at::Tensor get() const { return owner.attr(name).toTensor(); }
  void set(const at::Tensor& value) const { torch::jit::Module(owner).setattr(name, value); }
  [[nodiscard]] bool is_normaliser() const {
    return std::ranges::any_of(std::initializer_list<std::string_view>{"mean", "std", "var"},
                               [this](std::string_view end) { return std::string_view(name).ends_with(end); });
  }
};

inline std::vector<ModuleBuffer> buffers_of(const torch::jit::Module& module) {
  std::vector<ModuleBuffer> found;
  for (const auto& part : module.named_modules()) {
    const std::string prefix = part.name.empty() ? "" : part.name + ".";
    for (const auto& buffer : part.value.named_buffers(/*recurse=*/false)) {
      if (buffer.value.defined()) found.push_back({prefix + buffer.name, part.value, buffer.name});
    }
  }
  return found;
}

/// Matrices among the parameters, or among the constants of a frozen program.
inline std::vector<at::Tensor> matrices_of(const torch::jit::Module& module) {
  std::vector<at::Tensor> found;
  for (const at::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 2 && parameter.is_floating_point()) found.push_back(parameter);
  }
  if (!found.empty()) return found;
  const auto graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  for (const torch::jit::Node* node : graph->block()->nodes()) {
    if (node->kind() != torch::jit::prim::Constant || !node->hasAttribute(torch::jit::attr::value)) continue;
    if (node->kindOf(torch::jit::attr::value) != torch::jit::AttributeKind::t) continue;
    const at::Tensor& value = node->t(torch::jit::attr::value);
    if (value.dim() == 2 && value.is_floating_point()) {
      found.push_back(value);
      found.push_back(value.t());  // a frozen linear layer may hold its weight transposed
    }
  }
  return found;
}

/// Whether it has a method of that name that can be called as it is.
inline bool takes_nothing(const torch::jit::Module& module, const char* name) {
  const auto method = module.find_method(name);
  if (!method) return false;
  const auto& arguments = method->function().getSchema().arguments();
  return std::all_of(arguments.begin() + 1, arguments.end(), [](const auto& a) { return a.default_value(); });
}

/// Takes the prints and warnings out of every method, which nobody reads in a control loop; how many there were.
// NOLINTNEXTLINE(misc-no-recursion): as deep as blocks are nested
inline int take_out_prints(torch::jit::Block* block) {
  int found = 0;
  for (auto node = block->nodes().begin(); node != block->nodes().end();) {
    torch::jit::Node* const here = *node;
    ++node;
    for (torch::jit::Block* inner : here->blocks()) found += take_out_prints(inner);
    const bool warns = here->kind() == torch::jit::aten::warn;
    if (here->kind() != torch::jit::prim::Print && !warns) continue;
    here->destroy();
    ++found;
  }
  return found;
}

inline int take_out_prints(const torch::jit::Module& module) {
  int found = 0;
  for (const torch::jit::Method& method : module.get_methods()) {
    const auto graph = method.graph();
    torch::jit::Inline(*graph);
    found += take_out_prints(graph->block());
  }
  return found;
}

inline bool same(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  return a.equal(b) || (a.is_floating_point() && at::allclose(a, b, 0.0, 0.0, /*equal_nan=*/true));
}

/// The values of all buffers at one moment.
class Snapshot {
 public:
  explicit Snapshot(const std::vector<ModuleBuffer>& buffers) {
    for (const ModuleBuffer& buffer : buffers) values_.push_back(buffer.get().clone());
  }

  void restore(const std::vector<ModuleBuffer>& buffers) const {
    for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].set(values_[i].clone());
  }

  [[nodiscard]] const at::Tensor& operator[](std::size_t index) const { return values_[index]; }

 private:
  std::vector<at::Tensor> values_;
};

/// How a module with its state inside is to be run.
struct ModuleLayout {
  struct Slot {
    std::string path;
    std::vector<std::int64_t> shape;  ///< of the buffer, for one row
    std::int64_t rows_axis;           ///< where several rows go; -1: nowhere
    at::Tensor initial;               ///< float32, of that shape

    [[nodiscard]] std::int64_t size() const { return initial.numel(); }
  };

  std::vector<std::int64_t> observation_shape;  ///< [n] or [1, n]
  at::ScalarType dtype = at::kFloat;            ///< of the observation that forward takes
  std::vector<Slot> state;
  std::vector<std::pair<std::string, at::Tensor>> held;  ///< what a step changes but is no state, and its fixed value
  std::int64_t action_size = 0;
  bool many_rows = false;

  [[nodiscard]] std::int64_t observation_size() const { return observation_shape.back(); }
  [[nodiscard]] std::int64_t hidden_size() const {
    std::int64_t sum = 0;
    for (const Slot& slot : state) sum += slot.size();
    return sum;
  }
};

/// Runs forward(obs) of a module that keeps its state in buffers, as a function: the state is put into the buffers
/// before each step and read out after it, so nothing that the module keeps survives a refused step.
class PureStep {
 public:
  /// Float32 memory of `rows` rows, each [hidden_size], as one tensor per buffer.
  using Views = std::vector<at::Tensor>;

  PureStep(torch::jit::Module module, ModuleLayout layout, std::int64_t rows)
      : module_(std::move(module)), layout_(std::move(layout)), rows_(rows) {
    const std::vector<ModuleBuffer> all = buffers_of(module_);
    const auto find = [&](const std::string& path) {
      const auto found = std::ranges::find(all, path, &ModuleBuffer::path);
      if (found == all.end()) throw std::runtime_error("the module has no buffer '" + path + "'");
      return *found;
    };
    for (const ModuleLayout::Slot& slot : layout_.state) {
      std::vector<std::int64_t> shape = slot.shape;
      if (slot.rows_axis >= 0) shape[static_cast<std::size_t>(slot.rows_axis)] = rows_;
      const ModuleBuffer buffer = find(slot.path);
      state_.push_back({buffer, at::empty(shape, buffer.get().options())});
    }
    for (const auto& [path, value] : layout_.held) held_.push_back({find(path), value.clone()});
  }

  /// `memory`: float32, [rows, hidden_size].
  [[nodiscard]] Views views_of(const at::Tensor& memory) const {
    Views views;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < state_.size(); ++i) {
      const ModuleLayout::Slot& slot = layout_.state[i];
      const at::Tensor part = memory.narrow(1, begin, slot.size());
      begin += slot.size();
      if (slot.rows_axis < 0) {
        views.push_back(part.view(slot.shape));
        continue;
      }
      std::vector<std::int64_t> row_first = slot.shape;
      row_first.erase(row_first.begin() + slot.rows_axis);
      row_first.insert(row_first.begin(), rows_);
      views.push_back(part.view(row_first).movedim(0, slot.rows_axis));
    }
    return views;
  }

  /// Shape of an observation of all rows.
  [[nodiscard]] std::vector<std::int64_t> observation_shape() const {
    std::vector<std::int64_t> shape = layout_.observation_shape;
    if (shape.size() == 2) shape[0] = rows_;
    return shape;
  }

  /// `observation` and `action` [rows, action_size] are float32; `before` and `after` come from views_of.
  void run(const at::Tensor& observation, const Views& before, const at::Tensor& action, const Views& after) {
    for (std::size_t i = 0; i < state_.size(); ++i) state_[i].fill(before[i]);
    for (std::size_t i = 0; i < held_.size(); ++i) held_[i].fill(layout_.held[i].second);
    // A copy, always: a module that keeps its last observation must not keep the caller's memory.
    const at::Tensor given = observation.to(layout_.dtype, /*non_blocking=*/false, /*copy=*/true);
    const torch::jit::IValue result = module_.forward({given});
    if (!result.isTensor() || result.toTensor().numel() != action.numel()) {
      throw std::runtime_error("forward() returned " +
                               (result.isTensor() ? shape_text(result.toTensor().sizes()) : result.tagKind()) +
                               " instead of " + std::to_string(action.numel()) + " elements");
    }
    action.copy_(result.toTensor().reshape(action.sizes()));
    for (std::size_t i = 0; i < state_.size(); ++i) {
      const at::Tensor value = state_[i].buffer.get();
      if (value.sizes() != after[i].sizes()) {
        throw std::runtime_error("the state buffer '" + state_[i].buffer.path + "' became " +
                                 shape_text(value.sizes()) + " instead of " + shape_text(after[i].sizes()));
      }
      after[i].copy_(value);
    }
  }

 private:
  /// A buffer and memory of our own to put there. Copying into whatever tensor the module left there could write into
  /// something else that shares its memory.
  struct Own {
    ModuleBuffer buffer;
    at::Tensor memory;

    void fill(const at::Tensor& value) const {
      memory.copy_(value);
      if (!buffer.get().is_same(memory)) buffer.set(memory);
    }
  };

  torch::jit::Module module_;
  ModuleLayout layout_;
  std::int64_t rows_;
  std::vector<Own> state_;
  std::vector<Own> held_;
};

}  // namespace ganglion::detail
