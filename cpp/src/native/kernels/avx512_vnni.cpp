// Only what AVX512-VNNI adds to AVX-512; the same rules as in kernels/set.hpp.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace {

// clang-format off: each needs the ones before it
#include "native/kernels/vectors/avx512.hpp"
#include "native/kernels/math.hpp"
#include "native/kernels/panels.hpp"
#include "native/kernels/bytes/avx512.hpp"
#include "native/kernels/dot_bytes.hpp"
#include "native/kernels/dot.hpp"
// clang-format on

}  // namespace

const DotKernels dot_kernels_avx512_vnni = {
    .group = Whole::group, .affine = dot_affine, .lstm = dot_lstm, .gru = dot_gru};

}  // namespace ganglion::native
