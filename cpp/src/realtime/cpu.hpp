#pragma once

#include "ganglion/isa.hpp"

namespace ganglion::realtime {

/// True where this CPU has the instruction set, with everything that its kernels need.
[[nodiscard]] bool cpu_has(Isa isa) noexcept;

}  // namespace ganglion::realtime
