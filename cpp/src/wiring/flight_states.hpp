#pragma once

#include <cstddef>
#include <span>

#include "wiring/npz.hpp"

namespace ganglion::wiring {

[[nodiscard]] bool is_flight(std::span<const std::byte> bytes);

/// The states of a recording of `FlightRecorder`: every channel of one's own by its name, and of the first policy that
/// stepped `observation`, `action` and `reset`, one row for each step that was not refused.
///
/// A channel with as many messages as there are steps belongs to them one by one, whether the loop records before it
/// steps or afterwards; of any other channel the newest message before a step counts. Behind a hole, where events were
/// dropped, an episode begins.
///
/// Throws `Error` (bad_artifact).
[[nodiscard]] Arrays read_flight_states(std::span<const std::byte> bytes);

}  // namespace ganglion::wiring
