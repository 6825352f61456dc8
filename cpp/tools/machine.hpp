#pragma once

#include <cstddef>
#include <string>

namespace ganglion::tools {

/// Keeps the program on one CPU. Throws std::runtime_error where the system refuses.
void pin_to(int cpu);

/// Asks for SCHED_FIFO, which no ordinary program interrupts. Answers "SCHED_FIFO", or "SCHED_OTHER" where the system
/// does not allow it.
[[nodiscard]] const char* ask_for_fifo() noexcept;

/// As the kernel names it, or "unknown".
[[nodiscard]] std::string cpu_name();

/// Bytes of this program that lie in memory now; 0 where the system does not say.
[[nodiscard]] std::size_t resident_bytes();

}  // namespace ganglion::tools
