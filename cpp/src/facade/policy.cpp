#include "ganglion/policy.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engines/engine.hpp"
#include "facade/burn_in.hpp"
#include "facade/engine_choice.hpp"
#include "facade/golden_replay.hpp"
#include "facade/native_engine.hpp"
#include "facade/nothing.hpp"
#include "facade/origin.hpp"
#include "facade/signature.hpp"
#include "facade/warm_up.hpp"
#include "ganglion/flight_recorder.hpp"
#include "io/artifact.hpp"
#include "io/boundary.hpp"
#include "io/hints.hpp"
#include "io/onnx/reading.hpp"
#include "io/signer.hpp"
#include "io/words.hpp"
#include "native/kernels/choice.hpp"

namespace ganglion {

namespace {

using detail::Artifact;
using detail::ArtifactKind;
using detail::Failure;

/// Nobody has said what becomes of the actions of a file without a contract.
Reading foreign(Reading reading) {
  reading.contract.action_map.reset();
  return reading;
}

Reading read_torchscript_module(const std::filesystem::path& path, detail::EngineModel& model,
                                const ReadingHints& hints) {
  std::vector<const char*> names;
  if (hints.state) {
    for (const auto& [name, unused] : *hints.state) names.push_back(name.c_str());
  }
  Failure failure;
  const std::span<const char* const> told(names);
  std::vector<detail::NamedSize> sizes;
  for (const auto& [name, size] : hints.observation) sizes.push_back({name.c_str(), size});
  const detail::Inference* inference = model.infer({hints.state ? &told : nullptr, sizes}, failure);
  if (inference == nullptr) detail::raise(path, failure);
  return foreign(detail::reading_of(*inference));
}

/// What an ONNX file without a contract seems to be; errors name the file.
Reading read_onnx_model(std::span<const std::byte> bytes, const std::filesystem::path& path,
                        const ReadingHints& hints) {
  return detail::naming(path.string(),
                        [&] { return foreign(detail::read_foreign_onnx(bytes, path.parent_path(), hints)); });
}

/// Of a file that has one action only, or says which it is, no other can be asked for.
void check_action(const std::filesystem::path& path, const ReadingHints& hints, const std::string& action) {
  if (!hints.action || *hints.action == action) return;
  throw Error(ErrorCode::bad_option, "'" + path.string() + "': the action of this file is '" + action + "'; '" +
                                         *hints.action +
                                         "' was asked for, which can be said of an .onnx file without a contract only");
}

/// Nor another observation than it has.
void check_observation(const std::filesystem::path& path, const ObservationSizes& sizes, const Contract& contract) {
  for (const auto& [name, size] : sizes) {
    const auto found = std::find_if(contract.inputs.begin(), contract.inputs.end(),
                                    [&key = name](const TensorSpec& input) { return input.name == key; });
    const std::size_t known = found != contract.inputs.end() ? found->size : contract.observation_size();
    if ((name.empty() || found != contract.inputs.end()) && size == known) continue;
    throw Error(ErrorCode::bad_option,
                "'" + path.string() + "': the observation " + (name.empty() ? "" : "'" + name + "' ") +
                    "was said to have " + std::to_string(size) + " elements, but this file " +
                    (name.empty() || found != contract.inputs.end() ? "takes " + std::to_string(known)
                                                                    : "has no input of that name"));
  }
}

/// What was said of a file; of one that says nothing itself, also by the YAML file beside it.
ReadingHints told_of(const Artifact& artifact, const std::filesystem::path& path, const ReadingHints& given) {
  return artifact.contract ? given : detail::hints_for(path, given);
}

/// How a file is understood; `model` is only asked where the file says nothing of itself.
template <class OpenModel>
Reading understand(Artifact& artifact, const std::filesystem::path& path, const ReadingHints& hints,
                   const OpenModel& model) {
  if (artifact.contract) {
    check_action(path, hints, artifact.contract->outputs[0].name);
    check_observation(path, hints.observation, *artifact.contract);
    return detail::reading_of(std::move(*artifact.contract), artifact.is_sealed, artifact.signer);
  }
  const bool is_onnx = artifact.kind == ArtifactKind::onnx;
  Reading reading =
      is_onnx ? read_onnx_model(artifact.bytes, path, hints) : read_torchscript_module(path, *model(), hints);
  if (!is_onnx) check_action(path, hints, reading.contract.outputs[0].name);
  if (is_onnx) {
    check_observation(path, hints.observation, reading.contract);
    detail::drop_outputs_of_nothing(artifact.bytes);
  }
  reading.notes.emplace_back(
      "the file carries no contract, and so neither a digest nor a golden trajectory: a change of its numbers would "
      "not be noticed");
  return reading;
}

/// How many rows a graph was traced with that calls its batch any number; 0 if it does not run with a few either.
template <class Start>
std::size_t rows_that_run(const Start& start) {
  constexpr std::size_t most = 64;
  for (std::size_t rows = 2; rows <= most; ++rows) {
    try {
      start(rows, 1);
      return rows;
    } catch (const Error&) {
      continue;
    }
  }
  return 0;
}

}  // namespace

/// A loop and the session that is bound to its buffers.
class Policy::Impl {
 public:
  Impl(std::filesystem::path path, std::shared_ptr<const detail::Origin> origin, std::shared_ptr<const Reading> reading,
       std::shared_ptr<detail::EngineModel> model, Engine engine, const native::KernelTable* kernels, std::size_t batch,
       bool lock_memory, std::optional<std::uint64_t> sample_seed = std::nullopt)
      : path_(std::move(path)),
        origin_(std::move(origin)),
        reading_(std::move(reading)),
        model_(std::move(model)),
        engine_(engine),
        kernels_(kernels),
        lock_memory_(lock_memory),
        loop_(detail::make_loop(path_.string(), reading_->contract, kernels, batch, lock_memory, sample_seed)),
        unused_action_(batch * reading_->contract.action_size()) {
    Failure failure;
    const detail::ReadingSignature signature(*reading_, batch);
    session_.reset(model_->bind(signature.get(), {loop_.observation(), loop_.states(), loop_.outputs()}, failure));
    if (session_ == nullptr) detail::raise(path_, failure);
  }

  [[nodiscard]] std::unique_ptr<Impl> clone() const {
    auto copy =
        std::make_unique<Impl>(path_, origin_, reading_, model_, engine_, kernels_, loop_.batch(), lock_memory_);
    copy->loop_.copy_from(loop_);
    return copy;
  }

  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept {
    return loop_.step(observation, action, [this](std::size_t phase) noexcept { return session_->run(phase); });
  }

  [[nodiscard]] detail::RecordedPolicy recorded() const {
    return detail::recorded(*origin_, *reading_, loop_, engine_, kernels_ == nullptr ? "" : kernels_->name);
  }

  [[nodiscard]] realtime::Loop& loop() noexcept { return loop_; }
  /// [batch, action_size]: of steps that nobody acts on.
  [[nodiscard]] std::span<float> unused_action() noexcept { return unused_action_; }
  [[nodiscard]] const Reading& reading() const noexcept { return *reading_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] Engine engine() const noexcept { return engine_; }
  [[nodiscard]] const char* last_engine_error() const noexcept { return session_->last_error(); }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const detail::Origin> origin_;
  std::shared_ptr<const Reading> reading_;
  std::shared_ptr<detail::EngineModel> model_;
  Engine engine_;
  const native::KernelTable* kernels_;
  bool lock_memory_;
  realtime::Loop loop_;
  std::vector<float> unused_action_;
  std::unique_ptr<detail::EngineSession> session_;  // last: it must go before the buffers it is bound to
};

Policy Policy::load(const std::filesystem::path& path, const LoadOptions& options) {
  return detail::at_boundary(path, [&] { return make(path, detail::read_artifact(path), false, options); });
}

Policy Policy::load(std::span<const std::byte> file, const std::string& name, const LoadOptions& options) {
  return detail::at_boundary(name, [&] {
    return make(name, detail::read_artifact({file.begin(), file.end()}, name, ArtifactKind::ganglion), true, options);
  });
}

Policy Policy::make(const std::filesystem::path& path, detail::Artifact artifact, bool is_in_memory,
                    const LoadOptions& options) {
  if (options.threads < 1 || options.warmup_steps < 0) {
    throw Error(ErrorCode::bad_option,
                "'" + path.string() + "': threads must be at least 1 and warmup_steps at least 0");
  }
  detail::check_signer(artifact.signer, options.public_key, path.string());
  const Engine engine = detail::engine_for(path, suffix_of(artifact.kind), options.engine);
  const native::KernelTable* const kernels = detail::kernels_of(engine, path, options);
  const ReadingHints hints = told_of(artifact, path, options.hints);
  const auto origin = detail::origin_of(path.string(), artifact, is_in_memory, hints);
  std::shared_ptr<detail::EngineModel> model;
  const auto open = [&] {
    if (model == nullptr) model = detail::open_model(path, engine, kernels, artifact, options);
    return model;
  };
  const auto reading = std::make_shared<const Reading>(understand(artifact, path, hints, open));
  const std::size_t batch = detail::choose_batch(path.string(), reading->contract, options.batch);
  const auto start = [&](std::size_t rows, int steps) {
    Policy started(std::make_unique<Impl>(path, origin, reading, open(), engine, kernels, rows, options.lock_memory,
                                          options.sample_seed));
    if (!detail::warm_up(started, started.impl_->loop(), steps)) {
      throw Error(ErrorCode::engine_failure, "'" + path.string() + "': the engine " + ganglion::to_string(engine) +
                                                 " failed in a warm-up step: " + started.impl_->last_engine_error());
    }
    return started;
  };
  Policy policy(nullptr);
  try {
    policy = start(batch, options.warmup_steps);
  } catch (const Error&) {
    const bool any_rows = options.batch == 0 && !reading->contract.batch && model != nullptr;
    const std::size_t rows = any_rows ? rows_that_run(start) : 0;
    if (rows == 0) throw;
    throw Error(ErrorCode::bad_contract,
                "'" + path.string() + "': its shapes take any number of rows, but it runs with " +
                    std::to_string(rows) + " rows only: load(..., batch=" + std::to_string(rows) + ")");
  }
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
  return impl_ ? impl_->step(observation, action) : Status::moved_from;
}

BurnIn Policy::burn_in(std::span<const float> observations) noexcept {
  return impl_ ? detail::burn_in(*this, observations, impl_->unused_action()) : BurnIn{Status::moved_from, 0};
}

void Policy::reset() noexcept {
  if (impl_) impl_->loop().reset();
}

Status Policy::reset(std::span<const std::uint8_t> rows) noexcept {
  return impl_ ? impl_->loop().reset(rows) : Status::moved_from;
}

std::span<const float> Policy::output(std::size_t index) const noexcept {
  return impl_ ? impl_->loop().output(index) : std::span<const float>();
}

std::span<const float> Policy::state() const noexcept {
  return impl_ ? impl_->loop().state() : std::span<const float>();
}

Status Policy::set_state(std::span<const float> state) noexcept {
  return impl_ ? impl_->loop().set_state(state) : Status::moved_from;
}

Status Policy::set_applied_action(std::span<const float> action) noexcept {
  return impl_ ? impl_->loop().set_applied_action(action) : Status::moved_from;
}

void Policy::attach(FlightRecorder& recorder) {
  const Impl& own = detail::held(impl_);
  detail::at_boundary(own.path(), [&] { impl_->loop().record(recorder.attach(own.recorded())); });
}

void Policy::mark(FlightEvent event, std::uint64_t count) noexcept {
  if (impl_) impl_->loop().mark(detail::kind_of(event), count);
}

const Contract& Policy::contract() const noexcept { return reading().contract; }

const Reading& Policy::reading() const noexcept { return impl_ ? impl_->reading() : detail::no_reading; }

std::size_t Policy::batch() const noexcept { return impl_ ? impl_->loop().batch() : 0; }

Engine Policy::engine() const noexcept { return impl_ ? impl_->engine() : Engine::automatic; }

bool Policy::realtime_safe() const noexcept { return impl_ && traits_of(impl_->engine())->realtime_safe; }

Policy Policy::clone() const {
  const Impl& own = detail::held(impl_);
  return detail::at_boundary(own.path(), [&] { return Policy(own.clone()); });
}

SelfTest Policy::self_test() const {
  const Impl& own = detail::held(impl_);
  return detail::at_boundary(own.path(), [&] {
    Policy policy(own.clone());
    policy.impl_->loop().stop_sampling();
    policy.reset();
    return detail::replay_golden(policy, policy.engine() == Engine::native,
                                 [&] { return policy.impl_->last_engine_error(); });
  });
}

namespace {

Reading explained(Artifact artifact, const std::filesystem::path& path, const LoadOptions& options) {
  detail::check_signer(artifact.signer, options.public_key, path.string());
  return understand(artifact, path, told_of(artifact, path, options.hints), [&] {
    const Engine engine = detail::engine_for(path, suffix_of(artifact.kind), options.engine);
    return detail::open_model(path, engine, detail::kernels_of(engine, path, options), artifact, options);
  });
}

}  // namespace

Reading explain(const std::filesystem::path& path, const LoadOptions& options) {
  return detail::at_boundary(path, [&] { return explained(detail::read_artifact(path), path, options); });
}

Reading explain(std::span<const std::byte> file, const std::string& name, const LoadOptions& options) {
  return detail::at_boundary(
      name, [&] { return explained(detail::read_artifact({file.begin(), file.end()}, name), name, options); });
}

Contract inspect(const std::filesystem::path& path, const LoadOptions& options) {
  return explain(path, options).contract;
}

Reading explain_onnx(std::span<const std::byte> file, const std::string& name, const ReadingHints& hints) {
  return detail::at_boundary(name, [&] { return read_onnx_model(file, name, detail::hints_for(name, hints)); });
}

}  // namespace ganglion
