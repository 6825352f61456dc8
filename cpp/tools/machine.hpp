#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ganglion::tools {

/// Keeps the program on one CPU. Throws std::runtime_error where the system refuses.
void pin_to(int cpu);

/// Asks for SCHED_FIFO, which no ordinary program interrupts. False, and errno says why, where the system does not
/// allow it.
[[nodiscard]] bool ask_for_fifo(int priority) noexcept;

/// Keeps all memory of the program in RAM, what it takes from now on too. False, and errno says why, where the system
/// does not allow it.
[[nodiscard]] bool lock_all_memory() noexcept;

/// Nanoseconds of CLOCK_MONOTONIC.
[[nodiscard]] std::int64_t now_ns() noexcept;

/// Waits for a time of that clock, or for a signal.
void wait_until(std::int64_t time_ns) noexcept;

/// What the system did to a thread.
struct ThreadUsage {
  long page_faults = 0;  ///< all of them
  long from_disk = 0;    ///< those among them that waited for a disk
  long waits = 0;        ///< context switches that the thread asked for
  long interruptions = 0;
};

/// Of the thread that calls it, since it began.
[[nodiscard]] ThreadUsage usage_of_thread() noexcept;

/// As the kernel names it, or "unknown".
[[nodiscard]] std::string cpu_name();

/// Bytes of this program that lie in memory now; 0 where the system does not say.
[[nodiscard]] std::size_t resident_bytes();

}  // namespace ganglion::tools
