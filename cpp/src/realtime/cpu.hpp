#pragma once

#include <cstdint>

namespace ganglion::realtime {

enum class Isa : std::uint8_t { automatic, portable, avx2, avx512, avx512_vnni };
inline constexpr Isa every_isa[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_vnni};

/// True where this CPU has the instruction set, with everything that the ones before it have.
[[nodiscard]] bool cpu_has(Isa isa) noexcept;

}  // namespace ganglion::realtime
