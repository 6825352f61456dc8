#include "realtime/cpu.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace ganglion::realtime {

#if defined(__x86_64__)
namespace {

// By hand: __builtin_cpu_supports asks a library of the compiler, which some lack, and does not know every name.
struct Leaf {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
};

/// Zeros where the CPU has no such leaf.
Leaf cpuid(unsigned int leaf, unsigned int below) noexcept {
  Leaf found;
  if (__get_cpuid_count(leaf, below, &found.eax, &found.ebx, &found.ecx, &found.edx) == 0) return {};
  return found;
}

/// The registers that the kernel keeps for a thread (XCR0): an instruction whose registers it does not keep is illegal.
unsigned int kept_registers(const Leaf& basics) noexcept {
  if ((basics.ecx & bit_OSXSAVE) == 0) return 0;
  unsigned int low = 0;   // NOLINT(misc-const-correctness): written by the instruction
  unsigned int high = 0;  // NOLINT(misc-const-correctness)
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

constexpr bool all(unsigned int word, unsigned int bits) noexcept { return (word & bits) == bits; }

}  // namespace
#elif defined(__aarch64__)
namespace {

/// Products of signed bytes (FEAT_DotProd), as Linux tells.
bool has_dot_products() noexcept {
#if defined(__linux__)
  constexpr unsigned long dot_products = 1UL << 20U;  // HWCAP_ASIMDDP
  return (getauxval(AT_HWCAP) & dot_products) != 0;
#else
  return false;
#endif
}

}  // namespace
#endif

bool cpu_has(Isa isa) noexcept {
  if (isa == Isa::automatic || isa == Isa::baseline) return true;
#if defined(__x86_64__)
  if (isa == Isa::neon || isa == Isa::neon_dotprod) return false;
  constexpr unsigned int avx_registers = 0x06;
  constexpr unsigned int avx512_registers = 0xe6;
  constexpr unsigned int bit_avx_vnni = 1U << 4U;  // GCC 10 has no name for it
  const Leaf basics = cpuid(1, 0);                 // each costs an exit of a virtual machine
  const Leaf features = cpuid(7, 0);
  const unsigned int kept = kept_registers(basics);
  const bool avx2 =
      all(kept, avx_registers) && all(basics.ecx, bit_AVX | bit_FMA | bit_F16C) && all(features.ebx, bit_AVX2);
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx_vnni) return avx2 && all(cpuid(7, 1).eax, bit_avx_vnni);
  const bool avx512 = avx2 && all(kept, avx512_registers) &&
                      all(features.ebx, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ);
  return avx512 && (isa == Isa::avx512 || all(features.ecx, bit_AVX512VNNI));
#elif defined(__aarch64__)
  return isa == Isa::neon || (isa == Isa::neon_dotprod && has_dot_products());
#else
  return false;
#endif
}

}  // namespace ganglion::realtime
