#pragma once

// Counts what a control loop must not do: calls of the C library that take memory, take a lock, or enter the kernel.

#include <cstdint>

namespace realtime {

/// Calls since `watch(true)`, of this thread: malloc and its family, free, mmap, munmap, mprotect, madvise, mlock,
/// pthread mutexes, condition variables, read, write, open, close, nanosleep, sched_yield.
[[nodiscard]] std::uint64_t violations() noexcept;

/// The name of the last function counted.
[[nodiscard]] const char* last_violation() noexcept;

/// Starts at zero, or stops.
void watch(bool on) noexcept;

}  // namespace realtime
