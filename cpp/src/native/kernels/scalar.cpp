// Functions of one number at a time, most from the C library; compiled once, for every instruction set.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace {

/// The bits of a float without its sign.
std::uint32_t size_bits(float x) noexcept {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  return bits & 0x7FFFFFFFU;
}

/// A finite number without its sign is whole * 2^(exponent - 150).
struct Parts {
  explicit Parts(std::uint32_t bits) noexcept
      : exponent(bits < 0x00800000U ? 1 : static_cast<int>(bits >> 23U)),
        whole(static_cast<double>(bits < 0x00800000U ? bits : (bits & 0x007FFFFFU) | 0x00800000U)) {}
  int exponent;
  double whole;
};

double power_of_two(int n) noexcept {
  const auto bits = static_cast<std::uint64_t>(1023 + n) << 52U;
  double power = 0.0;
  std::memcpy(&power, &bits, sizeof power);
  return power;
}

/// x modulo m, for whole numbers 0 <= x < 2^52 and 1 <= m < 2^24 with x / m < 2^29; `inverse` is 1 / m.
double remainder(double x, double m, double inverse) noexcept {
  // The quotient is one off at most, and every product is exact.
  double rest = x - static_cast<double>(static_cast<std::int32_t>(x * inverse)) * m;
  rest += rest < 0.0 ? m : 0.0;
  rest -= rest >= m ? m : 0.0;
  return rest;
}

}  // namespace

float sin_of(float x) noexcept GANGLION_NONBLOCKING { return sinf(x); }
float cos_of(float x) noexcept GANGLION_NONBLOCKING { return cosf(x); }
float atan_of(float x) noexcept GANGLION_NONBLOCKING { return atanf(x); }
float pow_of(float a, float b) noexcept GANGLION_NONBLOCKING { return powf(a, b); }

/// fmod, in a time that does not depend on the numbers: the C library's divides bit by bit. The whole part of |a| is
/// taken modulo that of |b|, and then its exponent worked off in as many pieces as the largest one needs.
float mod_of(float a, float b) noexcept GANGLION_NONBLOCKING {
  constexpr std::uint32_t infinity = 0x7F800000U;
  constexpr int bits_at_once = 28;
  constexpr int largest_distance = 253;  // between two exponents
  const std::uint32_t size_a = size_bits(a);
  const std::uint32_t size_b = size_bits(b);
  const Parts x(size_a);
  const Parts y(size_b);
  const double m = size_b == 0 ? 1.0 : y.whole;
  const double inverse = 1.0 / m;
  double rest = remainder(x.whole, m, inverse);
  int distance = x.exponent > y.exponent ? x.exponent - y.exponent : 0;
  for (int done = 0; done < largest_distance; done += bits_at_once) {
    const int bits = distance < bits_at_once ? distance : bits_at_once;
    rest = remainder(rest * power_of_two(bits), m, inverse);
    distance -= bits;
  }
  const auto size = static_cast<float>(rest * power_of_two(y.exponent - 150));
  float result = size_a < size_b ? a : copysignf(size, a);
  result = size_a >= infinity || size_b == 0 ? a * b / (a * b) : result;
  return size_b > infinity ? b : result;
}

}  // namespace ganglion::native
