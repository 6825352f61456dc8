// Functions of one number at a time, compiled once, for every instruction set.

#include <cstddef>
#include <cstdint>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace {

/// A product that is rounded before it goes into a sum: this room is built with -ffp-contract=off.
inline double product(double a, double b) noexcept { return a * b; }

#include "native/kernels/numbers.hpp"

}  // namespace

float sin_of(float x) noexcept GANGLION_NONBLOCKING { return sin_number(x); }
float cos_of(float x) noexcept GANGLION_NONBLOCKING { return cos_number(x); }
float atan_of(float x) noexcept GANGLION_NONBLOCKING { return atan_number(x); }
float pow_of(float a, float b) noexcept GANGLION_NONBLOCKING { return pow_number(a, b); }
float mod_of(float a, float b) noexcept GANGLION_NONBLOCKING { return mod_number(a, b); }

}  // namespace ganglion::native
