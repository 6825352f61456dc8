#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "facade/c_interface/asked.hpp"
#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/loop.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"
#include "ganglion/action_guard.hpp"

struct ganglion_guard final : ganglion::c_interface::Handle<ganglion::ActionGuard, 'g'> {
  using Handle::Handle;
};

namespace ganglion::c_interface {

namespace {

ganglion_guard_options guard_defaults() noexcept {
  const GuardOptions options;
  ganglion_guard_options known{};
  known.size = sizeof(known);
  known.blend_s = options.blend_s;
  known.longest_hold_s = options.longest_hold_s;
  return known;
}

std::vector<double> list(const double* elements, std::size_t count, const char* what) {
  const auto all = array_of(elements, count, what);
  return {all.begin(), all.end()};
}

ganglion_status told(GuardStatus done, std::int32_t* reason, std::size_t* element) noexcept {
  if (reason != nullptr) *reason = static_cast<std::int32_t>(done.reason);
  if (element != nullptr) *element = done.element;
  if (done.reason == GuardReason::bad_size) return GANGLION_STATUS_BAD_SIZE;
  return done.reason == GuardReason::not_engaged ? GANGLION_CALL_NOT_ENGAGED : GANGLION_OK;
}

}  // namespace

}  // namespace ganglion::c_interface

namespace c = ganglion::c_interface;

extern "C" {

ganglion_status ganglion_guard_options_init(ganglion_guard_options* options, size_t size) noexcept {
  return c::give(c::guard_defaults(), options, size);
}

ganglion_status ganglion_guard_create(const ganglion_policy* policy, const ganglion_guard_options* options,
                                      ganglion_guard** guard, char* message, size_t message_size) noexcept {
  return c::make_handle(__func__, guard, {message, message_size}, [&] {
    const ganglion_guard_options known = c::taken(options, c::guard_defaults(), "options");
    ganglion::GuardOptions asked;
    asked.rate = c::list(known.rate, known.rate_count, "rate");
    asked.low = c::list(known.low, known.low_count, "low");
    asked.high = c::list(known.high, known.high_count, "high");
    asked.damping = c::list(known.damping, known.damping_count, "damping");
    asked.blend_s = known.blend_s;
    asked.longest_hold_s = known.longest_hold_s;
    if (known.longest_tick_s != 0.0) asked.longest_tick_s = known.longest_tick_s;
    return new ganglion_guard(c::contract_of(policy, known.action_size, known.period_s), asked);
  });
}

ganglion_status ganglion_guard_engage(ganglion_guard* guard, const float* position, size_t elements) noexcept {
  return c::with(guard, [&](ganglion::ActionGuard& held) noexcept -> ganglion_status {
    if (!c::is_array(position, elements)) return GANGLION_CALL_NULL_POINTER;
    if (elements != held.size()) return GANGLION_STATUS_BAD_SIZE;
    return held.engage({position, elements}) ? GANGLION_OK : GANGLION_STATUS_NON_FINITE_ACTION;
  });
}

ganglion_status ganglion_guard_apply(ganglion_guard* guard, const float* action, size_t action_elements, int64_t now_ns,
                                     float* command, size_t command_elements, int32_t* reason,
                                     size_t* element) noexcept {
  return c::with(guard, [&](ganglion::ActionGuard& held) noexcept -> ganglion_status {
    if (!c::is_array(action, action_elements) || !c::is_array(command, command_elements)) {
      return GANGLION_CALL_NULL_POINTER;
    }
    return c::told(held.apply({action, action_elements}, now_ns, {command, command_elements}), reason, element);
  });
}

ganglion_status ganglion_guard_hold(ganglion_guard* guard, int64_t now_ns, float* command, size_t command_elements,
                                    int32_t* reason, size_t* element) noexcept {
  return c::with(guard, [&](ganglion::ActionGuard& held) noexcept -> ganglion_status {
    if (!c::is_array(command, command_elements)) return GANGLION_CALL_NULL_POINTER;
    return c::told(held.hold(now_ns, {command, command_elements}), reason, element);
  });
}

ganglion_status ganglion_guard_disengage(ganglion_guard* guard) noexcept {
  return c::with(guard, [](ganglion::ActionGuard& held) noexcept -> ganglion_status {
    held.disengage();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_guard_attach(ganglion_guard* guard, ganglion_recorder* recorder, char* message,
                                      size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::held_in(guard, "guard").attach(c::held_in(recorder, "recorder"));
    return GANGLION_OK;
  });
}

ganglion_status ganglion_guard_destroy(ganglion_guard* guard) noexcept { return c::destroy(guard); }
}
