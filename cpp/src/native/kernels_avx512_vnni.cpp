// Only what AVX512-VNNI adds to AVX-512; the same rules as in kernel_set.hpp.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "native/kernels.hpp"

namespace ganglion::native {

namespace {

// clang-format off: each needs the ones before it
#include "native/vector_avx512.hpp"
#include "native/vector_math.hpp"
#include "native/vector_panels.hpp"
#include "native/vector_dot_vnni.hpp"
// clang-format on

}  // namespace

const DotKernels dot_kernels_avx512_vnni = {.affine = dot_affine, .lstm = dot_lstm, .gru = dot_gru};

}  // namespace ganglion::native
