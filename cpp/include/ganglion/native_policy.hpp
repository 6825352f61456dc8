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
#include "ganglion/realtime.hpp"
#include "ganglion/self_test.hpp"
#include "ganglion/status.hpp"

namespace ganglion {

namespace detail {
struct Artifact;
}

/// The kernels that the native engine uses where a load does not say (`Isa`): "baseline", "avx2", ...; a string with
/// static storage. Throws `Error` where GANGLION_ISA asks for what there is not.
[[nodiscard]] const char* native_instruction_set();

/// A policy on the native engine. Movable, not copyable; one thread at a time.
///
/// Set-up functions may allocate and throw `Error`. Everything marked GANGLION_NONBLOCKING takes no heap, no lock and
/// no system call, and a time that does not depend on the numbers.
///
/// A policy that was moved from answers `Status::moved_from`, empty spans and an empty contract, and its set-up
/// functions throw.
class NativePolicy final {
 public:
  /// Opens a .ganglion file. Throws `Error` on anything that is wrong with file or options.
  [[nodiscard]] static NativePolicy load(const std::filesystem::path& path, const NativeOptions& options = {});
  /// The same for a file in memory, which may go away afterwards.
  [[nodiscard]] static NativePolicy load(std::span<const std::byte> file, const NativeOptions& options = {});

  NativePolicy(NativePolicy&&) noexcept;
  NativePolicy& operator=(NativePolicy&&) noexcept;
  NativePolicy(const NativePolicy&) = delete;
  NativePolicy& operator=(const NativePolicy&) = delete;
  ~NativePolicy();

  /// One control step. observation: [batch, observation_size]; action: [batch, action_size].
  /// On any status but ok, `action` and the state keep their old bytes.
  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept GANGLION_NONBLOCKING;

  /// Steps along live observations without acting on them, so that the memory is filled before the robot is engaged.
  /// observations: [steps, batch, observation_size], the oldest one first; begins in the state that there is. Stops at
  /// the first step that is refused: the steps before it stay in the state, nothing of that one does. bad_size, and no
  /// step, where the observations are no whole number of steps.
  [[nodiscard]] BurnIn burn_in(std::span<const float> observations) noexcept GANGLION_NONBLOCKING;

  /// Restores the initial state of every row; also the state right after load.
  void reset() noexcept GANGLION_NONBLOCKING;

  /// Restores the initial state of the rows whose byte is not zero. rows: [batch].
  [[nodiscard]] Status reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING;

  /// Output `index` of the last ok step, [batch, outputs[index].size]; empty before the first one or out of range.
  /// Valid until the next step.
  [[nodiscard]] std::span<const float> output(std::size_t index) const noexcept GANGLION_NONBLOCKING;

  /// The hidden state, [batch, hidden_size], each row in the order of the contract's slots. Valid until the next verb.
  [[nodiscard]] std::span<const float> state() const noexcept GANGLION_NONBLOCKING;

  /// Takes over a hidden state, [batch, hidden_size]; non_finite_state refuses NaN and infinity.
  [[nodiscard]] Status set_state(std::span<const float> state) noexcept GANGLION_NONBLOCKING;

  /// Tells a policy with a slot prev_action what was executed in place of its last action, [batch, action_size]; the
  /// next step uses it, as what the policy would have given itself for that command (`Contract::action_map`); a command
  /// that it gave changes nothing. bad_size where the policy has no such slot, or no known action map;
  /// non_finite_action refuses NaN and infinity.
  [[nodiscard]] Status set_applied_action(std::span<const float> action) noexcept GANGLION_NONBLOCKING;

  /// Records every verb from now on, and the policy itself. Set-up; throws `Error`: the policy is recorded already, or
  /// its file was changed or removed after it was loaded. Clones are not recorded.
  void attach(FlightRecorder& recorder);
  /// Notes in the recording what became of this policy; nothing where it is not attached. `count` is the caller's.
  void mark(FlightEvent event, std::uint64_t count = 0) noexcept GANGLION_NONBLOCKING;

  [[nodiscard]] const Contract& contract() const noexcept GANGLION_NONBLOCKING;
  /// How the file was understood, and what is suspicious about it.
  [[nodiscard]] const Reading& reading() const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::size_t batch() const noexcept GANGLION_NONBLOCKING;

  /// Replays the golden trajectory on a copy of the state. Allocates: not for the loop.
  [[nodiscard]] SelfTest self_test() const;

  /// A second policy with the same weights and a copy of the state. Allocates: not for the loop.
  [[nodiscard]] NativePolicy clone() const;

 private:
  class Impl;
  explicit NativePolicy(std::unique_ptr<Impl> impl) noexcept;
  static NativePolicy make(const std::string& name, detail::Artifact artifact, bool is_in_memory,
                           const NativeOptions& options);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ganglion
