#include "ganglion/adapter_check.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "io/boundary.hpp"
#include "wiring/raw_recording.hpp"

namespace ganglion {

namespace {

/// A NaN that no adapter computes: what is left of it was not written.
constexpr std::uint32_t not_written = 0x7FD1A5E5;

void check_written(std::span<const float> observation, const RawState& raw) {
  for (std::size_t i = 0; i < observation.size(); ++i) {
    if (std::isfinite(observation[i])) continue;
    const bool is_left_out = std::bit_cast<std::uint32_t>(observation[i]) == not_written;
    throw Error(ErrorCode::bad_option, "the adapter gave no number for element " + std::to_string(i) + " in step " +
                                           std::to_string(raw.step()) +
                                           (is_left_out ? ": it did not write it; is the observation_size right?"
                                                        : ": it is NaN or infinite; look at what it divides by"));
  }
}

}  // namespace

std::span<const double> RawState::operator[](std::string_view name) const { return recording_->at(name, step_, row_); }

std::span<const float> RawState::as_float(std::string_view name) const {
  return recording_->float_at(name, step_, row_);
}

bool RawState::has(std::string_view name) const { return recording_->has(name); }

AdapterCheck check_adapter(const std::filesystem::path& raw, const std::filesystem::path& output,
                           std::size_t observation_size, const Adapter& adapter,
                           const std::function<void()>& on_reset) {
  if (observation_size == 0) {
    throw Error(ErrorCode::bad_option, "observation_size is 0; say how many elements the policy takes");
  }
  const wiring::RawRecording recording = wiring::read_raw(raw);
  AdapterCheck done{.steps = recording.steps(), .rows = recording.rows()};
  auto observations = detail::at_boundary(raw.string(), [&] {
    return std::vector<float>(done.steps * done.rows * observation_size, std::bit_cast<float>(not_written));
  });
  for (std::size_t row = 0; row < done.rows; ++row) {
    for (std::size_t step = 0; step < done.steps; ++step) {
      const RawState state = recording.state(step, row);
      if (state.reset()) {
        ++done.resets;
        if (on_reset) on_reset();
      }
      const auto observation =
          std::span(observations).subspan((step * done.rows + row) * observation_size, observation_size);
      adapter(state, observation);
      check_written(observation, state);
    }
  }
  recording.write(output, observations, observation_size);
  return done;
}

}  // namespace ganglion
