#include "native/cpu.hpp"

namespace ganglion::native {

const KernelTable* kernels_for(Isa isa) noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  if (vnni && (isa == Isa::automatic || isa == Isa::avx512_vnni)) return &kernels_avx512_vnni;
  if (avx512 && (isa == Isa::automatic || isa == Isa::avx512)) return &kernels_avx512;
  if (avx2 && (isa == Isa::automatic || isa == Isa::avx2)) return &kernels_avx2;
#endif
  return isa == Isa::automatic || isa == Isa::portable ? &kernels_portable : nullptr;
}

}  // namespace ganglion::native
