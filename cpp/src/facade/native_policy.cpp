#include "ganglion/native_policy.hpp"

#include <utility>
#include <vector>

#include "facade/burn_in.hpp"
#include "facade/golden_replay.hpp"
#include "facade/native_engine.hpp"
#include "facade/nothing.hpp"
#include "facade/origin.hpp"
#include "facade/signature.hpp"
#include "facade/warm_up.hpp"
#include "ganglion/flight_recorder.hpp"
#include "io/artifact.hpp"
#include "io/boundary.hpp"
#include "io/signer.hpp"
#include "native/kernels/choice.hpp"
#include "native/model.hpp"

namespace ganglion {

const char* native_instruction_set() { return detail::kernels_asked_for("native engine", Isa::automatic).name; }

class NativePolicy::Impl {
 public:
  Impl(std::string name, std::shared_ptr<const detail::Origin> origin, std::shared_ptr<const Reading> reading,
       const native::KernelTable& kernels, std::shared_ptr<const native::Model> model, std::size_t batch,
       bool lock_memory, std::optional<std::uint64_t> sample_seed = std::nullopt)
      : name_(std::move(name)),
        origin_(std::move(origin)),
        reading_(std::move(reading)),
        kernels_(kernels),
        model_(std::move(model)),
        lock_memory_(lock_memory),
        loop_(detail::make_loop(name_, reading_->contract, &kernels_, batch, lock_memory, sample_seed)),
        unused_action_(batch * reading_->contract.action_size()),
        session_(native::Session::make(model_, {loop_.observation(), loop_.states(), loop_.outputs()})) {
    if (session_ == nullptr) {
      throw Error(ErrorCode::engine_failure, "'" + name_ + "': " + detail::too_little_memory(lock_memory));
    }
  }

  [[nodiscard]] std::unique_ptr<Impl> clone() const {
    auto copy = std::make_unique<Impl>(name_, origin_, reading_, kernels_, model_, loop_.batch(), lock_memory_);
    copy->loop_.copy_from(loop_);
    return copy;
  }

  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept GANGLION_NONBLOCKING {
    return loop_.step(observation, action, [this](std::size_t phase) noexcept {
      session_->run(phase);
      return true;
    });
  }

  [[nodiscard]] detail::RecordedPolicy recorded() const {
    return detail::recorded(*origin_, *reading_, loop_, Engine::native, kernels_.name);
  }

  [[nodiscard]] realtime::Loop& loop() noexcept GANGLION_NONBLOCKING { return loop_; }
  /// [batch, action_size]: of steps that nobody acts on.
  [[nodiscard]] std::span<float> unused_action() noexcept GANGLION_NONBLOCKING { return unused_action_; }
  [[nodiscard]] const Reading& reading() const noexcept GANGLION_NONBLOCKING { return *reading_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  std::shared_ptr<const detail::Origin> origin_;
  std::shared_ptr<const Reading> reading_;
  const native::KernelTable& kernels_;
  std::shared_ptr<const native::Model> model_;
  bool lock_memory_;
  realtime::Loop loop_;
  std::vector<float> unused_action_;
  std::unique_ptr<native::Session> session_;  // last: it must go before the buffers it is bound to
};

NativePolicy NativePolicy::load(const std::filesystem::path& path, const NativeOptions& options) {
  if (path.extension() != ".ganglion") {
    throw Error(ErrorCode::bad_option, "'" + path.string() +
                                           "': the native engine runs .ganglion files; compile it (ganglion compile) "
                                           "or load it with ganglion::Policy");
  }
  return detail::at_boundary(path, [&] { return make(path.string(), detail::read_artifact(path), false, options); });
}

NativePolicy NativePolicy::load(std::span<const std::byte> file, const NativeOptions& options) {
  constexpr const char* name = "a .ganglion file in memory";
  return detail::at_boundary(name, [&] {
    return make(name, detail::read_artifact({file.begin(), file.end()}, name, detail::ArtifactKind::ganglion), true,
                options);
  });
}

NativePolicy NativePolicy::make(const std::string& name, detail::Artifact artifact, bool is_in_memory,
                                const NativeOptions& options) {
  if (options.warmup_steps < 0) throw Error(ErrorCode::bad_option, "'" + name + "': warmup_steps must be at least 0");
  detail::check_signer(artifact.signer, options.public_key, name);
  const auto origin = detail::origin_of(name, artifact, is_in_memory);
  // NOLINTBEGIN(bugprone-unchecked-optional-access): read_artifact fills both for a .ganglion file
  const auto reading = std::make_shared<const Reading>(
      detail::reading_of(std::move(*artifact.contract), artifact.is_sealed, std::move(artifact.signer)));
  const std::size_t batch = detail::choose_batch(name, reading->contract, options.batch);
  const native::KernelTable& kernels = detail::kernels_asked_for(name, options.isa);
  auto model = native::Model::make(*artifact.program, batch, kernels, options.lock_memory);
  // NOLINTEND(bugprone-unchecked-optional-access)
  if (model == nullptr) {
    throw Error(ErrorCode::engine_failure, "'" + name + "': " + detail::too_little_memory(options.lock_memory));
  }
  NativePolicy policy(std::make_unique<Impl>(name, origin, reading, kernels, std::move(model), batch,
                                             options.lock_memory, options.sample_seed));
  static_cast<void>(detail::warm_up(policy, policy.impl_->loop(), options.warmup_steps));
  if (options.self_test) {
    const SelfTest result = policy.self_test();
    if (!result.ok) throw Error(ErrorCode::self_test_failed, "'" + name + "': " + result.message);
  }
  return policy;
}

NativePolicy::NativePolicy(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
NativePolicy::NativePolicy(NativePolicy&&) noexcept = default;
NativePolicy& NativePolicy::operator=(NativePolicy&&) noexcept = default;
NativePolicy::~NativePolicy() = default;

Status NativePolicy::step(std::span<const float> observation, std::span<float> action) noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->step(observation, action) : Status::moved_from;
}

BurnIn NativePolicy::burn_in(std::span<const float> observations) noexcept GANGLION_NONBLOCKING {
  return impl_ ? detail::burn_in(*this, observations, impl_->unused_action()) : BurnIn{Status::moved_from, 0};
}

void NativePolicy::reset() noexcept GANGLION_NONBLOCKING {
  if (impl_) impl_->loop().reset();
}

Status NativePolicy::reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->loop().reset(rows) : Status::moved_from;
}

std::span<const float> NativePolicy::output(std::size_t index) const noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->loop().output(index) : std::span<const float>();
}

std::span<const float> NativePolicy::state() const noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->loop().state() : std::span<const float>();
}

Status NativePolicy::set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->loop().set_state(state) : Status::moved_from;
}

Status NativePolicy::set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->loop().set_applied_action(action) : Status::moved_from;
}

void NativePolicy::attach(FlightRecorder& recorder) {
  const Impl& own = detail::held(impl_);
  detail::at_boundary(own.name(), [&] { impl_->loop().record(recorder.attach(own.recorded())); });
}

void NativePolicy::mark(FlightEvent event, std::uint64_t count) noexcept GANGLION_NONBLOCKING {
  if (impl_) impl_->loop().mark(detail::kind_of(event), count);
}

const Contract& NativePolicy::contract() const noexcept GANGLION_NONBLOCKING { return reading().contract; }

const Reading& NativePolicy::reading() const noexcept GANGLION_NONBLOCKING {
  return impl_ ? impl_->reading() : detail::no_reading;
}

std::size_t NativePolicy::batch() const noexcept GANGLION_NONBLOCKING { return impl_ ? impl_->loop().batch() : 0; }

SelfTest NativePolicy::self_test() const {
  const Impl& own = detail::held(impl_);
  return detail::at_boundary(own.name(), [&] {
    NativePolicy policy(own.clone());
    policy.impl_->loop().stop_sampling();
    policy.reset();
    return detail::replay_golden(policy, true, [] { return std::string(); });
  });
}

NativePolicy NativePolicy::clone() const {
  const Impl& own = detail::held(impl_);
  return detail::at_boundary(own.name(), [&] { return NativePolicy(own.clone()); });
}

}  // namespace ganglion
