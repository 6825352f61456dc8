// The kernels of one instruction set: included by one translation unit each, which has defined
//   GANGLION_KERNEL_TABLE    the name of the KernelTable to define
//   GANGLION_VECTOR_HEADER   the header with its Vector
//   GANGLION_SMALL_WEIGHTS   (optional) its Vector can load float16 and int8
// Everything is in an anonymous namespace and nothing of the C++ library is used: a function that the linker shares
// between units with different flags could run on a CPU without those instructions.

#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "native/kernels/table.hpp"
#include "native/vocabulary.hpp"

namespace ganglion::native {

namespace {

// clang-format off: each needs the ones before it
#include GANGLION_VECTOR_HEADER
#include "native/kernels/math.hpp"
#include "native/kernels/panels.hpp"
#include "native/kernels/elementwise.hpp"
#include "native/kernels/rows.hpp"
// clang-format on

template <Unary F>
constexpr UnaryKernel unary_of() {
  if constexpr (F == Unary::identity) return nullptr;
  if constexpr (F == Unary::sin) return sin_kernel;
  if constexpr (F == Unary::cos) return cos_kernel;
  if constexpr (F == Unary::atan) return atan_kernel;
  return unary<F>;
}

template <Binary F>
constexpr Kernel binary_of() {
  if constexpr (F == Binary::pow) return pow_kernel;
  if constexpr (F == Binary::mod) return mod_kernel;
  return binary<F>;
}

template <std::size_t... I>
struct Numbers {};

template <std::size_t N, std::size_t... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <std::size_t... I>
struct Count<0, I...> {
  using type = Numbers<I...>;
};

struct UnaryKernels {
  UnaryKernel kernels[unary_count];
};
struct BinaryKernels {
  Kernel kernels[binary_count];
};
struct ReduceKernels {
  Kernel kernels[reduce_count];
};

template <std::size_t... I>
constexpr UnaryKernels all_unary(Numbers<I...>) {
  return {{unary_of<static_cast<Unary>(I)>()...}};
}
template <std::size_t... I>
constexpr BinaryKernels all_binary(Numbers<I...>) {
  return {{binary_of<static_cast<Binary>(I)>()...}};
}
template <std::size_t... I>
constexpr ReduceKernels all_reduce(Numbers<I...>) {
  return {{reduce<static_cast<Reduce>(I)>...}};
}

constexpr UnaryKernels unary_kernels = all_unary(Count<unary_count>::type{});
constexpr BinaryKernels binary_kernels = all_binary(Count<binary_count>::type{});
constexpr ReduceKernels reduce_kernels = all_reduce(Count<reduce_count>::type{});

}  // namespace

// clang-format off
const KernelTable GANGLION_KERNEL_TABLE = {
    .name = GANGLION_KERNEL_NAME,
    .lanes = lanes,
    .panel_vectors = 4,
#if defined(GANGLION_SMALL_WEIGHTS)
    .affine = {affine<F32>, affine<F16>, affine<I8>, nullptr},
    .lstm = {lstm<F32>, lstm<F16>, lstm<I8>, nullptr},
    .gru = {gru<F32>, gru<F16>, gru<I8>, nullptr},
#else
    .affine = {affine<F32>, nullptr, nullptr, nullptr},
    .lstm = {lstm<F32>, nullptr, nullptr, nullptr},
    .gru = {gru<F32>, nullptr, nullptr, nullptr},
#endif
    .unary = unary_kernels.kernels,
    .binary = binary_kernels.kernels,
    .reduce = reduce_kernels.kernels,
    .unary_rows = unary_rows,
    .copy = copy,
    .gather = gather,
    .where = where,
    .softmax = softmax<false>,
    .log_softmax = softmax<true>,
    .argmax = argmax,
    .layer_norm = layer_norm,
    .conv1d = conv1d,
    .matmul = matmul,
    .lookup = lookup,
    .blend = blend,
    .all_finite = all_finite,
};
// clang-format on

}  // namespace ganglion::native
