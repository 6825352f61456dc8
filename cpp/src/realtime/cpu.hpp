#pragma once

#include <cstdint>

#include "native/kernels/table.hpp"

namespace ganglion::native {

enum class Isa : std::uint8_t { automatic, portable, avx2, avx512, avx512_vnni };

/// The kernels for an instruction set, or null where this build or this CPU has none; automatic: the best there is.
[[nodiscard]] const KernelTable* kernels_for(Isa isa) noexcept;

}  // namespace ganglion::native
