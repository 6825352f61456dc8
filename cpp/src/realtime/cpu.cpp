#include "realtime/cpu.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ganglion::native {

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

const KernelTable* avx512_vnni() noexcept {
  static const KernelTable table = [] {
    constexpr auto dot = static_cast<std::size_t>(Packing::i8_dot);
    KernelTable result = kernels_avx512;
    result.name = "avx512_vnni";
    result.affine[dot] = dot_kernels_avx512_vnni.affine;
    result.lstm[dot] = dot_kernels_avx512_vnni.lstm;
    result.gru[dot] = dot_kernels_avx512_vnni.gru;
    return result;
  }();
  return &table;
}

}  // namespace
#endif

const KernelTable* kernels_for(Isa isa) noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  if (vnni && (isa == Isa::automatic || isa == Isa::avx512_vnni)) return avx512_vnni();
  if (avx512 && (isa == Isa::automatic || isa == Isa::avx512)) return &kernels_avx512;
  if (avx2 && (isa == Isa::automatic || isa == Isa::avx2)) return &kernels_avx2;
#endif
  return isa == Isa::automatic || isa == Isa::portable ? &kernels_portable : nullptr;
}

}  // namespace ganglion::native
