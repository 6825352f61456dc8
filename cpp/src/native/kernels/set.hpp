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
    .unary = unary_kernels,
    .binary = binary_kernels,
    .reduce = reduce_kernels,
    .unary_rows = unary_rows,
    .copy = copy,
    .gather = gather,
    .conv1d = conv1d,
#define GANGLION_PLAIN_OPERATION(id, ...) .id = id,
#include "native/vocabulary.def"
    .blend = blend,
    .all_finite = all_finite,
};
// clang-format on

}  // namespace ganglion::native
