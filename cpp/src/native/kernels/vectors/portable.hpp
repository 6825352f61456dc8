// Four floats in the vector extension of GCC and clang: SSE2 on x86-64, NEON on AArch64, plain code elsewhere.
// Included inside an anonymous namespace.

constexpr std::size_t lanes = 4;
/// Rows of a batch that share one pass over a panel.
#if defined(__aarch64__)
constexpr std::size_t shared_rows = 4;
/// Rather small code than fast: for CPUs of before 2013, whose fused multiplication is a function.
constexpr bool is_compact = false;
#else
constexpr std::size_t shared_rows = 2;
constexpr bool is_compact = true;
#endif

using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));

struct Mask {
  Ints bits;
};

struct Vector {
  Floats v;
};

inline Vector set(float x) { return {Floats{x, x, x, x}}; }
inline Vector load(const float* p) {
  Vector a;
  __builtin_memcpy(&a.v, p, sizeof a.v);
  return a;
}
inline void store(float* p, Vector a) { __builtin_memcpy(p, &a.v, sizeof a.v); }
inline Vector load_first(const float* p, std::size_t n) {
  Floats v{};
  for (std::size_t i = 0; i < n; ++i) v[i] = p[i];
  return {v};
}
inline void store_first(float* p, Vector a, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) p[i] = a.v[i];
}

inline Vector operator+(Vector a, Vector b) { return {a.v + b.v}; }
inline Vector operator-(Vector a, Vector b) { return {a.v - b.v}; }
inline Vector operator*(Vector a, Vector b) { return {a.v * b.v}; }
inline Vector operator/(Vector a, Vector b) { return {a.v / b.v}; }
#if defined(__x86_64__)
inline __m128d sum_in_double(__m128 a, __m128 b, __m128 c) {
  return _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c));
}

/// Two lanes of fma. The product of two floats is exact in double; its sum with the third is rounded to odd (where it
/// is not exact and its last bit is 0, one step towards what it lost), and then rounding to float is as if there had
/// been no other. S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
/// rounding to odd" (2008).
inline __m128 fma_of_two(__m128 a, __m128 b, __m128 c) {
  const __m128d product = _mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b));
  const __m128d more = _mm_cvtps_pd(c);
  const __m128d sum = _mm_add_pd(product, more);
  const __m128d back = _mm_sub_pd(sum, product);
  const __m128d lost = _mm_add_pd(_mm_sub_pd(product, _mm_sub_pd(sum, back)), _mm_sub_pd(more, back));
  const __m128i bits = _mm_castpd_si128(sum);
  // Ordered, so that infinity and NaN, which lose a NaN, stay as they are.
  const __m128d inexact = _mm_or_pd(_mm_cmplt_pd(lost, _mm_setzero_pd()), _mm_cmpgt_pd(lost, _mm_setzero_pd()));
  const __m128i one = _mm_set1_epi64x(1);
  const __m128i is_even = _mm_sub_epi64(_mm_and_si128(bits, one), one);
  const __m128i is_away = _mm_srli_epi64(_mm_castpd_si128(_mm_xor_pd(lost, sum)), 63);
  const __m128i step = _mm_sub_epi64(one, _mm_add_epi64(is_away, is_away));
  const __m128i odd = _mm_add_epi64(bits, _mm_and_si128(_mm_and_si128(step, is_even), _mm_castpd_si128(inexact)));
  return _mm_cvtpd_ps(_mm_castsi128_pd(odd));
}
#endif

// One rounding, as everywhere.
#if defined(__x86_64__)
[[gnu::noinline]] Vector fma(Vector a, Vector b, Vector c) noexcept GANGLION_NONBLOCKING {
  const auto high = [](Floats v) { return _mm_movehl_ps(v, v); };
  const __m128 first = _mm_castpd_ps(sum_in_double(a.v, b.v, c.v));
  const __m128 second = _mm_castpd_ps(sum_in_double(high(a.v), high(b.v), high(c.v)));
  // Rounding twice is as rounding once, unless the first time ended half-way between two floats, or among denormal
  // ones.
  const __m128i ends = _mm_castps_si128(_mm_shuffle_ps(first, second, 0x88));
  const __m128i begins =
      _mm_and_si128(_mm_castps_si128(_mm_shuffle_ps(first, second, 0xDD)), _mm_set1_epi32(INT32_MAX));
  const __m128i half_way = _mm_cmpeq_epi32(_mm_and_si128(ends, _mm_set1_epi32(0x1FFFFFFF)), _mm_set1_epi32(0x10000000));
  const __m128i tiny =
      _mm_and_si128(_mm_cmpgt_epi32(begins, _mm_setzero_si128()), _mm_cmplt_epi32(begins, _mm_set1_epi32(0x38100000)));
  if (_mm_movemask_epi8(_mm_or_si128(half_way, tiny)) == 0) {
    return {_mm_movelh_ps(_mm_cvtpd_ps(_mm_castps_pd(first)), _mm_cvtpd_ps(_mm_castps_pd(second)))};
  }
  return {_mm_movelh_ps(fma_of_two(a.v, b.v, c.v), fma_of_two(high(a.v), high(b.v), high(c.v)))};
}
#else
inline Vector fma(Vector a, Vector b, Vector c) {
#if defined(__aarch64__)
  return {vfmaq_f32(c.v, a.v, b.v)};
#else
  Floats sum{};
  for (std::size_t i = 0; i < lanes; ++i) sum[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return {sum};
#endif
}
#endif
inline Vector root(Vector a) {
#if defined(__SSE2__)
  return {_mm_sqrt_ps(a.v)};
#elif defined(__aarch64__)
  return {vsqrtq_f32(a.v)};
#else
  return {Floats{__builtin_sqrtf(a.v[0]), __builtin_sqrtf(a.v[1]), __builtin_sqrtf(a.v[2]), __builtin_sqrtf(a.v[3])}};
#endif
}

inline Mask operator<(Vector a, Vector b) { return {a.v < b.v}; }
inline Mask operator<=(Vector a, Vector b) { return {a.v <= b.v}; }
inline Mask operator==(Vector a, Vector b) { return {a.v == b.v}; }
inline Ints bits_of(Vector a) { return reinterpret_cast<Ints>(a.v); }
inline Vector from_bits(Ints bits) { return {reinterpret_cast<Floats>(bits)}; }
inline Vector select(Mask m, Vector yes, Vector no) {
  return from_bits((bits_of(yes) & m.bits) | (bits_of(no) & ~m.bits));
}
// Both answer b where one of the two is NaN.
inline Vector lesser(Vector a, Vector b) { return select(a < b, a, b); }
inline Vector greater(Vector a, Vector b) { return select(b < a, a, b); }

inline bool all(Mask m) { return (m.bits[0] & m.bits[1] & m.bits[2] & m.bits[3]) != 0; }
inline Vector either_bits(Vector a, Vector b) { return from_bits(bits_of(a) | bits_of(b)); }
inline Vector magnitude(Vector a) { return from_bits(bits_of(a) & 0x7FFFFFFF); }
inline Vector with_sign(Vector size, Vector sign) {
  return from_bits((bits_of(size) & 0x7FFFFFFF) | (bits_of(sign) & INT32_MIN));
}
/// The largest lane, of numbers that are not NaN.
inline float largest_lane(Vector a) {
  float top = a.v[0];
  for (std::size_t i = 1; i < lanes; ++i) top = a.v[i] > top ? a.v[i] : top;
  return top;
}
/// a, but +0 where it is smaller than `bound`; NaN stays.
inline Vector unless_below(Vector a, float bound) { return from_bits(bits_of(a) & ~(magnitude(a) < set(bound)).bits); }
// Adding and taking away 2^23 rounds to a whole number, half to even; larger numbers are whole already.
inline Vector nearest(Vector a) {
  const Vector large = with_sign(set(8388608.0F), a);
  return select(magnitude(a) < set(8388608.0F), with_sign((a + large) - large, a), a);
}
inline Vector down(Vector a) {
  const Vector n = nearest(a);
  return select(a < n, n - set(1.0F), n);
}

/// 2^n for a whole n from -126 to 127.
inline Vector power_of_two(Vector n) {
  // The low bits of 2^23 + 127 + n are those of n + 127.
  return from_bits(bits_of(n + set(8388608.0F + 127.0F)) << 23);
}
/// The exponent bits of a positive normal number as a float, and the number with exponent 0: in [1, 2).
inline Vector exponent(Vector a) { return from_bits((bits_of(a) >> 23) | 0x4B000000) - set(8388608.0F + 127.0F); }
inline Vector mantissa(Vector a) { return from_bits((bits_of(a) & 0x007FFFFF) | 0x3F800000); }

inline Vector load_half(const std::uint16_t* p) {
#if defined(__aarch64__)
  float16x4_t halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return {vcvt_f32_f16(halves)};
#else
  const Ints half{p[0], p[1], p[2], p[3]};
  const Ints fraction = half & 0x3FF;
  const Ints exponent = (half >> 10) & 0x1F;
  const Ints normal = ((exponent + 112) << 23) | (fraction << 13);
  // Below the smallest normal half: the fraction behind a 1 of 2^-14, less that 1. Weights have no infinities.
  const Vector small = from_bits((113 << 23) | (fraction << 13)) - set(6.103515625e-5F);
  const Vector size = select({exponent == 0}, small, from_bits(normal));
  return from_bits(bits_of(size) | ((half & 0x8000) << 16));
#endif
}
inline Vector load_int8(const std::int8_t* p) {
  return {__builtin_convertvector((Ints{p[0], p[1], p[2], p[3]}), Floats)};
}

/// Sums of integer products, one for each lane.
#if defined(__aarch64__)
struct Products {
  int32x4_t first;  ///< of lanes 0 and 1, each in two parts
  int32x4_t second;
};

inline Products no_products() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
/// Adds to each lane the products of its two weights with the two inputs of `pair`.
inline void add_pair(Products& sum, const std::int8_t* weights, std::int32_t pair) {
  const int16x8_t weight = vmovl_s8(vld1_s8(weights));
  const int16x4_t input = vreinterpret_s16_s32(vdup_n_s32(pair));
  sum.first = vmlal_s16(sum.first, vget_low_s16(weight), input);
  sum.second = vmlal_s16(sum.second, vget_high_s16(weight), input);
}
inline void store_products(std::int32_t* p, Products a) { vst1q_s32(p, vpaddq_s32(a.first, a.second)); }
inline Vector rounded(Products a) { return {vcvtq_f32_s32(vpaddq_s32(a.first, a.second))}; }
#else
struct Products {
  Ints v;
};

inline Products no_products() { return {Ints{}}; }
/// Adds to each lane the products of its two weights with the two inputs of `pair`.
inline void add_pair(Products& sum, const std::int8_t* weights, std::int32_t pair) {
#if defined(__x86_64__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weights));
  const __m128i weight = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
  sum.v += reinterpret_cast<Ints>(_mm_madd_epi16(weight, _mm_set1_epi32(pair)));
#else
  std::int16_t input[2];
  __builtin_memcpy(input, &pair, sizeof input);
  for (std::size_t i = 0; i < lanes; ++i) sum.v[i] += weights[2 * i] * input[0] + weights[2 * i + 1] * input[1];
#endif
}
inline void store_products(std::int32_t* p, Products a) { __builtin_memcpy(p, &a.v, sizeof a.v); }
inline Vector rounded(Products a) { return {__builtin_convertvector(a.v, Floats)}; }
#endif
/// Whole numbers of 16 bits.
inline void store_integers(std::int16_t* p, Vector a) {
  for (std::size_t i = 0; i < lanes; ++i) p[i] = static_cast<std::int16_t>(a.v[i]);
}
