// The LibTorch engine: a library of its own, because LibTorch is a link-time dependency of several hundred megabytes.
// The facade opens it at run time through `ganglion_open_libtorch_5`; only plain data crosses (see engine.hpp).

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/script.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/engine.hpp"
#include "engines/libtorch/inferred_signature.hpp"
#include "engines/libtorch/module.hpp"
#include "engines/libtorch/probe.hpp"

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

/// Runs a block without oneDNN: its LSTM takes an observation of any width and reads past its weights, so that a probe
/// would find sizes that are none.
class WithoutOneDnn {
 public:
  WithoutOneDnn() : before_(at::globalContext().userEnabledMkldnn()) {
    at::globalContext().setUserEnabledMkldnn(false);
  }
  ~WithoutOneDnn() { at::globalContext().setUserEnabledMkldnn(before_); }
  WithoutOneDnn(const WithoutOneDnn&) = delete;
  WithoutOneDnn& operator=(const WithoutOneDnn&) = delete;

 private:
  bool before_;
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

/// Runs the functional method step(obs, hidden) -> (outputs..., hidden).
class FunctionalSession final : public EngineSession {
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

/// Runs forward(obs) of a module that keeps its state in buffers.
class BufferSession final : public EngineSession {
 public:
  BufferSession(torch::jit::Module module, const ModuleLayout& layout, int threads, const Signature& signature,
                const Buffers& buffers)
      : step_(std::move(module), layout, static_cast<std::int64_t>(signature.batch)), threads_(threads) {
    const c10::InferenceMode inference;
    const auto rows = static_cast<std::int64_t>(signature.batch);
    observation_ = borrow(buffers.observation, step_.observation_shape());
    for (std::size_t phase = 0; phase < 2; ++phase) {
      actions_[phase] = borrow(buffers.outputs[phase], {rows, layout.action_size});
      states_[phase] = step_.views_of(borrow(buffers.state[phase], {rows, layout.hidden_size()}));
    }
  }

  bool run(std::size_t phase) noexcept override {
    return run_guarded(threads_, error_,
                       [&] { step_.run(observation_, states_[phase], actions_[1 - phase], states_[1 - phase]); });
  }

  [[nodiscard]] const char* last_error() const noexcept override { return error_.c_str(); }

 private:
  PureStep step_;
  int threads_;
  at::Tensor observation_;
  std::array<at::Tensor, 2> actions_;
  std::array<PureStep::Views, 2> states_;
  Sentence error_;
};

/// The plain data of what was found. A slot [layers, 1, hidden] is `layers` times `hidden`, any other one piece.
InferredSignature signature_of(const Explained& explained) {
  const ModuleLayout& layout = explained.layout;
  InferredSignature signature;
  for (const auto& [name, size] : explained.inputs) {
    signature.inputs.push_back(signature.view(name, 1, static_cast<std::size_t>(size)));
  }
  signature.outputs = {signature.view("actions", 1, static_cast<std::size_t>(layout.action_size))};
  for (const ModuleLayout::Slot& slot : layout.state) {
    const std::size_t outer =
        slot.shape.size() == 3 && slot.shape[1] == 1 ? static_cast<std::size_t>(slot.shape[0]) : 1;
    signature.state.push_back(signature.view(slot.path, outer, static_cast<std::size_t>(slot.size()) / outer));
    const auto* values = slot.initial.const_data_ptr<float>();
    signature.initial_state.insert(signature.initial_state.end(), values, values + slot.size());
  }
  signature.batch = layout.many_rows ? 0 : 1;
  signature.dialect = explained.dialect;
  for (const std::string& sentence : explained.notes) signature.note(sentence);
  for (const Explained::Finding& finding : explained.findings) signature.find(finding.code, finding.sentence);
  return signature;
}

class TorchModel final : public EngineModel {
 public:
  TorchModel(std::string_view file, int threads) : threads_(threads) {
    const ThreadCount scope(threads_);
    std::istringstream stream{std::string(file)};
    module_ = torch::jit::load(stream, at::kCPU);
    module_.eval();
    prints_ = take_out_prints(module_);
  }

  const Inference* infer(const InferenceHints& hints, Failure& failure) noexcept override {
    try {
      const c10::InferenceMode inference;
      const ThreadCount threads(threads_);
      const WithoutOneDnn plain;
      const Told told(hints);
      const std::optional<Rewritten> rewritten = rewritten_of(module_, told);
      if (rewritten) module_ = rewritten->module;
      Explained explained = TorchScriptProbe(module_, told, rewritten ? &*rewritten : nullptr).explain();
      if (prints_ > 0) {
        explained.findings.push_back(
            {"prints", "its program prints or warns in " + std::to_string(prints_) +
                           (prints_ == 1 ? " place" : " places") +
                           ", which is left out here; with torch.jit.load it would do so in every step"});
      }
      layout_ = explained.layout;
      inferred_ = signature_of(explained);
      return inferred_.finish();
    } catch (const ModuleRefusal& refusal) {
      failure.set(FailureKind::bad_contract, refusal.what());
    } catch (const std::exception& error) {
      failure.set(FailureKind::bad_contract, last_line(error).c_str());
    }
    return nullptr;
  }

  EngineSession* bind(const Signature& signature, const Buffers& buffers, Failure& failure) noexcept override {
    try {
      if (!layout_) {
        if (has_step(module_)) return new FunctionalSession(module_, threads_, signature, buffers);
        throw ModuleRefusal("step-missing",
                            "the file carries a contract but its module has no method step(obs, hidden)");
      }
      return new BufferSession(module_.deepcopy(), *layout_, threads_, signature, buffers);
    } catch (const std::exception& error) {
      failure.set(FailureKind::bad_contract, error.what());
      return nullptr;
    }
  }

 private:
  int threads_;
  torch::jit::Module module_;
  int prints_ = 0;                      ///< places in the program that print
  std::optional<ModuleLayout> layout_;  ///< none: the file carries a contract
  InferredSignature inferred_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) EngineModel* ganglion_open_libtorch_5(const char* file,
                                                                                        std::size_t bytes, int threads,
                                                                                        Failure& failure) noexcept {
  try {
    return new TorchModel({file, bytes}, threads);
  } catch (const std::exception& error) {
    failure.set(FailureKind::bad_program, last_line(error).c_str());
    return nullptr;
  }
}

}  // namespace ganglion::detail
