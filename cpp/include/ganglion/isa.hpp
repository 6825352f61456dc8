#pragma once

// The instruction sets that the native engine has kernels for. All of them compute the same bits (cpp/NUMERICS.md).

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ganglion {

// Of several that a CPU has, the last one is the fastest. baseline: what every CPU of the architecture has; of AArch64,
// that is neon.
#define GANGLION_INSTRUCTION_SETS(ISA) \
  ISA(baseline)                        \
  ISA(neon)                            \
  ISA(neon_dotprod)                    \
  ISA(avx2)                            \
  ISA(avx_vnni)                        \
  ISA(avx512)                          \
  ISA(avx512_vnni)

enum class Isa : std::uint8_t {
  automatic,  ///< what the environment variable GANGLION_ISA says, else the fastest of this CPU
#define GANGLION_ISA_ROW(name) name,
  GANGLION_INSTRUCTION_SETS(GANGLION_ISA_ROW)
#undef GANGLION_ISA_ROW
};

inline constexpr std::array every_isa{
#define GANGLION_ISA_ROW(name) Isa::name,
    GANGLION_INSTRUCTION_SETS(GANGLION_ISA_ROW)
#undef GANGLION_ISA_ROW
};

/// "automatic", "avx2", ...; a string with static storage.
[[nodiscard]] constexpr const char* to_string(Isa isa) noexcept {
  switch (isa) {
    case Isa::automatic:
      break;
#define GANGLION_ISA_ROW(name) \
  case Isa::name:              \
    return #name;
      GANGLION_INSTRUCTION_SETS(GANGLION_ISA_ROW)
#undef GANGLION_ISA_ROW
  }
  return "automatic";
}

/// The inverse of `to_string`; none for any other name.
[[nodiscard]] constexpr std::optional<Isa> isa_named(std::string_view name) noexcept {
  if (name == "automatic") return Isa::automatic;
  for (const Isa isa : every_isa) {
    if (name == to_string(isa)) return isa;
  }
  return std::nullopt;
}

}  // namespace ganglion
