#include "ganglion/contract.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/load_options.hpp"
#include "facade/c_interface/loop.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"
#include "ganglion/policy.hpp"

namespace ganglion::c_interface {

namespace {

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> found;
  found.reserve(texts.size());
  for (const std::string& text : texts) found.push_back(text.c_str());
  return found;
}

/// Null for an empty list, which is not known.
template <class Element>
const Element* data_of(const std::vector<Element>& list) noexcept {
  return list.empty() ? nullptr : list.data();
}

ganglion_policy_info info_of(const Policy& policy) noexcept {
  const Contract& contract = policy.contract();
  ganglion_policy_info info{};
  info.size = sizeof(info);
  info.batch = policy.batch();
  info.observation_size = contract.observation_size();
  info.action_size = contract.action_size();
  info.output_size = contract.output_size();
  info.hidden_size = contract.hidden_size();
  info.input_count = contract.inputs.size();
  info.output_count = contract.outputs.size();
  info.slot_count = contract.state.size();
  info.initial_state = data_of(contract.initial_state);
  info.period_s = contract.period_s.value_or(0.0);
  info.engine = to_string(policy.engine());
  info.sha256 = contract.sha256.c_str();
  info.realtime_safe = policy.realtime_safe() ? 1 : 0;
  info.has_golden = contract.golden ? 1 : 0;
  return info;
}

ganglion_status give_tensor(const std::vector<SeenTensor>& tensors, std::size_t index, ganglion_tensor* to) noexcept {
  return index < tensors.size() ? give(tensors[index].get(), to) : GANGLION_CALL_OUT_OF_RANGE;
}

}  // namespace

SeenTensor::SeenTensor(const TensorSpec& spec)
    : element_names_(pointers(spec.element_names)), units_(pointers(spec.units)) {
  seen_.size = sizeof(seen_);
  seen_.name = spec.name.c_str();
  seen_.elements = spec.size;
  seen_.element_names = data_of(element_names_);  // a vector that moves keeps its elements where they are
  seen_.units = data_of(units_);
  seen_.low = data_of(spec.low);
  seen_.high = data_of(spec.high);
  seen_.shape = data_of(spec.shape);
  seen_.rank = spec.shape.size();
}

HeldPolicy::HeldPolicy(Policy held)
    : policy(std::move(held)),
      inputs(policy.contract().inputs.begin(), policy.contract().inputs.end()),
      outputs(policy.contract().outputs.begin(), policy.contract().outputs.end()),
      info(info_of(policy)) {}

}  // namespace ganglion::c_interface

namespace c = ganglion::c_interface;

extern "C" {

ganglion_status ganglion_policy_get_info(const ganglion_policy* policy, ganglion_policy_info* info) noexcept {
  return c::with(policy, [&](const c::HeldPolicy& held) noexcept { return c::give(held.info, info); });
}

ganglion_status ganglion_policy_input(const ganglion_policy* policy, size_t index, ganglion_tensor* input) noexcept {
  return c::with(policy, [&](const c::HeldPolicy& held) noexcept { return c::give_tensor(held.inputs, index, input); });
}

ganglion_status ganglion_policy_output_spec(const ganglion_policy* policy, size_t index,
                                            ganglion_tensor* output) noexcept {
  return c::with(policy,
                 [&](const c::HeldPolicy& held) noexcept { return c::give_tensor(held.outputs, index, output); });
}

ganglion_status ganglion_policy_slot(const ganglion_policy* policy, size_t index, ganglion_slot* slot) noexcept {
  return c::with(policy, [&](const c::HeldPolicy& held) noexcept -> ganglion_status {
    const auto& slots = held.policy.contract().state;
    if (index >= slots.size()) return GANGLION_CALL_OUT_OF_RANGE;
    ganglion_slot found{};
    found.name = slots[index].name.c_str();
    found.elements = slots[index].size();
    found.shape = slots[index].shape.data();
    found.rank = slots[index].shape.size();
    return c::give(found, slot);
  });
}

ganglion_status ganglion_policy_contract_json(const ganglion_policy* policy, char* text, size_t text_size,
                                              size_t* needed, char* message, size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    return c::give_text(c::held_in(policy, "policy").policy.contract().to_json(), text, text_size, needed);
  });
}

ganglion_status ganglion_policy_reading_json(const ganglion_policy* policy, int32_t with_golden, char* text,
                                             size_t text_size, size_t* needed, char* message,
                                             size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    const auto& reading = c::held_in(policy, "policy").policy.reading();
    return c::give_text(reading.to_json(with_golden != 0), text, text_size, needed);
  });
}

ganglion_status ganglion_explain_json(const char* path, const ganglion_load_options* options, char* text,
                                      size_t text_size, size_t* needed, char* message, size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::require_pointer(path, "path");
    return c::give_text(ganglion::explain(path, c::load_options(options)).to_json(), text, text_size, needed);
  });
}

ganglion_status ganglion_explain_memory_json(const void* file, size_t file_size, const char* name,
                                             const ganglion_load_options* options, char* text, size_t text_size,
                                             size_t* needed, char* message, size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::require_pointer(name, "name");
    const auto bytes = c::array_of(static_cast<const std::byte*>(file), file_size, "file");
    return c::give_text(ganglion::explain(bytes, name, c::load_options(options)).to_json(), text, text_size, needed);
  });
}

ganglion_status ganglion_policy_self_test(const ganglion_policy* policy, ganglion_self_test* result, char* digests,
                                          size_t digests_size, char* message, size_t message_size) noexcept {
  const c::Message to{message, message_size};
  return c::set_up(__func__, to, [&]() -> ganglion_status {
    const auto& held = c::held_in(policy, "policy");
    c::require_pointer(result, "result");
    c::require(c::checked_size<ganglion_self_test>(result->size), "result");
    const auto room = c::array_of(digests, digests_size, "digests");
    const ganglion::SelfTest test = held.policy.self_test();
    ganglion_self_test found{};
    found.steps = test.steps;
    found.max_error = test.max_error;
    found.tolerance = test.tolerance;
    found.step = test.step;
    found.row = test.row;
    found.element = test.element;
    found.median_step_us = test.median_step_us;
    found.worst_step_us = test.worst_step_us;
    found.digest_count = test.bits.size();
    std::size_t at = 0;
    for (const std::string& digest : test.bits) {
      if (room.size() - at < digest.size() + 1) break;
      std::copy_n(digest.c_str(), digest.size() + 1, room.begin() + static_cast<std::ptrdiff_t>(at));
      at += digest.size() + 1;
    }
    c::require(c::give(found, result), "result");
    to.say(test.message);
    return test.ok ? GANGLION_OK : GANGLION_ERROR_SELF_TEST_FAILED;
  });
}
}
