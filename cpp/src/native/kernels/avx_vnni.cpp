// Only what AVX-VNNI adds to AVX2; the same rules as in kernels/set.hpp.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace {

// clang-format off: each needs the ones before it
#include "native/kernels/vectors/avx2.hpp"
#include "native/kernels/math.hpp"
#include "native/kernels/panels.hpp"
#include "native/kernels/dot_pairs.hpp"
#include "native/kernels/dot.hpp"
// clang-format on

}  // namespace

const DotKernels dot_kernels_avx_vnni = {.group = Whole::group, .affine = dot_affine, .lstm = dot_lstm, .gru = dot_gru};

}  // namespace ganglion::native
