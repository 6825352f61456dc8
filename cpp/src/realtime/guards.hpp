#pragma once

// Under AddressSanitizer every row of a value gets poisoned room behind it, and no two values share memory: a kernel
// that goes past its operand would read its neighbour unseen otherwise, because all values lie in one arena.

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define GANGLION_GUARDS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GANGLION_GUARDS 1
#endif
#endif

#if defined(GANGLION_GUARDS)
#include <sanitizer/asan_interface.h>
#endif

namespace ganglion::realtime {

#if defined(GANGLION_GUARDS)
inline constexpr bool has_guards = true;
inline void poison(const void* begin, std::size_t bytes) noexcept { __asan_poison_memory_region(begin, bytes); }
#else
inline constexpr bool has_guards = false;
inline void poison(const void*, std::size_t) noexcept {}
#endif

}  // namespace ganglion::realtime
