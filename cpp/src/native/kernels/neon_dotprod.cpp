// Only what products of bytes add to NEON; the same rules as in kernels/set.hpp.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace {

// clang-format off: each needs the ones before it
#include "native/kernels/vectors/portable.hpp"
#include "native/kernels/math.hpp"
#include "native/kernels/panels.hpp"
#include "native/kernels/bytes/neon.hpp"
#include "native/kernels/dot_bytes.hpp"
#include "native/kernels/dot.hpp"
// clang-format on

}  // namespace

const DotKernels dot_kernels_neon_dotprod = {
    .group = Whole::group, .affine = dot_affine, .lstm = dot_lstm, .gru = dot_gru};

}  // namespace ganglion::native
