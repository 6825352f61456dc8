// Functions of one number at a time, compiled once, for every instruction set.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace numbers {
namespace {

/// A product that is rounded before it goes into a sum: this room is built with -ffp-contract=off.
inline double product(double a, double b) noexcept { return a * b; }

#include "native/kernels/numbers.hpp"

}  // namespace
}  // namespace numbers

float sin_of(float x) noexcept GANGLION_NONBLOCKING { return numbers::sin_of(x); }
float cos_of(float x) noexcept GANGLION_NONBLOCKING { return numbers::cos_of(x); }
float atan_of(float x) noexcept GANGLION_NONBLOCKING { return numbers::atan_of(x); }
float pow_of(float a, float b) noexcept GANGLION_NONBLOCKING { return numbers::pow_of(a, b); }
float mod_of(float a, float b) noexcept GANGLION_NONBLOCKING { return numbers::mod_of(a, b); }

}  // namespace ganglion::native
