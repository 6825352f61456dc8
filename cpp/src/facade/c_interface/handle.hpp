#pragma once

// What the opaque pointers of ganglion.h point at.

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include "ganglion.h"
#include "ganglion/realtime.hpp"

namespace ganglion::c_interface {

/// What a handle holds, behind a word that tells the kinds of handles apart, and the living from the destroyed.
template <class Held, char letter>
struct Handle {
  static constexpr std::uint64_t alive = 0x676E676C696F6E00U | static_cast<unsigned char>(letter);

  template <class... Arguments>
  explicit Handle(Arguments&&... arguments) : held(std::in_place, std::forward<Arguments>(arguments)...) {}

  /// Of a living handle there is one. NOLINTBEGIN(bugprone-unchecked-optional-access)
  [[nodiscard]] Held& get() noexcept GANGLION_NONBLOCKING { return *held; }
  [[nodiscard]] const Held& get() const noexcept GANGLION_NONBLOCKING { return *held; }
  // NOLINTEND(bugprone-unchecked-optional-access)

  std::uint64_t magic = alive;
  std::optional<Held> held;
  Handle* destroyed_before = nullptr;
};

template <class AnyHandle>
ganglion_status checked(const AnyHandle* handle) noexcept GANGLION_NONBLOCKING {
  if (handle == nullptr) return GANGLION_CALL_NULL_POINTER;
  return handle->magic == AnyHandle::alive ? GANGLION_OK : GANGLION_CALL_BAD_HANDLE;
}

/// A debug build keeps the empty block, so that a later use of the handle finds the word gone; others cannot afford to.
template <class AnyHandle>
ganglion_status destroy(AnyHandle* handle) noexcept {
  if (handle == nullptr) return GANGLION_OK;
  if (const ganglion_status status = checked(handle); status != GANGLION_OK) return status;
#ifdef NDEBUG
  handle->magic = 0;
  delete handle;
#else
  static std::atomic<decltype(handle->destroyed_before)> destroyed{nullptr};  // in reach of whoever looks for leaks
  handle->magic = 0;
  handle->held.reset();
  handle->destroyed_before = destroyed.load();
  while (!destroyed.compare_exchange_weak(handle->destroyed_before, handle)) {
  }
#endif
  return GANGLION_OK;
}

}  // namespace ganglion::c_interface
