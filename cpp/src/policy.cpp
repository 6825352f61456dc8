#include "ganglion/policy.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engines/libtorch_loader.hpp"
#include "engines/onnxruntime.hpp"
#include "io/artifact.hpp"
#include "signature.hpp"

namespace ganglion {

namespace {

using detail::ArtifactKind;
using detail::Failure;
using detail::FailureKind;

bool all_finite(std::span<const float> values) noexcept {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

ErrorCode code_of(FailureKind kind) {
  switch (kind) {
    case FailureKind::unavailable:
      return ErrorCode::engine_unavailable;
    case FailureKind::bad_contract:
      return ErrorCode::bad_contract;
    case FailureKind::none:
    case FailureKind::bad_program:
      break;
  }
  return ErrorCode::engine_failure;
}

[[noreturn]] void raise(const std::filesystem::path& path, const Failure& failure) {
  throw Error(code_of(failure.kind), "'" + path.string() + "': " + failure.sentence.c_str());
}

Engine engine_for(const std::filesystem::path& path, ArtifactKind kind, Engine wanted) {
  const Engine fitting = kind == ArtifactKind::onnx ? Engine::onnxruntime : Engine::libtorch;
  if (wanted == Engine::automatic || wanted == fitting) return fitting;
  throw Error(ErrorCode::bad_option, "'" + path.string() + "': engine " + to_string(wanted) + " does not run " +
                                         (kind == ArtifactKind::onnx ? "ONNX" : "TorchScript") +
                                         " files in this version of ganglion; use " + to_string(fitting) +
                                         " or automatic");
}

std::shared_ptr<detail::Model> open_model(const std::filesystem::path& path, Engine engine,
                                          const LoadOptions& options) {
  Failure failure;
  detail::Model* model =
      engine == Engine::onnxruntime
          ? detail::open_onnxruntime(options.onnxruntime_library, path.c_str(), options.threads, failure)
          : detail::open_libtorch(options.libtorch_library, path.c_str(), options.threads, failure);
  if (model == nullptr) raise(path, failure);
  return std::shared_ptr<detail::Model>(model);
}

Contract infer_contract(const std::filesystem::path& path, detail::Model& model) {
  Failure failure;
  const detail::Signature* signature = model.infer(failure);
  if (signature == nullptr) raise(path, failure);
  return detail::contract_of(*signature);
}

std::size_t choose_batch(const std::filesystem::path& path, const Contract& contract, std::size_t wanted) {
  if (contract.batch && wanted != 0 && wanted != *contract.batch) {
    throw Error(ErrorCode::bad_option, "'" + path.string() + "': a batch of " + std::to_string(wanted) +
                                           " was asked for but the artifact is fixed to " +
                                           std::to_string(*contract.batch) + "; export it with batch=None for any");
  }
  return contract.batch.value_or(wanted == 0 ? 1 : wanted);
}

}  // namespace

const char* to_string(Engine engine) noexcept {
  switch (engine) {
    case Engine::automatic:
      return "automatic";
    case Engine::native:
      return "native";
    case Engine::onnxruntime:
      return "onnxruntime";
    case Engine::libtorch:
      return "libtorch";
  }
  return "unknown";
}

/// Owns every buffer that a session reads or writes. A step runs from the buffers of `phase_` into those of the other
/// phase, which become current only when everything in them is good.
class Policy::Impl {
 public:
  Impl(std::filesystem::path path, std::shared_ptr<const Contract> contract, std::shared_ptr<detail::Model> model,
       Engine engine, std::size_t batch)
      : path_(std::move(path)),
        contract_(std::move(contract)),
        model_(std::move(model)),
        engine_(engine),
        batch_(batch),
        observation_(batch * contract_->observation_size()),
        action_size_(batch * contract_->action_size()) {
    for (auto& state : state_) state.resize(batch * contract_->hidden_size());
    for (auto& outputs : outputs_) outputs.resize(batch * contract_->output_size());
    reset();
    Failure failure;
    const detail::ContractSignature signature(*contract_, batch);
    session_.reset(model_->bind(
        signature.get(),
        {observation_.data(), {state_[0].data(), state_[1].data()}, {outputs_[0].data(), outputs_[1].data()}},
        failure));
    if (session_ == nullptr) raise(path_, failure);
  }

  [[nodiscard]] std::unique_ptr<Impl> clone() const {
    auto copy = std::make_unique<Impl>(path_, contract_, model_, engine_, batch_);
    copy->state_[copy->phase_] = state_[phase_];
    copy->outputs_[copy->phase_] = outputs_[phase_];
    copy->has_stepped_ = has_stepped_;
    return copy;
  }

  /// Runs steps that only serve to wake up caches and lazy set-up inside the engine.
  void warm_up(int steps) {
    std::fill(observation_.begin(), observation_.end(), 0.0F);
    for (int i = 0; i < steps; ++i) {
      if (!session_->run(phase_)) {
        throw Error(ErrorCode::engine_failure, "'" + path_.string() + "': the engine " + ganglion::to_string(engine_) +
                                                   " failed in a warm-up step: " + session_->last_error());
      }
    }
    reset();
  }

  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept {
    if (observation.size() != observation_.size() || action.size() != action_size_) return Status::bad_size;
    if (!all_finite(observation)) return Status::non_finite_observation;
    std::memcpy(observation_.data(), observation.data(), observation.size_bytes());
    if (!session_->run(phase_)) return Status::engine_failure;
    const std::size_t next = 1 - phase_;
    const std::span<const float> result(outputs_[next].data(), action_size_);
    if (!all_finite(result) || !all_finite(state_[next])) return Status::non_finite_action;
    std::memcpy(action.data(), result.data(), result.size_bytes());
    phase_ = next;
    has_stepped_ = true;
    return Status::ok;
  }

  void reset() noexcept {
    for (std::size_t row = 0; row < batch_; ++row) reset_row(row);
  }

  [[nodiscard]] Status reset(std::span<const std::uint8_t> rows) noexcept {
    if (rows.size() != batch_) return Status::bad_size;
    for (std::size_t row = 0; row < batch_; ++row) {
      if (rows[row] != 0) reset_row(row);
    }
    return Status::ok;
  }

  [[nodiscard]] std::span<const float> output(std::size_t index) const noexcept {
    if (!has_stepped_ || index >= contract_->outputs.size()) return {};
    std::size_t offset = 0;
    for (std::size_t i = 0; i < index; ++i) offset += contract_->outputs[i].size;
    return std::span(outputs_[phase_]).subspan(batch_ * offset, batch_ * contract_->outputs[index].size);
  }

  [[nodiscard]] std::span<const float> state() const noexcept { return state_[phase_]; }

  [[nodiscard]] Status set_state(std::span<const float> state) noexcept {
    if (state.size() != state_[phase_].size()) return Status::bad_size;
    if (!all_finite(state)) return Status::non_finite_observation;
    std::copy(state.begin(), state.end(), state_[phase_].begin());
    return Status::ok;
  }

  [[nodiscard]] const Contract& contract() const noexcept { return *contract_; }
  [[nodiscard]] std::size_t batch() const noexcept { return batch_; }
  [[nodiscard]] Engine engine() const noexcept { return engine_; }
  [[nodiscard]] const char* last_engine_error() const noexcept { return session_->last_error(); }

 private:
  void reset_row(std::size_t row) noexcept {
    const std::vector<float>& initial = contract_->initial_state;
    std::copy(initial.begin(), initial.end(),
              state_[phase_].begin() + static_cast<std::ptrdiff_t>(row * initial.size()));
  }

  std::filesystem::path path_;
  std::shared_ptr<const Contract> contract_;
  std::shared_ptr<detail::Model> model_;
  Engine engine_;
  std::size_t batch_;
  std::vector<float> observation_;
  std::array<std::vector<float>, 2> state_;
  std::array<std::vector<float>, 2> outputs_;
  std::size_t action_size_;
  std::size_t phase_ = 0;
  bool has_stepped_ = false;
  std::unique_ptr<detail::Session> session_;  // last: it must go before the buffers it is bound to
};

namespace {

/// Fills one batch from the recorded rows: row r replays row r % rows.
struct GoldenStep {
  const Golden& golden;
  std::size_t step;
  std::size_t batch;

  [[nodiscard]] std::size_t record(std::size_t row) const { return step * golden.rows + row % golden.rows; }

  void observation(std::span<float> to) const {
    const std::size_t size = to.size() / batch;
    for (std::size_t row = 0; row < batch; ++row) {
      std::copy_n(golden.observation.begin() + static_cast<std::ptrdiff_t>(record(row) * size), size,
                  to.begin() + static_cast<std::ptrdiff_t>(row * size));
    }
  }

  void reset(std::span<std::uint8_t> to) const {
    for (std::size_t row = 0; row < batch; ++row) to[row] = golden.reset[record(row)];
  }
};

double relative_error(float found, float expected) {
  const double error = std::abs(double{found} - double{expected}) / std::max(1.0, std::abs(double{expected}));
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

/// Compares all outputs of one step with the recording and notes the first element beyond the tolerance.
void compare(const Policy& policy, const GoldenStep& at, SelfTest& result) {
  const std::size_t output_size = policy.contract().output_size();
  std::size_t first = 0;
  for (std::size_t i = 0; i < policy.contract().outputs.size(); ++i) {
    const std::span<const float> found = policy.output(i);
    const std::size_t size = policy.contract().outputs[i].size;
    for (std::size_t j = 0; j < found.size(); ++j) {
      const std::size_t row = j / size;
      const std::size_t element = first + j % size;
      const double error = relative_error(found[j], at.golden.outputs[at.record(row) * output_size + element]);
      result.max_error = std::max(result.max_error, error);
      if (result.ok && error > at.golden.tolerance) {
        result.ok = false;
        result.step = at.step;
        result.row = row;
        result.element = element;
      }
    }
    first += size;
  }
}

std::string scientific(double value) {
  std::array<char, 32> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%.3g", value));
  return text.data();
}

}  // namespace

Policy Policy::load(const std::filesystem::path& path, const LoadOptions& options) {
  if (options.threads < 1 || options.warmup_steps < 0) {
    throw Error(ErrorCode::bad_option,
                "'" + path.string() + "': threads must be at least 1 and warmup_steps at least 0");
  }
  detail::Artifact artifact = detail::read_artifact(path);
  const Engine engine = engine_for(path, artifact.kind, options.engine);
  const auto model = open_model(path, engine, options);
  const auto contract = std::make_shared<const Contract>(artifact.contract ? std::move(*artifact.contract)
                                                                           : infer_contract(path, *model));
  const std::size_t batch = choose_batch(path, *contract, options.batch);
  Policy policy(std::make_unique<Impl>(path, contract, model, engine, batch));
  policy.impl_->warm_up(options.warmup_steps);
  if (options.self_test) {
    const SelfTest result = policy.self_test();
    if (!result.ok) throw Error(ErrorCode::self_test_failed, "'" + path.string() + "': " + result.message);
  }
  return policy;
}

Policy::Policy(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

Status Policy::step(std::span<const float> observation, std::span<float> action) noexcept {
  return impl_->step(observation, action);
}

void Policy::reset() noexcept { impl_->reset(); }

Status Policy::reset(std::span<const std::uint8_t> rows) noexcept { return impl_->reset(rows); }

std::span<const float> Policy::output(std::size_t index) const noexcept { return impl_->output(index); }

std::span<const float> Policy::state() const noexcept { return impl_->state(); }

Status Policy::set_state(std::span<const float> state) noexcept { return impl_->set_state(state); }

const Contract& Policy::contract() const noexcept { return impl_->contract(); }

std::size_t Policy::batch() const noexcept { return impl_->batch(); }

Engine Policy::engine() const noexcept { return impl_->engine(); }

bool Policy::realtime_safe() const noexcept { return impl_->engine() == Engine::native; }

Policy Policy::clone() const { return Policy(impl_->clone()); }

SelfTest Policy::self_test() const {
  SelfTest result;
  result.ok = true;
  const Contract& contract = impl_->contract();
  if (!contract.golden) {
    result.message = "the artifact carries no golden trajectory; nothing was replayed";
    return result;
  }
  const Golden& golden = *contract.golden;
  result.tolerance = golden.tolerance;
  Policy policy = clone();
  policy.reset();

  std::vector<float> observation(batch() * contract.observation_size());
  std::vector<float> action(batch() * contract.action_size());
  std::vector<std::uint8_t> rows(batch());
  std::vector<double> durations;
  for (std::size_t step = 0; step < golden.steps; ++step) {
    const GoldenStep at{golden, step, batch()};
    at.observation(observation);
    at.reset(rows);
    if (policy.reset(rows) != Status::ok) break;
    const auto begin = std::chrono::steady_clock::now();
    const Status status = policy.step(observation, action);
    const std::chrono::duration<double, std::micro> duration = std::chrono::steady_clock::now() - begin;
    durations.push_back(duration.count());
    if (status != Status::ok) {
      result.ok = false;
      result.step = step;
      result.message = "the self-test failed at step " + std::to_string(step) +
                       " of the golden trajectory: " + ganglion::to_string(status);
      if (status == Status::engine_failure) result.message += std::string(": ") + policy.impl_->last_engine_error();
      return result;
    }
    compare(policy, at, result);
    ++result.steps;
  }
  std::sort(durations.begin(), durations.end());
  result.median_step_us = durations[durations.size() / 2];
  result.worst_step_us = durations.back();
  result.message =
      result.ok ? "replayed " + std::to_string(result.steps) + " steps, largest error " + scientific(result.max_error)
                : "the self-test missed the golden trajectory: first at step " + std::to_string(result.step) +
                      ", row " + std::to_string(result.row) + ", output element " + std::to_string(result.element) +
                      "; the largest error is " + scientific(result.max_error) + ", the tolerance " +
                      scientific(result.tolerance) + "; export the policy again on the machine that trained it";
  return result;
}

Contract inspect(const std::filesystem::path& path, const LoadOptions& options) {
  detail::Artifact artifact = detail::read_artifact(path);
  if (artifact.contract) return std::move(*artifact.contract);
  return infer_contract(path, *open_model(path, engine_for(path, artifact.kind, options.engine), options));
}

}  // namespace ganglion
