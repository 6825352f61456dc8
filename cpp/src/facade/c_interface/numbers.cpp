// The numbers that C sees are those that C++ has.

#include <cstdint>
#include <string_view>

#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"
#include "ganglion/action_guard.hpp"
#include "ganglion/cadence.hpp"
#include "ganglion/error.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/native_policy.hpp"
#include "ganglion/policy_switch.hpp"
#include "ganglion/status.hpp"
#include "ganglion/version.hpp"

namespace ganglion::c_interface {

namespace {

constexpr ganglion_status errors = GANGLION_ERROR_FILE_NOT_FOUND;
constexpr ganglion_status calls = GANGLION_CALL_NULL_POINTER;

#define GANGLION_SAME(number, enumerator, base) \
  static_assert((number) == (base) + static_cast<std::int32_t>(enumerator))
GANGLION_SAME(GANGLION_OK, Status::ok, 0);
GANGLION_SAME(GANGLION_STATUS_BAD_SIZE, Status::bad_size, 0);
GANGLION_SAME(GANGLION_STATUS_NON_FINITE_OBSERVATION, Status::non_finite_observation, 0);
GANGLION_SAME(GANGLION_STATUS_NON_FINITE_ACTION, Status::non_finite_action, 0);
GANGLION_SAME(GANGLION_STATUS_ENGINE_FAILURE, Status::engine_failure, 0);
GANGLION_SAME(GANGLION_STATUS_NON_FINITE_STATE, Status::non_finite_state, 0);
GANGLION_SAME(GANGLION_STATUS_MOVED_FROM, Status::moved_from, 0);
static_assert(to_string(static_cast<Status>(GANGLION_STATUS_MOVED_FROM + 1)) == std::string_view("unknown"),
              "ganglion.h lacks a Status");

static_assert(errors == 0x100 && calls == 0x200);
GANGLION_SAME(GANGLION_ERROR_FILE_NOT_FOUND, ErrorCode::file_not_found, errors);
GANGLION_SAME(GANGLION_ERROR_BAD_ARTIFACT, ErrorCode::bad_artifact, errors);
GANGLION_SAME(GANGLION_ERROR_NEWER_FORMAT, ErrorCode::newer_format, errors);
GANGLION_SAME(GANGLION_ERROR_DIGEST_MISMATCH, ErrorCode::digest_mismatch, errors);
GANGLION_SAME(GANGLION_ERROR_BAD_CONTRACT, ErrorCode::bad_contract, errors);
GANGLION_SAME(GANGLION_ERROR_BAD_OPTION, ErrorCode::bad_option, errors);
GANGLION_SAME(GANGLION_ERROR_ENGINE_UNAVAILABLE, ErrorCode::engine_unavailable, errors);
GANGLION_SAME(GANGLION_ERROR_ENGINE_FAILURE, ErrorCode::engine_failure, errors);
GANGLION_SAME(GANGLION_ERROR_SELF_TEST_FAILED, ErrorCode::self_test_failed, errors);
GANGLION_SAME(GANGLION_ERROR_OUT_OF_MEMORY, ErrorCode::out_of_memory, errors);
GANGLION_SAME(GANGLION_ERROR_NOT_SIGNED, ErrorCode::not_signed, errors);
GANGLION_SAME(GANGLION_ERROR_RECORDING_FAILED, ErrorCode::recording_failed, errors);
static_assert(to_string(static_cast<ErrorCode>(GANGLION_ERROR_RECORDING_FAILED + 1 - errors)) ==
                  std::string_view("unknown"),
              "ganglion.h lacks an ErrorCode");

GANGLION_SAME(GANGLION_EVENT_TOOK_OVER, FlightEvent::took_over, 0);
GANGLION_SAME(GANGLION_EVENT_REJECTED, FlightEvent::rejected, 0);
GANGLION_SAME(GANGLION_EVENT_ROLLED_BACK, FlightEvent::rolled_back, 0);

GANGLION_SAME(GANGLION_COMPRESSION_NONE, Compression::none, 0);
GANGLION_SAME(GANGLION_COMPRESSION_ZSTD, Compression::zstd, 0);
GANGLION_SAME(GANGLION_COMPRESSION_LZ4, Compression::lz4, 0);

GANGLION_SAME(GANGLION_BETWEEN_HOLD, Between::hold, 0);
GANGLION_SAME(GANGLION_BETWEEN_LINEAR, Between::linear, 0);

GANGLION_SAME(GANGLION_TICK_ON_TIME, Tick::on_time, 0);
GANGLION_SAME(GANGLION_TICK_EARLY, Tick::early, 0);
GANGLION_SAME(GANGLION_TICK_LATE, Tick::late, 0);
GANGLION_SAME(GANGLION_TICK_MISSED, Tick::missed, 0);
GANGLION_SAME(GANGLION_TICK_CLOCK_SET_BACK, Tick::clock_set_back, 0);

GANGLION_SAME(GANGLION_GUARD_NONE, GuardReason::none, 0);
GANGLION_SAME(GANGLION_GUARD_BLENDING, GuardReason::blending, 0);
GANGLION_SAME(GANGLION_GUARD_CLAMPED, GuardReason::clamped, 0);
GANGLION_SAME(GANGLION_GUARD_LIMITED, GuardReason::limited, 0);
GANGLION_SAME(GANGLION_GUARD_CLOCK_SET_BACK, GuardReason::clock_set_back, 0);
GANGLION_SAME(GANGLION_GUARD_HOLDING, GuardReason::holding, 0);
GANGLION_SAME(GANGLION_GUARD_EXPIRED, GuardReason::expired, 0);
GANGLION_SAME(GANGLION_GUARD_BAD_SIZE, GuardReason::bad_size, 0);
GANGLION_SAME(GANGLION_GUARD_NOT_ENGAGED, GuardReason::not_engaged, 0);

GANGLION_SAME(GANGLION_HAND_OVER_FRESH, StateHandOver::fresh, 0);
GANGLION_SAME(GANGLION_HAND_OVER_BURNED_IN, StateHandOver::burned_in, 0);
GANGLION_SAME(GANGLION_HAND_OVER_COPIED, StateHandOver::copied, 0);

GANGLION_SAME(GANGLION_SWITCH_FLYING, SwitchPhase::flying, 0);
GANGLION_SAME(GANGLION_SWITCH_SHADOWING, SwitchPhase::shadowing, 0);
GANGLION_SAME(GANGLION_SWITCH_BLENDING, SwitchPhase::blending, 0);
GANGLION_SAME(GANGLION_SWITCH_RETURNING, SwitchPhase::returning, 0);
GANGLION_SAME(GANGLION_SWITCH_KEEPING, SwitchPhase::keeping, 0);

GANGLION_SAME(GANGLION_OUTCOME_NONE, SwitchOutcome::none, 0);
GANGLION_SAME(GANGLION_OUTCOME_TOOK_OVER, SwitchOutcome::took_over, 0);
GANGLION_SAME(GANGLION_OUTCOME_DIVERGED, SwitchOutcome::diverged, 0);
GANGLION_SAME(GANGLION_OUTCOME_FAILED, SwitchOutcome::failed, 0);
GANGLION_SAME(GANGLION_OUTCOME_WITHDRAWN, SwitchOutcome::withdrawn, 0);
GANGLION_SAME(GANGLION_OUTCOME_ROLLED_BACK, SwitchOutcome::rolled_back, 0);
#undef GANGLION_SAME

/// The name of a number, which may be any.
template <class Enumeration>
const char* name_of(std::int32_t number, Enumeration last) noexcept {
  if (number < 0 || number > static_cast<std::int32_t>(last)) return "unknown";
  return to_string(static_cast<Enumeration>(number));
}

}  // namespace

}  // namespace ganglion::c_interface

using ganglion::c_interface::name_of;

extern "C" {

const char* ganglion_status_name(ganglion_status status) noexcept {
  switch (status) {
    case GANGLION_CALL_NULL_POINTER:
      return "null_pointer";
    case GANGLION_CALL_BAD_HANDLE:
      return "bad_handle";
    case GANGLION_CALL_BAD_STRUCT:
      return "bad_struct";
    case GANGLION_CALL_NEWER_STRUCT:
      return "newer_struct";
    case GANGLION_CALL_BUFFER_TOO_SMALL:
      return "buffer_too_small";
    case GANGLION_CALL_OUT_OF_RANGE:
      return "out_of_range";
    case GANGLION_CALL_NOT_ENGAGED:
      return "not_engaged";
    case GANGLION_CALL_NO_VALUE:
      return "no_value";
    case GANGLION_CALL_INTERNAL:
      return "internal";
    default:
      break;
  }
  constexpr ganglion_status errors = ganglion::c_interface::errors;
  if (status >= errors) return name_of(status - errors, ganglion::ErrorCode::recording_failed);
  return name_of(status, ganglion::Status::moved_from);
}

const char* ganglion_tick_name(int32_t tick) noexcept { return name_of(tick, ganglion::Tick::clock_set_back); }
const char* ganglion_guard_reason_name(int32_t reason) noexcept {
  return name_of(reason, ganglion::GuardReason::not_engaged);
}
const char* ganglion_switch_phase_name(int32_t phase) noexcept {
  return name_of(phase, ganglion::SwitchPhase::keeping);
}
const char* ganglion_switch_outcome_name(int32_t outcome) noexcept {
  return name_of(outcome, ganglion::SwitchOutcome::rolled_back);
}

const char* ganglion_version() noexcept { return ganglion::version; }

ganglion_status ganglion_instruction_set(const char** name, char* message, size_t message_size) noexcept {
  return ganglion::c_interface::set_up(__func__, {message, message_size}, [&] {
    ganglion::c_interface::require_pointer(name, "name");
    *name = ganglion::native_instruction_set();
    return GANGLION_OK;
  });
}
}
