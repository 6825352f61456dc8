#include "ganglion/policy_switch.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/loop.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"

namespace ganglion::c_interface {

namespace {

struct HeldSwitch {
  explicit HeldSwitch(Policy first) : outputs(first.contract().outputs.size()), policy(std::move(first)) {}

  [[nodiscard]] std::size_t output_count() const noexcept { return outputs; }

  std::size_t outputs;
  PolicySwitch<Policy> policy;
};

ganglion_switch_options switch_defaults() noexcept {
  const SwitchOptions options;
  ganglion_switch_options known{};
  known.size = sizeof(known);
  known.agreeing_steps = options.agreeing_steps;
  known.patience = options.patience;
  known.blend_steps = options.blend_steps;
  known.keep_steps = options.keep_steps;
  known.state = static_cast<std::int32_t>(options.state);
  return known;
}

}  // namespace

}  // namespace ganglion::c_interface

struct ganglion_switch final : ganglion::c_interface::Handle<ganglion::c_interface::HeldSwitch, 's'> {
  using Handle::Handle;
};

namespace c = ganglion::c_interface;

extern "C" {

ganglion_status ganglion_switch_options_init(ganglion_switch_options* options, size_t size) noexcept {
  return c::give(c::switch_defaults(), options, size);
}

ganglion_status ganglion_switch_create(const ganglion_policy* policy, ganglion_switch** made, char* message,
                                       size_t message_size) noexcept {
  return c::make_handle(__func__, made, {message, message_size},
                        [&] { return new ganglion_switch(c::held_in(policy, "policy").policy.clone()); });
}

ganglion_status ganglion_switch_stage(ganglion_switch* flight, const ganglion_policy* candidate,
                                      const ganglion_switch_options* options, char* message,
                                      size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    auto& held = c::held_in(flight, "flight");
    const auto& staged = c::held_in(candidate, "candidate");
    const ganglion_switch_options known = c::taken(options, c::switch_defaults(), "options");
    ganglion::SwitchOptions asked;
    const auto gate = c::array_of(known.gate, known.gate_count, "gate");
    asked.gate.assign(gate.begin(), gate.end());
    asked.agreeing_steps = known.agreeing_steps;
    asked.patience = known.patience;
    asked.blend_steps = known.blend_steps;
    if (known.blend_s != 0.0) asked.blend_s = known.blend_s;
    asked.keep_steps = known.keep_steps;
    asked.state = c::enumerator_of(known.state, ganglion::StateHandOver::copied, "state");
    held.policy.stage(staged.policy.clone(), asked);
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_collect(ganglion_switch* flight, size_t* freed, char* message,
                                        size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    const std::size_t count = c::held_in(flight, "flight").policy.collect();
    if (freed != nullptr) *freed = count;
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_attach(ganglion_switch* flight, ganglion_recorder* recorder, char* message,
                                       size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::held_in(flight, "flight").policy.attach(c::held_in(recorder, "recorder"));
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_detach(ganglion_switch* flight) noexcept {
  return c::with(flight, [](c::HeldSwitch& held) noexcept -> ganglion_status {
    held.policy.detach();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_take_over(ganglion_switch* flight) noexcept {
  return c::with(flight, [](c::HeldSwitch& held) noexcept -> ganglion_status {
    held.policy.take_over();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_roll_back(ganglion_switch* flight) noexcept {
  return c::with(flight, [](c::HeldSwitch& held) noexcept -> ganglion_status {
    held.policy.roll_back();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_get_report(const ganglion_switch* flight, ganglion_switch_report* report) noexcept {
  return c::with(flight, [&](const c::HeldSwitch& held) noexcept {
    const ganglion::SwitchReport seen = held.policy.report();
    ganglion_switch_report found{};
    found.steps = seen.steps;
    found.exchanges = seen.exchanges;
    found.rejections = seen.rejections;
    found.roll_backs = seen.roll_backs;
    found.agreeing = seen.agreeing;
    found.step = seen.step;
    found.row = seen.row;
    found.element = seen.element;
    found.difference = static_cast<double>(seen.difference);
    found.phase = static_cast<std::int32_t>(seen.phase);
    found.outcome = static_cast<std::int32_t>(seen.outcome);
    found.status = c::status_of(seen.status);
    return c::give(found, report);
  });
}

ganglion_status ganglion_switch_report_sentence(const ganglion_switch* flight, char* message,
                                                size_t message_size) noexcept {
  const c::Message to{message, message_size};
  return c::set_up(__func__, to, [&] {
    to.say(c::held_in(flight, "flight").policy.report().sentence());
    return GANGLION_OK;
  });
}

ganglion_status ganglion_switch_step(ganglion_switch* flight, const float* observation, size_t observation_elements,
                                     float* action, size_t action_elements) noexcept {
  return c::step(flight, observation, observation_elements, action, action_elements);
}

ganglion_status ganglion_switch_reset(ganglion_switch* flight) noexcept { return c::reset(flight); }

ganglion_status ganglion_switch_reset_rows(ganglion_switch* flight, const uint8_t* rows, size_t count) noexcept {
  return c::reset_rows(flight, rows, count);
}

ganglion_status ganglion_switch_output(const ganglion_switch* flight, size_t index, const float** values,
                                       size_t* elements) noexcept {
  return c::output(flight, index, values, elements);
}

ganglion_status ganglion_switch_state(const ganglion_switch* flight, const float** values, size_t* elements) noexcept {
  return c::state(flight, values, elements);
}

ganglion_status ganglion_switch_set_state(ganglion_switch* flight, const float* state, size_t elements) noexcept {
  return c::set_state(flight, state, elements);
}

ganglion_status ganglion_switch_set_applied_action(ganglion_switch* flight, const float* action,
                                                   size_t elements) noexcept {
  return c::set_applied_action(flight, action, elements);
}

ganglion_status ganglion_switch_destroy(ganglion_switch* flight) noexcept { return c::destroy(flight); }
}
