// Functions that come from the C library, one number at a time; compiled once, for every instruction set.

#include <cmath>

#include "native/kernels/table.hpp"

namespace ganglion::native {

float sin_of(float x) noexcept GANGLION_NONBLOCKING { return sinf(x); }
float cos_of(float x) noexcept GANGLION_NONBLOCKING { return cosf(x); }
float atan_of(float x) noexcept GANGLION_NONBLOCKING { return atanf(x); }
float pow_of(float a, float b) noexcept GANGLION_NONBLOCKING { return powf(a, b); }
float mod_of(float a, float b) noexcept GANGLION_NONBLOCKING { return fmodf(a, b); }

}  // namespace ganglion::native
