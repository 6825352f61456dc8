#pragma once

#include <cstddef>
#include <cstdint>

namespace ganglion {

/// What a step or another loop verb answers. Anything but `ok` leaves the action buffer and the state as they were.
enum class Status : std::uint8_t {
  ok,                      ///< the action is written and the state has advanced
  bad_size,                ///< a span has the wrong number of elements
  non_finite_observation,  ///< an observation element is NaN or infinite
  non_finite_action,       ///< the policy produced a NaN or infinite action, other output or next state
  engine_failure,          ///< the engine reported an error of its own
  non_finite_state,        ///< an element of a state handed in is NaN or infinite
  moved_from,              ///< the policy was moved to another object; this one holds nothing
};

/// The enumerator's name, for example "bad_size"; a string with static storage.
[[nodiscard]] constexpr const char* to_string(Status status) noexcept {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::bad_size:
      return "bad_size";
    case Status::non_finite_observation:
      return "non_finite_observation";
    case Status::non_finite_action:
      return "non_finite_action";
    case Status::engine_failure:
      return "engine_failure";
    case Status::non_finite_state:
      return "non_finite_state";
    case Status::moved_from:
      return "moved_from";
  }
  return "unknown";
}

/// How far a burn-in came.
struct BurnIn {
  Status status = Status::ok;  ///< of the first step that was refused
  std::size_t steps = 0;       ///< steps that were ok, all of them before that one
};

}  // namespace ganglion
