#include "native/kernels/choice.hpp"

#include <cstddef>

namespace ganglion::native {

using realtime::cpu_has;
using realtime::Isa;

#if defined(__x86_64__)
namespace {

const KernelTable* avx512_vnni() noexcept {
  static const KernelTable table = [] {
    constexpr auto dot = static_cast<std::size_t>(Packing::i8_dot);
    KernelTable result = kernels_avx512;
    result.name = "avx512_vnni";
    result.group = dot_kernels_avx512_vnni.group;
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
  const auto wanted = [isa](Isa set) { return (isa == Isa::automatic || isa == set) && cpu_has(set); };
  if (wanted(Isa::avx512_vnni)) return avx512_vnni();
  if (wanted(Isa::avx512)) return &kernels_avx512;
  if (wanted(Isa::avx2)) return &kernels_avx2;
#endif
  return isa == Isa::automatic || isa == Isa::portable ? &kernels_portable : nullptr;
}

}  // namespace ganglion::native
