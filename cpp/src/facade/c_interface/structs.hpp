#pragma once

// Structs that grow: each begins with its own size, and what one side does not know is zero to it.

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "ganglion.h"
#include "ganglion/realtime.hpp"

namespace ganglion::c_interface {

/// A size beyond it was never set.
inline constexpr std::size_t largest_struct = 65536;

/// The size that a struct had when it was first published: up to the end of what was its last field.
template <class Struct>
inline constexpr std::size_t first_size = 0;

// A field that comes later must not lie in what was padding: there may be anything in it.
#define GANGLION_FIRST_STRUCT(type, last)                                                                   \
  template <>                                                                                               \
  inline constexpr std::size_t first_size<type> = offsetof(type, last) + sizeof(std::declval<type>().last); \
  static_assert(offsetof(type, size) == 0 && first_size<type> % alignof(type) == 0)

GANGLION_FIRST_STRUCT(ganglion_hints, observation_count);
GANGLION_FIRST_STRUCT(ganglion_load_options, reserved);
GANGLION_FIRST_STRUCT(ganglion_policy_info, has_golden);
GANGLION_FIRST_STRUCT(ganglion_tensor, rank);
GANGLION_FIRST_STRUCT(ganglion_slot, rank);
GANGLION_FIRST_STRUCT(ganglion_self_test, digest_count);
GANGLION_FIRST_STRUCT(ganglion_recorder_options, reserved);
GANGLION_FIRST_STRUCT(ganglion_recorder_statistics, bytes);
GANGLION_FIRST_STRUCT(ganglion_cadence_options, reserved);
GANGLION_FIRST_STRUCT(ganglion_cadence_info, skipped);
GANGLION_FIRST_STRUCT(ganglion_tick_options, mismatch_tolerance);
GANGLION_FIRST_STRUCT(ganglion_tick_statistics, off_ns);
GANGLION_FIRST_STRUCT(ganglion_mismatch, found_s);
GANGLION_FIRST_STRUCT(ganglion_guard_options, action_size);
GANGLION_FIRST_STRUCT(ganglion_switch_options, reserved);
GANGLION_FIRST_STRUCT(ganglion_switch_report, reserved);
#undef GANGLION_FIRST_STRUCT

template <class Struct>
ganglion_status checked_size(std::size_t size) noexcept GANGLION_NONBLOCKING {
  static_assert(first_size<Struct> > 0);
  return size >= first_size<Struct> && size <= largest_struct ? GANGLION_OK : GANGLION_CALL_BAD_STRUCT;
}

/// What a caller's struct says; `known` has the defaults, and keeps those of fields that the caller does not know.
template <class Struct>
ganglion_status take(const Struct* given, Struct& known) noexcept GANGLION_NONBLOCKING {
  if (given == nullptr) return GANGLION_OK;
  const std::size_t size = given->size;
  if (const ganglion_status status = checked_size<Struct>(size); status != GANGLION_OK) return status;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) return GANGLION_CALL_NEWER_STRUCT;
  }
  std::memcpy(&known, bytes, std::min(size, sizeof(Struct)));
  known.size = sizeof(Struct);
  if constexpr (requires { known.reserved; }) {
    if (known.reserved != 0) return GANGLION_CALL_NEWER_STRUCT;
  }
  return GANGLION_OK;
}

/// Hands out a struct; its field `size` is set here.
template <class Struct>
ganglion_status give(Struct found, Struct* to, std::size_t size) noexcept GANGLION_NONBLOCKING {
  if (to == nullptr) return GANGLION_CALL_NULL_POINTER;
  if (const ganglion_status status = checked_size<Struct>(size); status != GANGLION_OK) return status;
  found.size = size;
  const std::size_t known = std::min(size, sizeof(Struct));
  std::memcpy(static_cast<void*>(to), &found, known);
  std::memset(reinterpret_cast<unsigned char*>(to) + known, 0, size - known);
  return GANGLION_OK;
}

/// The same for a struct whose size the caller has set.
template <class Struct>
ganglion_status give(const Struct& found, Struct* to) noexcept GANGLION_NONBLOCKING {
  return to == nullptr ? GANGLION_CALL_NULL_POINTER : give(found, to, to->size);
}

}  // namespace ganglion::c_interface
