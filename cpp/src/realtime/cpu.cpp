#include "realtime/cpu.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace ganglion::realtime {

#if defined(__x86_64__)
namespace {

/// Conversions of float16. Clang 16 and older do not know the name in __builtin_cpu_supports.
bool has_f16c() noexcept {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/// Integer products of AVX-512-VNNI for CPUs without AVX-512. GCC 12 does not know the name in __builtin_cpu_supports.
bool has_avx_vnni() noexcept {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  constexpr unsigned int bit_avx_vnni = 1U << 4U;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & bit_avx_vnni) != 0;
}

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
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx_vnni) return avx2 && has_avx_vnni();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return avx512 && (isa == Isa::avx512 || __builtin_cpu_supports("avx512vnni"));
#elif defined(__aarch64__)
  return isa == Isa::neon || (isa == Isa::neon_dotprod && has_dot_products());
#else
  return false;
#endif
}

}  // namespace ganglion::realtime
