// Functions of one number at a time, in double: its operations, whole numbers, and no C library. Included inside a
// namespace; the header target pastes what a policy needs of it, as of math.hpp, and with a `product` of its own, which
// no compiler joins with a sum.
//
// Which operations in which order: cpp/NUMERICS.md, which is to be changed with this file.

inline std::uint32_t bits_of(float x) noexcept {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) noexcept {
  float x = 0.0F;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// The bits of a float without its sign.
inline std::uint32_t size_bits(float x) noexcept { return bits_of(x) & 0x7FFFFFFFU; }

inline float negated_if(bool condition, float x) noexcept {
  return float_of(bits_of(x) ^ (condition ? 0x80000000U : 0U));
}

/// 2^n for n from -1022 to 1023.
inline double two_to(int n) noexcept {
  const auto bits = static_cast<std::uint64_t>(1023 + n) << 52U;
  double power = 0.0;
  std::memcpy(&power, &bits, sizeof power);
  return power;
}

/// c[0] + c[1] x + ... c[Size - 1] x^(Size - 1), from the last one on.
template <std::size_t Size>
inline double polynomial(const double (&c)[Size], double x) noexcept {
  double value = c[Size - 1];
  for (std::size_t i = Size - 1; i-- > 0;) value = product(value, x) + c[i];
  return value;
}

/// A finite number without its sign is whole * 2^(exponent - 150).
struct Parts {
  int exponent;
  std::uint32_t whole;
};

inline Parts parts_of(std::uint32_t bits) noexcept {
  const int exponent_of_normal = static_cast<int>(bits >> 23U);
  const std::uint32_t whole_of_normal = (bits & 0x007FFFFFU) | 0x00800000U;
  const bool is_normal = bits >= 0x00800000U;
  return {is_normal ? exponent_of_normal : 1, is_normal ? whole_of_normal : bits};
}

/// x modulo m, for whole numbers 0 <= x < 2^52 and 1 <= m < 2^24 with x / m < 2^29; `inverse` is 1 / m.
inline double remainder_of(double x, double m, double inverse) noexcept {
  // The quotient is one off at most, and every product is exact.
  double rest = x - product(static_cast<double>(static_cast<std::int32_t>(product(x, inverse))), m);
  rest += rest < 0.0 ? m : 0.0;
  rest -= rest >= m ? m : 0.0;
  return rest;
}

/// 2 / pi behind 32 bits of 0, and so much of it that the part of the largest float beyond whole turns has 62 bits.
constexpr std::uint32_t two_over_pi[] = {0U,          0xA2F9836EU, 0x4E441529U, 0xFC2757D1U,
                                         0xF534DDC0U, 0xDB629599U, 0x3C439041U, 0xFE5163ABU};

/// 32 of its bits, from bit `first` of word i on.
inline std::uint64_t bits_of_two_over_pi(std::uint32_t first, std::uint32_t i) noexcept {
  const std::uint32_t at = (first >> 5U) + i;
  const std::uint64_t pair = (static_cast<std::uint64_t>(two_over_pi[at]) << 32U) | two_over_pi[at + 1];
  return (pair << (first & 31U)) >> 32U;
}

/// A quarter turn's number and the rest: |x| = quarter pi/2 + rest, |rest| <= pi/4.
struct Angle {
  std::uint32_t quarter;
  double rest;
};

/// In whole numbers, for all finite floats in the same time. M. Payne, R. Hanek, "Radian reduction for trigonometric
/// functions" (1983).
inline Angle reduce_angle(float x) noexcept {
  const std::uint32_t size = size_bits(x);
  const bool is_small = size < 0x3F000000U;  // 1/2
  const Parts parts = parts_of(is_small ? 0x3F000000U : size);
  // Bits of 2 / pi that stand for whole turns are left out: the product with 96 bits behind them, without its own last
  // 32, has two bits before the point.
  const auto first = static_cast<std::uint32_t>(parts.exponent - 120);
  const std::uint64_t turns = ((parts.whole * bits_of_two_over_pi(first, 0)) << 32U) +
                              parts.whole * bits_of_two_over_pi(first, 1) +
                              ((parts.whole * bits_of_two_over_pi(first, 2)) >> 32U);
  const std::uint64_t quarter = (turns + (static_cast<std::uint64_t>(1) << 61U)) >> 62U;
  const auto rest = static_cast<std::int64_t>(turns - (quarter << 62U));
  constexpr double quarter_turn = 1.57079632679489661923 / 4611686018427387904.0;  // pi/2 / 2^62
  if (is_small) return {0U, static_cast<double>(float_of(size))};
  return {static_cast<std::uint32_t>(quarter), product(static_cast<double>(rest), quarter_turn)};
}

/// The sine of `rest` plus so many quarter turns.
inline float sine(double rest, std::uint32_t quarters) noexcept {
  constexpr double odd[] = {1.0, -1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362880.0, -1.0 / 39916800.0};
  constexpr double even[] = {1.0,           -1.0 / 2.0,       1.0 / 24.0,       -1.0 / 720.0,
                             1.0 / 40320.0, -1.0 / 3628800.0, 1.0 / 479001600.0};
  const double square = product(rest, rest);
  const double size = (quarters & 1U) != 0 ? polynomial(even, square) : product(rest, polynomial(odd, square));
  return negated_if((quarters & 2U) != 0, static_cast<float>(size));
}

inline float sin_of(float x) noexcept {
  if (size_bits(x) >= 0x7F800000U) return x - x;
  const Angle angle = reduce_angle(x);
  return negated_if(bits_of(x) >> 31U != 0, sine(angle.rest, angle.quarter));
}

inline float cos_of(float x) noexcept {
  if (size_bits(x) >= 0x7F800000U) return x - x;
  const Angle angle = reduce_angle(x);
  return sine(angle.rest, angle.quarter + 1U);
}

inline float atan_of(float x) noexcept {
  constexpr double series[] = {1.0,         -1.0 / 3.0, 1.0 / 5.0,   -1.0 / 7.0, 1.0 / 9.0,   -1.0 / 11.0, 1.0 / 13.0,
                               -1.0 / 15.0, 1.0 / 17.0, -1.0 / 19.0, 1.0 / 21.0, -1.0 / 23.0, 1.0 / 25.0,  -1.0 / 27.0};
  const std::uint32_t size = size_bits(x);
  if (size > 0x7F800000U) return x;
  // To tangents of at most pi/8: atan(a) = pi/4 + atan((a - 1) / (a + 1)) = pi/2 - atan(1 / a). Beyond 2^40 it is pi/2.
  const double a = static_cast<double>(float_of(size < 0x53800000U ? size : 0x53800000U));
  const bool is_far = a > 2.414213562373095;
  const bool is_near = a < 0.41421356237309503;
  const double t = (is_far ? -1.0 : is_near ? a : a - 1.0) / (is_far ? a : is_near ? 1.0 : a + 1.0);
  const double base = is_far ? 1.57079632679489661923 : is_near ? 0.0 : 0.78539816339744830962;
  const double result = base + product(t, polynomial(series, product(t, t)));
  return negated_if(bits_of(x) >> 31U != 0, static_cast<float>(result));
}

/// 2^(b log2(a)) for a finite a > 0; |b| may be any number.
inline float power_of_positive(float a, double b) noexcept {
  constexpr double atanh_series[] = {1.0,        1.0 / 3.0,  1.0 / 5.0,  1.0 / 7.0, 1.0 / 9.0,
                                     1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0, 1.0 / 17.0};
  constexpr double exp_series[] = {
      1.0,         1.0,          1.0 / 2.0,     1.0 / 6.0,      1.0 / 24.0,     1.0 / 120.0,
      1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40320.0, 1.0 / 362880.0, 1.0 / 3628800.0};
  constexpr double two_over_log2 = 2.88539008177792681472;
  constexpr double log2 = 0.69314718055994530942;
  std::uint32_t bits = bits_of(a);
  // A denormal number as a normal one times 2^-24.
  const int less = bits < 0x00800000U ? 24 : 0;
  if (less != 0) bits = bits_of(a * 16777216.0F);
  int n = static_cast<int>(bits >> 23U) - 127 - less;
  double m = static_cast<double>(float_of((bits & 0x007FFFFFU) | 0x3F800000U));
  if (m > 1.4142135623730951) {
    m = product(m, 0.5);
    ++n;
  }
  const double f = (m - 1.0) / (m + 1.0);
  const double log2_of_m = product(product(f, polynomial(atanh_series, product(f, f))), two_over_log2);
  const double wanted = product(b, static_cast<double>(n) + log2_of_m);
  const double inside = wanted < -200.0 ? -200.0 : wanted > 200.0 ? 200.0 : wanted;
  const auto whole = static_cast<int>(inside + (inside < 0.0 ? -0.5 : 0.5));
  const double r = product(inside - static_cast<double>(whole), log2);
  const double result = product(polynomial(exp_series, r), two_to(whole));
  // Below 2^-100 it is 0, and beyond the largest float infinite.
  return result < 7.888609052210118e-31 ? 0.0F : static_cast<float>(result);
}

/// The power of IEEE 754.
inline float pow_of(float a, float b) noexcept {
  constexpr std::uint32_t infinity = 0x7F800000U;
  constexpr std::uint32_t one = 0x3F800000U;
  const std::uint32_t size_a = size_bits(a);
  const std::uint32_t size_b = size_bits(b);
  if (size_b == 0 || bits_of(a) == one) return 1.0F;
  if (size_a > infinity || size_b > infinity) return a + b;
  const bool is_negative_b = bits_of(b) >> 31U != 0;
  // Whether b is whole, and odd: from 2^24 on all are even.
  const Parts parts = parts_of(size_b);
  const int behind_point = 150 - parts.exponent;  // bits of parts.whole that are a fraction
  const bool is_whole = behind_point <= 0 || (behind_point < 24 && (parts.whole & ((1U << behind_point) - 1U)) == 0);
  const bool is_odd = is_whole && behind_point >= 0 && ((parts.whole >> behind_point) & 1U) != 0;
  const bool is_negative = is_odd && bits_of(a) >> 31U != 0;
  if (size_b == infinity) {
    if (size_a == one) return 1.0F;
    return (size_a > one) != is_negative_b ? float_of(infinity) : 0.0F;
  }
  if (size_a == 0 || size_a == infinity) {
    return negated_if(is_negative, float_of((size_a == 0) != is_negative_b ? 0U : infinity));
  }
  if (!is_whole && bits_of(a) >> 31U != 0) return float_of(0x7FC00000U);
  return negated_if(is_negative, power_of_positive(float_of(size_a), static_cast<double>(b)));
}

/// fmod, in a time that does not depend on the numbers: the C library's divides bit by bit. The whole part of |a| is
/// taken modulo that of |b|, and then its exponent worked off in as many pieces as the largest one needs.
inline float mod_of(float a, float b) noexcept {
  constexpr std::uint32_t infinity = 0x7F800000U;
  constexpr int bits_at_once = 28;
  constexpr int largest_distance = 253;  // between two exponents
  const std::uint32_t size_a = size_bits(a);
  const std::uint32_t size_b = size_bits(b);
  const Parts x = parts_of(size_a);
  const Parts y = parts_of(size_b);
  const double m = size_b == 0 ? 1.0 : static_cast<double>(y.whole);
  const double inverse = 1.0 / m;
  double rest = remainder_of(static_cast<double>(x.whole), m, inverse);
  int distance = x.exponent > y.exponent ? x.exponent - y.exponent : 0;
  for (int done = 0; done < largest_distance; done += bits_at_once) {
    const int bits = distance < bits_at_once ? distance : bits_at_once;
    rest = remainder_of(product(rest, two_to(bits)), m, inverse);
    distance -= bits;
  }
  const auto size = static_cast<float>(product(rest, two_to(y.exponent - 150)));
  float result = size_a < size_b ? a : negated_if(bits_of(a) >> 31U != 0, size);
  result = size_a >= infinity || size_b == 0 ? float_of(0x7FC00000U) : result;
  return size_b > infinity ? b : result;
}
