#pragma once

#include "native/kernels/table.hpp"
#include "realtime/cpu.hpp"

namespace ganglion::native {

/// The kernels for an instruction set, or null where this build or this CPU has none; automatic: the best there is.
[[nodiscard]] const KernelTable* kernels_for(Isa isa) noexcept;

}  // namespace ganglion::native
