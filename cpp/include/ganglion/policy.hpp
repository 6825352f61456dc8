#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "ganglion/contract.hpp"
#include "ganglion/error.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/options.hpp"
#include "ganglion/reading.hpp"
#include "ganglion/self_test.hpp"
#include "ganglion/status.hpp"

namespace ganglion {

namespace detail {
struct Artifact;
}

/// A loaded policy that owns its hidden state. Movable, not copyable; one thread at a time.
///
/// Set-up functions may allocate and throw `Error`. Loop verbs (step, burn_in, reset, output, state, set_state) are
/// noexcept.
///
/// After a fork the child keeps what it has, but for ONNX Runtime: there a step answers engine_failure, and the child
/// loads a policy of its own. It must leave by _exit or exec; the library's own cleanup would wait for threads of the
/// parent.
///
/// A policy that was moved from answers `Status::moved_from`, empty spans and an empty contract, and its set-up
/// functions throw.
class Policy final {
 public:
  /// Opens an artifact (.ganglion, .onnx, .pt). Throws `Error` on anything that is wrong with file, engine or options.
  [[nodiscard]] static Policy load(const std::filesystem::path& path, const LoadOptions& options = {});
  /// Opens a .ganglion file in memory, which may go away afterwards; `name` stands for its path in messages.
  [[nodiscard]] static Policy load(std::span<const std::byte> file, const std::string& name,
                                   const LoadOptions& options = {});

  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;
  ~Policy();

  /// One control step. observation: [batch, observation_size]; action: [batch, action_size].
  /// On any status but ok, `action` and the state keep their old bytes.
  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept;

  /// Steps along live observations without acting on them, so that the memory is filled before the robot is engaged.
  /// observations: [steps, batch, observation_size], the oldest one first; begins in the state that there is. Stops at
  /// the first step that is refused: the steps before it stay in the state, nothing of that one does. bad_size, and no
  /// step, where the observations are no whole number of steps.
  [[nodiscard]] BurnIn burn_in(std::span<const float> observations) noexcept;

  /// Restores the initial state of every row; also the state right after load.
  void reset() noexcept;

  /// Restores the initial state of the rows whose byte is not zero. rows: [batch].
  [[nodiscard]] Status reset(std::span<const std::uint8_t> rows) noexcept;

  /// Output `index` of the last ok step, [batch, outputs[index].size]; empty before the first one or out of range.
  /// Valid until the next step.
  [[nodiscard]] std::span<const float> output(std::size_t index) const noexcept;

  /// The hidden state, [batch, hidden_size], each row in the order of the contract's slots. Valid until the next verb.
  [[nodiscard]] std::span<const float> state() const noexcept;

  /// Takes over a hidden state, [batch, hidden_size]; non_finite_state refuses NaN and infinity.
  [[nodiscard]] Status set_state(std::span<const float> state) noexcept;

  /// Tells a policy with a slot prev_action what was executed in place of its last action, [batch, action_size]; the
  /// next step uses it, as what the policy would have given itself for that command (`Contract::action_map`); a command
  /// that it gave changes nothing. bad_size where the policy has no such slot, or no known action map;
  /// non_finite_action refuses NaN and infinity.
  [[nodiscard]] Status set_applied_action(std::span<const float> action) noexcept;

  /// Records every verb from now on, and the policy itself. Set-up; throws `Error`: the policy is recorded already, or
  /// its file was changed or removed after it was loaded. Clones are not recorded.
  void attach(FlightRecorder& recorder);
  /// Notes in the recording what became of this policy; nothing where it is not attached. `count` is the caller's.
  void mark(FlightEvent event, std::uint64_t count = 0) noexcept;

  [[nodiscard]] const Contract& contract() const noexcept;
  /// How the file was understood, and what is suspicious about it.
  [[nodiscard]] const Reading& reading() const noexcept;
  [[nodiscard]] std::size_t batch() const noexcept;
  [[nodiscard]] Engine engine() const noexcept;
  [[nodiscard]] bool realtime_safe() const noexcept;  ///< see EngineTraits; true for native

  /// Replays the golden trajectory on a copy of the state. Allocates: not for the loop.
  [[nodiscard]] SelfTest self_test() const;

  /// A second policy with the same weights and a copy of the state. Allocates: not for the loop.
  [[nodiscard]] Policy clone() const;

 private:
  class Impl;
  explicit Policy(std::unique_ptr<Impl> impl) noexcept;
  static Policy make(const std::filesystem::path& path, detail::Artifact artifact, bool is_in_memory,
                     const LoadOptions& options);
  std::unique_ptr<Impl> impl_;
};

/// How a file is understood, without running it. Needs no engine, but for a TorchScript file without a contract. Throws
/// `Error` as `Policy::load` does.
[[nodiscard]] Reading explain(const std::filesystem::path& path, const LoadOptions& options = {});

/// The same of a file in memory; `name` stands for its path, and its suffix says what kind of file it is.
[[nodiscard]] Reading explain(std::span<const std::byte> file, const std::string& name,
                              const LoadOptions& options = {});

/// The contract of a file, as of `explain`.
[[nodiscard]] Contract inspect(const std::filesystem::path& path, const LoadOptions& options = {});

/// How an ONNX file in memory without a contract is understood; `name` is its path, where a YAML file may lie beside
/// it.
[[nodiscard]] Reading explain_onnx(std::span<const std::byte> file, const std::string& name,
                                   const ReadingHints& hints = {});

}  // namespace ganglion
