#include "ganglion/policy.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/load_options.hpp"
#include "facade/c_interface/loop.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"

namespace c = ganglion::c_interface;

extern "C" {

ganglion_status ganglion_policy_load(const char* path, const ganglion_load_options* options, ganglion_policy** policy,
                                     char* message, size_t message_size) noexcept {
  return c::make_handle(__func__, policy, {message, message_size}, [&] {
    c::require_pointer(path, "path");
    return new ganglion_policy(ganglion::Policy::load(path, c::load_options(options)));
  });
}

ganglion_status ganglion_policy_load_memory(const void* file, size_t file_size, const char* name,
                                            const ganglion_load_options* options, ganglion_policy** policy,
                                            char* message, size_t message_size) noexcept {
  return c::make_handle(__func__, policy, {message, message_size}, [&] {
    c::require_pointer(name, "name");
    const auto bytes = c::array_of(static_cast<const std::byte*>(file), file_size, "file");
    return new ganglion_policy(ganglion::Policy::load(bytes, name, c::load_options(options)));
  });
}

ganglion_status ganglion_policy_clone(const ganglion_policy* policy, ganglion_policy** clone, char* message,
                                      size_t message_size) noexcept {
  return c::make_handle(__func__, clone, {message, message_size},
                        [&] { return new ganglion_policy(c::held_in(policy, "policy").policy.clone()); });
}

ganglion_status ganglion_policy_destroy(ganglion_policy* policy) noexcept { return c::destroy(policy); }

ganglion_status ganglion_policy_step(ganglion_policy* policy, const float* observation, size_t observation_elements,
                                     float* action, size_t action_elements) noexcept {
  return c::step(policy, observation, observation_elements, action, action_elements);
}

ganglion_status ganglion_policy_burn_in(ganglion_policy* policy, const float* observations, size_t elements,
                                        size_t* steps) noexcept {
  return c::with(policy, [&](c::HeldPolicy& held) noexcept -> ganglion_status {
    if (!c::is_array(observations, elements)) return GANGLION_CALL_NULL_POINTER;
    const ganglion::BurnIn done = held.policy.burn_in({observations, elements});
    if (steps != nullptr) *steps = done.steps;
    return c::status_of(done.status);
  });
}

ganglion_status ganglion_policy_reset(ganglion_policy* policy) noexcept { return c::reset(policy); }

ganglion_status ganglion_policy_reset_rows(ganglion_policy* policy, const uint8_t* rows, size_t count) noexcept {
  return c::reset_rows(policy, rows, count);
}

ganglion_status ganglion_policy_output(const ganglion_policy* policy, size_t index, const float** values,
                                       size_t* elements) noexcept {
  return c::output(policy, index, values, elements);
}

ganglion_status ganglion_policy_state(const ganglion_policy* policy, const float** values, size_t* elements) noexcept {
  return c::state(policy, values, elements);
}

ganglion_status ganglion_policy_set_state(ganglion_policy* policy, const float* state, size_t elements) noexcept {
  return c::set_state(policy, state, elements);
}

ganglion_status ganglion_policy_set_applied_action(ganglion_policy* policy, const float* action,
                                                   size_t elements) noexcept {
  return c::set_applied_action(policy, action, elements);
}

ganglion_status ganglion_policy_attach(ganglion_policy* policy, ganglion_recorder* recorder, char* message,
                                       size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::held_in(policy, "policy").policy.attach(c::held_in(recorder, "recorder"));
    return GANGLION_OK;
  });
}

ganglion_status ganglion_policy_mark(ganglion_policy* policy, int32_t event, uint64_t count) noexcept {
  return c::with(policy, [&](c::HeldPolicy& held) noexcept -> ganglion_status {
    if (event < 0 || event > GANGLION_EVENT_ROLLED_BACK) return GANGLION_CALL_OUT_OF_RANGE;
    held.policy.mark(static_cast<ganglion::FlightEvent>(event), count);
    return GANGLION_OK;
  });
}
}
