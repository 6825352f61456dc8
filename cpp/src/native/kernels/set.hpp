// The kernels of one instruction set: included by one translation unit each, which has defined
//   GANGLION_KERNEL_TABLE    the name of the KernelTable to define
//   GANGLION_VECTOR_HEADER   the header with its Vector
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
#include "native/kernels/convolution.hpp"
#include "native/kernels/dot_pairs.hpp"
#include "native/kernels/dot.hpp"
// clang-format on

}  // namespace

// clang-format off
const KernelTable GANGLION_KERNEL_TABLE = {
    .name = GANGLION_KERNEL_NAME,
    .lanes = lanes,
    .panel_vectors = 4,
    .group = Whole::group,
    .affine = {affine<F32>, affine<F16>, affine<I8>, dot_affine},
    .lstm = {lstm<F32>, lstm<F16>, lstm<I8>, dot_lstm},
    .gru = {gru<F32>, gru<F16>, gru<I8>, dot_gru},
    .unary = unary_kernels,
    .binary = binary_kernels,
    .reduce = reduce_kernels,
    .unary_rows = unary_rows,
    .copy = copy,
    .gather = gather,
    .pick = pick,
    .places = shared_rows * 4 / convolution_vectors,
    .convolve_places = convolve_places,
    .convolve_channels = convolve_channels,
#define GANGLION_PLAIN_OPERATION(id, ...) .id = id,
#include "native/vocabulary.def"
    .blend = blend,
    .all_finite = all_finite,
    .take = take<true>,
    .take_as_it_is = take<false>,
};
// clang-format on

}  // namespace ganglion::native
