#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "ganglion/error.hpp"

// All of this is set-up: it allocates, and belongs into a test of a controller, not into its loop.

namespace ganglion {

namespace wiring {
class RawRecording;
}

/// What a robot was in one step of a recording: arrays by name, as the recorder called them ("qpos", "command", ...).
///
/// `action` is the answer to the observation of the same step, as in every recording: an adapter that shows the action
/// before keeps it for the next step, as it does on the robot.
class RawState {
 public:
  /// The numbers as they were recorded, nothing rounded. Valid as long as `check_adapter` runs. Throws `Error`
  /// (bad_artifact): there is no such array; names those that are there.
  [[nodiscard]] std::span<const double> operator[](std::string_view name) const;
  /// The same, rounded to float32.
  [[nodiscard]] std::span<const float> as_float(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;

  [[nodiscard]] std::size_t step() const noexcept { return step_; }
  /// Which robot of a recording of several.
  [[nodiscard]] std::size_t row() const noexcept { return row_; }
  /// Whether an episode begins with this step: nothing of what was before belongs to it.
  [[nodiscard]] bool reset() const noexcept { return reset_; }

 private:
  friend class wiring::RawRecording;
  RawState(const wiring::RawRecording& recording, std::size_t step, std::size_t row, bool reset) noexcept
      : recording_(&recording), step_(step), row_(row), reset_(reset) {}

  const wiring::RawRecording* recording_;
  std::size_t step_;
  std::size_t row_;
  bool reset_;
};

/// What the adapter of a robot makes of a raw state: it writes every element of `observation`.
using Adapter = std::function<void(const RawState& raw, std::span<float> observation)>;

/// What `check_adapter` went through.
struct AdapterCheck {
  std::size_t steps = 0;
  std::size_t rows = 1;    ///< robots
  std::size_t resets = 0;  ///< beginnings of episodes, the first ones among them
};

/// Replays recorded raw states through an adapter, and writes what it makes of them: the one side of
/// `ganglion wiring run.npz adapter.npz`.
///
///     ganglion::check_adapter("run.npz", "adapter.npz", 48,
///                             [&](const ganglion::RawState& raw, std::span<float> observation) {
///                               adapter.observe(raw["qpos"], raw["qvel"], raw["command"], observation);
///                               adapter.set_last_action(raw["action"]);
///                             },
///                             [&] { adapter.reset(); });
///
/// `raw` is a .npz of `ganglion.wiring.record` (numpy.savez, or savez_compressed: every array `[steps, n]`, or
/// `[steps, rows, n]` of several robots) or the .mcap of a `FlightRecorder` whose channels are the states. `output` is
/// a .npz with `observation`, float32, and with `reset`, `action` and `names` of `raw`; it is replaced when everything
/// is done, and not before.
///
/// Steps come in their order, one robot after the other. `on_reset` is called where an episode begins, before the step:
/// at the first step of each robot, and where the recording has a reset.
///
/// Throws `Error`: `raw` is missing, damaged or no recording (file_not_found, bad_artifact); `observation_size` is 0,
/// or an element was not written or is no finite number (bad_option, with step and element); `output` cannot be written
/// (recording_failed). What the adapter itself throws passes.
AdapterCheck check_adapter(const std::filesystem::path& raw, const std::filesystem::path& output,
                           std::size_t observation_size, const Adapter& adapter,
                           const std::function<void()>& on_reset = {});

}  // namespace ganglion
