#include "native/kernels/choice.hpp"

#include <cstddef>

namespace ganglion::native {

using realtime::cpu_has;

namespace {

#if defined(__x86_64__) || defined(__aarch64__)
KernelTable with_dot(KernelTable table, const char* name, const DotKernels& dot) noexcept {
  constexpr auto packing = static_cast<std::size_t>(Packing::i8_dot);
  table.name = name;
  table.group = dot.group;
  table.affine[packing] = dot.affine;
  table.lstm[packing] = dot.lstm;
  table.gru[packing] = dot.gru;
  return table;
}
#endif

/// Null where this build has none.
const KernelTable* kernels_of(Isa isa) noexcept {
#if defined(__x86_64__)
  static const KernelTable avx_vnni = with_dot(kernels_avx2, "avx_vnni", dot_kernels_avx_vnni);
  static const KernelTable avx512_vnni = with_dot(kernels_avx512, "avx512_vnni", dot_kernels_avx512_vnni);
  if (isa == Isa::avx2) return &kernels_avx2;
  if (isa == Isa::avx_vnni) return &avx_vnni;
  if (isa == Isa::avx512) return &kernels_avx512;
  if (isa == Isa::avx512_vnni) return &avx512_vnni;
#elif defined(__aarch64__)
  static const KernelTable neon_dotprod = with_dot(kernels_portable, "neon_dotprod", dot_kernels_neon_dotprod);
  if (isa == Isa::neon) return &kernels_portable;
  if (isa == Isa::neon_dotprod) return &neon_dotprod;
#endif
  return isa == Isa::baseline ? &kernels_portable : nullptr;
}

}  // namespace

const KernelTable* kernels_for(Isa isa) noexcept {
  if (isa != Isa::automatic) return cpu_has(isa) ? kernels_of(isa) : nullptr;
  for (std::size_t i = every_isa.size(); i-- > 0;) {  // the fastest is the last
    const KernelTable* const table = kernels_of(every_isa[i]);
    if (table != nullptr && cpu_has(every_isa[i])) return table;
  }
  return &kernels_portable;
}

}  // namespace ganglion::native
