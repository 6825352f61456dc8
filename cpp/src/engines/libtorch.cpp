// The LibTorch engine: a library of its own, because LibTorch is a link-time dependency of several hundred megabytes.
// The facade opens it at run time through `ganglion_open_libtorch_1`; only plain data crosses (see engine.hpp).

#include <ATen/Parallel.h>
#include <torch/script.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engines/engine.hpp"
#include "engines/inferred_signature.hpp"

namespace ganglion::detail {

namespace {

using torch::jit::IValue;

/// Runs a block with `threads` intra-op threads and gives the caller's own setting back: it belongs to the process.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(at::get_num_threads()), changed_(before_ != threads) {
    if (changed_) at::set_num_threads(threads);
  }
  ~ThreadCount() {
    if (changed_) at::set_num_threads(before_);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
  bool changed_;
};

at::Tensor borrow(const float* data, at::IntArrayRef shape) {
  return torch::from_blob(const_cast<float*>(data), shape, at::kFloat);
}

void copy_out(const at::Tensor& from, float* to, std::size_t count, const char* what) {
  if (std::cmp_not_equal(from.numel(), count)) {
    throw std::runtime_error(std::string(what) + " has " + std::to_string(from.numel()) + " elements instead of " +
                             std::to_string(count));
  }
  const at::Tensor plain = from.to(at::kCPU, at::kFloat).contiguous();
  std::memcpy(to, plain.data_ptr<float>(), count * sizeof(float));
}

bool has_step(const torch::jit::Module& module) { return module.find_method("step").has_value(); }

/// Runs the body of a step with `threads` threads and no gradients; false with the sentence kept where it throws.
template <typename Body>
bool run_guarded(int threads, Sentence& error, const Body& body) noexcept {
  try {
    const c10::InferenceMode inference;
    const ThreadCount scope(threads);
    body();
    return true;
  } catch (const std::exception& exception) {
    error.set(exception.what());
  } catch (...) {
    error.set("an exception of unknown type");
  }
  return false;
}

/// Names of the buffers that a step changes and reset() restores: the state of a module that keeps it inside.
std::vector<std::string> find_state_buffers(torch::jit::Module& module, const at::Tensor& observation) {
  const auto reset = module.find_method("reset");
  if (!reset) return {};
  const auto snapshot = [&module] {
    std::vector<std::pair<std::string, at::Tensor>> copies;
    for (const auto& buffer : module.named_buffers()) {
      if (buffer.value.is_floating_point()) copies.emplace_back(buffer.name, buffer.value.clone());
    }
    return copies;
  };
  (*reset)({});
  const auto before = snapshot();
  module.forward({observation});
  const auto after = snapshot();
  (*reset)({});
  const auto restored = snapshot();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < before.size() && i < after.size(); ++i) {
    const auto same = [&](const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.equal(b); };
    if (same(before[i].second, after[i].second)) continue;
    if (!same(before[i].second, restored[i].second)) {
      throw std::runtime_error("reset() does not restore the buffer '" + before[i].first +
                               "', which a step changes; its initial state is not known");
    }
    names.push_back(before[i].first);
  }
  return names;
}

/// A buffer by its dotted path; looked up again after each step, because a step may put a new tensor there.
at::Tensor buffer_at(const torch::jit::Module& module, const std::string& path) {
  torch::jit::Module owner = module;
  std::size_t begin = 0;
  for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
    owner = owner.attr(path.substr(begin, dot - begin)).toModule();
    begin = dot + 1;
  }
  return owner.attr(path.substr(begin)).toTensor();
}

/// Runs the functional method step(obs, hidden) -> (outputs..., hidden).
class FunctionalSession final : public Session {
 public:
  FunctionalSession(const torch::jit::Module& module, int threads, const Signature& signature, const Buffers& buffers)
      : method_(module.get_method("step")), threads_(threads), signature_(signature), buffers_(buffers) {
    const c10::InferenceMode inference;
    const auto batch = static_cast<std::int64_t>(signature.batch);
    std::int64_t observation_size = 0;
    for (const TensorView& view : signature.inputs) observation_size += static_cast<std::int64_t>(view.size());
    for (const TensorView& view : signature.state) hidden_size_ += view.size();
    for (const TensorView& view : signature.outputs) output_sizes_.push_back(signature.batch * view.size());
    const auto hidden_size = static_cast<std::int64_t>(hidden_size_);
    // One row goes in without its batch axis: the program then takes its shorter path.
    const auto shape = [batch](std::int64_t size) {
      return batch == 1 ? std::vector<std::int64_t>{size} : std::vector<std::int64_t>{batch, size};
    };
    observation_ = borrow(buffers.observation, shape(observation_size));
    for (std::size_t phase = 0; phase < 2; ++phase) hidden_[phase] = borrow(buffers.state[phase], shape(hidden_size));
  }

  bool run(std::size_t phase) noexcept override {
    return run_guarded(threads_, error_, [&] {
      const IValue result = method_({observation_, hidden_[phase]});
      const auto& elements = result.toTupleRef().elements();
      if (elements.size() != output_sizes_.size() + 1) {
        throw std::runtime_error("step() returns " + std::to_string(elements.size()) + " values; the contract needs " +
                                 std::to_string(output_sizes_.size() + 1));
      }
      float* output = buffers_.outputs[1 - phase];
      for (std::size_t i = 0; i < output_sizes_.size(); ++i) {
        copy_out(elements[i].toTensor(), output, output_sizes_[i], "an output of step()");
        output += output_sizes_[i];
      }
      copy_out(elements.back().toTensor(), buffers_.state[1 - phase], signature_.batch * hidden_size_,
               "the hidden state of step()");
    });
  }

  [[nodiscard]] const char* last_error() const noexcept override { return error_.c_str(); }

 private:
  torch::jit::Method method_;
  int threads_;
  Signature signature_;
  Buffers buffers_;
  std::size_t hidden_size_ = 0;
  std::vector<std::size_t> output_sizes_;
  at::Tensor observation_;
  std::array<at::Tensor, 2> hidden_;
  Sentence error_;
};

/// Runs forward(obs) of a module that keeps its state in buffers, as a function: the state is put into the buffers
/// before each step and read out after it, so nothing that the module keeps survives a refused step.
class BufferSession final : public Session {
 public:
  BufferSession(torch::jit::Module module, std::vector<std::string> names, at::IntArrayRef observation_shape,
                int threads, const Signature& signature, const Buffers& buffers)
      : module_(std::move(module)), names_(std::move(names)), threads_(threads), buffers_(buffers) {
    const c10::InferenceMode inference;
    observation_ = borrow(buffers.observation, observation_shape);
    output_size_ = signature.outputs[0].size();
  }

  bool run(std::size_t phase) noexcept override {
    return run_guarded(threads_, error_, [&] {
      const float* from = buffers_.state[phase];
      for (const std::string& name : names_) {
        const at::Tensor buffer = buffer_at(module_, name);
        buffer.copy_(borrow(from, buffer.sizes()));
        from += buffer.numel();
      }
      const at::Tensor action = module_.forward({observation_}).toTensor();
      copy_out(action, buffers_.outputs[1 - phase], output_size_, "the result of forward()");
      float* to = buffers_.state[1 - phase];
      for (const std::string& name : names_) {
        const at::Tensor buffer = buffer_at(module_, name);
        copy_out(buffer, to, static_cast<std::size_t>(buffer.numel()), "a state buffer");
        to += buffer.numel();
      }
    });
  }

  [[nodiscard]] const char* last_error() const noexcept override { return error_.c_str(); }

 private:
  torch::jit::Module module_;
  std::vector<std::string> names_;
  int threads_;
  Buffers buffers_;
  at::Tensor observation_;
  std::size_t output_size_ = 0;
  Sentence error_;
};

class TorchModel final : public Model {
 public:
  TorchModel(const char* path, int threads) : threads_(threads) {
    const ThreadCount scope(threads_);
    module_ = torch::jit::load(path, at::kCPU);
    module_.eval();
  }

  const Signature* infer(Failure& failure) noexcept override {
    try {
      return infer_signature();
    } catch (const std::exception& error) {
      failure.set(FailureKind::bad_contract, error.what());
      return nullptr;
    }
  }

  Session* bind(const Signature& signature, const Buffers& buffers, Failure& failure) noexcept override {
    try {
      if (has_step(module_)) return new FunctionalSession(module_, threads_, signature, buffers);
      if (observation_shape_.empty()) {
        throw std::runtime_error("the file carries a contract but its module has no method step(obs, hidden)");
      }
      if (signature.batch != 1) {
        throw std::runtime_error("a module that keeps its state inside runs one row; a batch of " +
                                 std::to_string(signature.batch) + " was asked for");
      }
      return new BufferSession(module_.deepcopy(), state_buffers_, observation_shape_, threads_, signature, buffers);
    } catch (const std::exception& error) {
      failure.set(FailureKind::bad_contract, error.what());
      return nullptr;
    }
  }

 private:
  const Signature* infer_signature() {
    const c10::InferenceMode inference;
    const ThreadCount threads(threads_);
    torch::jit::Module probe = module_.deepcopy();
    find_observation_shape(probe);
    const at::Tensor observation = at::full(observation_shape_, 0.1F);
    state_buffers_ = find_state_buffers(probe, observation);

    inferred_ = {};
    inferred_.inputs = {inferred_.view("obs", 1, static_cast<std::size_t>(observation_shape_.back()))};
    for (const std::string& name : state_buffers_) {
      const at::Tensor buffer = buffer_at(probe, name).to(at::kFloat).contiguous();
      const auto inner = static_cast<std::size_t>(buffer.size(-1));
      inferred_.state.push_back(inferred_.view(name, static_cast<std::size_t>(buffer.numel()) / inner, inner));
      inferred_.initial_state.insert(inferred_.initial_state.end(), buffer.data_ptr<float>(),
                                     buffer.data_ptr<float>() + buffer.numel());
    }
    const at::Tensor action = probe.forward({observation}).toTensor();
    inferred_.outputs = {inferred_.view("actions", 1, static_cast<std::size_t>(action.numel()))};
    inferred_.batch = 1;
    return inferred_.finish();
  }

  /// TorchScript does not say how long its input is: the candidates are the input widths of the matrices inside. The
  /// one that runs is right; several that run differently cannot be told apart and are refused.
  void find_observation_shape(torch::jit::Module& probe) {
    std::vector<std::int64_t> widths;
    if (probe.hasattr("input_size") && probe.attr("input_size").isInt()) {
      widths.push_back(probe.attr("input_size").toInt());
    } else {
      for (const at::Tensor& parameter : probe.parameters()) {
        if (parameter.dim() != 2) continue;
        const std::int64_t width = parameter.size(1);
        if (std::find(widths.begin(), widths.end(), width) == widths.end()) widths.push_back(width);
      }
    }
    std::vector<std::int64_t> found;
    std::string last_error = "it has no matrix among its parameters";
    for (const std::int64_t width : widths) {
      for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, width}, {width}}) {
        try {
          torch::jit::Module trial = probe.deepcopy();
          trial.forward({at::zeros(shape)});
        } catch (const std::exception& error) {
          last_error = error.what();
          continue;
        }
        if (!found.empty() && found.back() != width) {
          throw std::runtime_error("its observation may have " + std::to_string(found.back()) + " or " +
                                   std::to_string(width) + " elements; export it with ganglion.export");
        }
        found = shape;
        break;
      }
    }
    if (found.empty()) {
      throw std::runtime_error("no observation size was found that forward(obs) accepts: " + last_error);
    }
    observation_shape_ = std::move(found);
  }

  int threads_;
  torch::jit::Module module_;
  std::vector<std::int64_t> observation_shape_;
  std::vector<std::string> state_buffers_;
  InferredSignature inferred_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) Model* ganglion_open_libtorch_1(const char* path, int threads,
                                                                                  Failure& failure) noexcept {
  try {
    return new TorchModel(path, threads);
  } catch (const std::exception& error) {
    failure.set(FailureKind::bad_program, error.what());
    return nullptr;
  }
}

}  // namespace ganglion::detail
