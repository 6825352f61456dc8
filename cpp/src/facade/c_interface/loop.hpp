#pragma once

// What loop calls share: no exception, no memory.

#include <cstddef>
#include <cstdint>
#include <span>

#include "facade/c_interface/handle.hpp"
#include "ganglion.h"
#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"

namespace ganglion::c_interface {

constexpr ganglion_status status_of(Status status) noexcept GANGLION_NONBLOCKING {
  return static_cast<ganglion_status>(status);
}

template <class Element>
bool is_array(const Element* elements, std::size_t count) noexcept GANGLION_NONBLOCKING {
  return elements != nullptr || count == 0;
}

/// Does `work` with what the handle holds, unless the handle is bad; answers its status.
template <class AnyHandle, class Work>
ganglion_status with(AnyHandle* handle, const Work& work) noexcept {
  const ganglion_status status = checked(handle);
  return status == GANGLION_OK ? work(handle->get()) : status;
}

/// Floats that the library holds.
inline ganglion_status give_span(std::span<const float> found, const float** values,
                                 std::size_t* elements) noexcept GANGLION_NONBLOCKING {
  if (values == nullptr || elements == nullptr) return GANGLION_CALL_NULL_POINTER;
  *values = found.empty() ? nullptr : found.data();
  *elements = found.size();
  return GANGLION_OK;
}

// The verbs that a policy and a switch have in common.

template <class AnyHandle>
ganglion_status step(AnyHandle* handle, const float* observation, std::size_t observations, float* action,
                     std::size_t actions) noexcept {
  return with(handle, [&](auto& held) noexcept -> ganglion_status {
    if (!is_array(observation, observations) || !is_array(action, actions)) return GANGLION_CALL_NULL_POINTER;
    return status_of(held.policy.step({observation, observations}, {action, actions}));
  });
}

template <class AnyHandle>
ganglion_status reset(AnyHandle* handle) noexcept {
  return with(handle, [](auto& held) noexcept -> ganglion_status {
    held.policy.reset();
    return GANGLION_OK;
  });
}

template <class AnyHandle>
ganglion_status reset_rows(AnyHandle* handle, const std::uint8_t* rows, std::size_t count) noexcept {
  return with(handle, [&](auto& held) noexcept -> ganglion_status {
    if (!is_array(rows, count)) return GANGLION_CALL_NULL_POINTER;
    return status_of(held.policy.reset(std::span(rows, count)));
  });
}

template <class AnyHandle>
ganglion_status output(const AnyHandle* handle, std::size_t index, const float** values,
                       std::size_t* elements) noexcept {
  return with(handle, [&](const auto& held) noexcept -> ganglion_status {
    if (index >= held.output_count()) return GANGLION_CALL_OUT_OF_RANGE;
    return give_span(held.policy.output(index), values, elements);
  });
}

template <class AnyHandle>
ganglion_status state(const AnyHandle* handle, const float** values, std::size_t* elements) noexcept {
  return with(handle, [&](const auto& held) noexcept { return give_span(held.policy.state(), values, elements); });
}

template <class AnyHandle>
ganglion_status set_state(AnyHandle* handle, const float* values, std::size_t elements) noexcept {
  return with(handle, [&](auto& held) noexcept -> ganglion_status {
    if (!is_array(values, elements)) return GANGLION_CALL_NULL_POINTER;
    return status_of(held.policy.set_state({values, elements}));
  });
}

template <class AnyHandle>
ganglion_status set_applied_action(AnyHandle* handle, const float* action, std::size_t elements) noexcept {
  return with(handle, [&](auto& held) noexcept -> ganglion_status {
    if (!is_array(action, elements)) return GANGLION_CALL_NULL_POINTER;
    return status_of(held.policy.set_applied_action({action, elements}));
  });
}

}  // namespace ganglion::c_interface
