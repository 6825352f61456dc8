#include "ganglion/native_policy.hpp"

#include <utility>
#include <vector>

#include "facade/golden_replay.hpp"
#include "facade/native_engine.hpp"
#include "io/artifact.hpp"
#include "native/kernels/choice.hpp"
#include "native/model.hpp"

namespace ganglion {

const char* native_instruction_set() noexcept { return native::kernels_for(realtime::Isa::automatic)->name; }

class NativePolicy::Impl {
 public:
  Impl(std::string name, std::shared_ptr<const Contract> contract, std::shared_ptr<const native::Model> model,
       std::size_t batch, bool lock_memory, std::optional<std::uint64_t> sample_seed = std::nullopt)
      : name_(std::move(name)),
        contract_(std::move(contract)),
        model_(std::move(model)),
        lock_memory_(lock_memory),
        loop_(detail::make_loop(name_, *contract_, batch, lock_memory, sample_seed)),
        session_(native::Session::make(model_, {loop_.observation(), loop_.states(), loop_.outputs()})) {
    if (session_ == nullptr) {
      throw Error(ErrorCode::engine_failure, "'" + name_ + "': " + detail::out_of_memory(lock_memory));
    }
  }

  [[nodiscard]] std::unique_ptr<Impl> clone() const {
    auto copy = std::make_unique<Impl>(name_, contract_, model_, loop_.batch(), lock_memory_);
    copy->loop_.copy_from(loop_);
    return copy;
  }

  /// Runs steps that only serve to wake up caches and to resolve what the C library binds at the first call.
  void warm_up(int steps) noexcept {
    for (int i = 0; i < steps; ++i) session_->run(loop_.phase());
    loop_.reset();
  }

  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept GANGLION_NONBLOCKING {
    return loop_.step(observation, action, [this](std::size_t phase) noexcept {
      session_->run(phase);
      return true;
    });
  }

  [[nodiscard]] realtime::Loop& loop() noexcept GANGLION_NONBLOCKING { return loop_; }
  [[nodiscard]] const Contract& contract() const noexcept GANGLION_NONBLOCKING { return *contract_; }

 private:
  std::string name_;
  std::shared_ptr<const Contract> contract_;
  std::shared_ptr<const native::Model> model_;
  bool lock_memory_;
  realtime::Loop loop_;
  std::unique_ptr<native::Session> session_;  // last: it must go before the buffers it is bound to
};

NativePolicy NativePolicy::load(const std::filesystem::path& path, const NativeOptions& options) {
  if (path.extension() != ".ganglion") {
    throw Error(ErrorCode::bad_option, "'" + path.string() +
                                           "': the native engine runs .ganglion files; compile it (ganglion compile) "
                                           "or load it with ganglion::Policy");
  }
  return make(path.string(), detail::read_artifact(path), options);
}

NativePolicy NativePolicy::load(std::span<const std::byte> file, const NativeOptions& options) {
  const std::string name = "a .ganglion file in memory";
  return make(name, detail::read_artifact({file.begin(), file.end()}, name, detail::ArtifactKind::ganglion), options);
}

NativePolicy NativePolicy::make(const std::string& name, const detail::Artifact& artifact,
                                const NativeOptions& options) {
  if (options.warmup_steps < 0) throw Error(ErrorCode::bad_option, "'" + name + "': warmup_steps must be at least 0");
  // NOLINTBEGIN(bugprone-unchecked-optional-access): read_artifact fills both for a .ganglion file
  const auto contract = std::make_shared<const Contract>(*artifact.contract);
  const std::size_t batch = detail::choose_batch(name, *contract, options.batch);
  auto model = native::Model::make(*artifact.program, batch, *native::kernels_for(realtime::Isa::automatic),
                                   options.lock_memory);
  // NOLINTEND(bugprone-unchecked-optional-access)
  if (model == nullptr) {
    throw Error(ErrorCode::engine_failure, "'" + name + "': " + detail::out_of_memory(options.lock_memory));
  }
  NativePolicy policy(
      std::make_unique<Impl>(name, contract, std::move(model), batch, options.lock_memory, options.sample_seed));
  policy.impl_->warm_up(options.warmup_steps);
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
  return impl_->step(observation, action);
}

void NativePolicy::reset() noexcept GANGLION_NONBLOCKING { impl_->loop().reset(); }

Status NativePolicy::reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  return impl_->loop().reset(rows);
}

std::span<const float> NativePolicy::output(std::size_t index) const noexcept GANGLION_NONBLOCKING {
  return impl_->loop().output(index);
}

std::span<const float> NativePolicy::state() const noexcept GANGLION_NONBLOCKING { return impl_->loop().state(); }

Status NativePolicy::set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING {
  return impl_->loop().set_state(state);
}

Status NativePolicy::set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING {
  return impl_->loop().set_applied_action(action);
}

const Contract& NativePolicy::contract() const noexcept GANGLION_NONBLOCKING { return impl_->contract(); }

std::size_t NativePolicy::batch() const noexcept GANGLION_NONBLOCKING { return impl_->loop().batch(); }

SelfTest NativePolicy::self_test() const {
  NativePolicy policy = clone();
  policy.impl_->loop().stop_sampling();
  policy.reset();
  return detail::replay_golden(
      {contract(), batch(),
       [&](std::span<const float> observation, std::span<float> action) { return policy.step(observation, action); },
       [&](std::span<const std::uint8_t> rows) { return policy.reset(rows); },
       [&](std::size_t index) { return policy.output(index); }, [] { return std::string(); }});
}

NativePolicy NativePolicy::clone() const { return NativePolicy(impl_->clone()); }

}  // namespace ganglion
