// What the functions of the header target compute with: cpp/NUMERICS.md on any compiler, with any flags of the user's.
// Not a header of its own: it goes into every written policy.hpp, before the functions of the engine
// (cpp/src/native/kernels/math.hpp and numbers.hpp) and those of kernels.hpp. Behind `vectors` comes the Vector of
// one_lane.hpp. A policy.h has the latter alone: c99.py says how C99 comes of the sections that it gets.

// --- guards
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__) || defined(_M_FP_FAST)
#error "This policy is defined to the bit: compile what includes it without -ffast-math and its parts, or /fp:fast."
#endif
#if defined(__FINITE_MATH_ONLY__)
#if __FINITE_MATH_ONLY__ > 0
#error "This policy looks for numbers that are not finite: compile what includes it without -ffinite-math-only."
#endif
#endif
#if defined(__FLT_EVAL_METHOD__)
#if __FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2
#error "This policy needs float arithmetic in float: -msse2 -mfpmath=sse on x86, -fexcess-precision=fast elsewhere."
#endif
#endif

// --- needs
static_assert(sizeof(1.0) == 8 && sizeof(1.0F) == 4, "This policy needs doubles: no -fsingle-precision-constant.");

// --- includes
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// --- begin
// clang takes some of -ffast-math without a sign of it.
#if defined(__clang__)
#pragma float_control(precise, on, push)
#endif
#if defined(__GNUC__)
#define GANGLION_INLINE __attribute__((always_inline)) inline
#define GANGLION_LAMBDA __attribute__((always_inline))
#else
#define GANGLION_INLINE inline
#define GANGLION_LAMBDA
#endif
// Files of one program may be compiled for different processors, so each kind of code has a namespace of its own.
#if defined(__AVX2__) && defined(__FMA__)
#define GANGLION_LANES 8
#define GANGLION_KIND lanes_8
#elif defined(__SSE2__) || defined(__aarch64__)
#define GANGLION_LANES 4
#define GANGLION_KIND lanes_4
#else
#define GANGLION_LANES 1
#define GANGLION_KIND lanes_1
#endif

// --- c begin
// clang takes some of -ffast-math without a sign of it.
#if defined(__clang__)
#pragma float_control(precise, on, push)
#endif
#if defined(__GNUC__)
#define GANGLION_INLINE static inline __attribute__((always_inline))
#define GANGLION_CHECKED __attribute__((warn_unused_result))
#else
#define GANGLION_INLINE static inline
#define GANGLION_CHECKED
#endif

// --- end
#undef GANGLION_LANES
#undef GANGLION_KIND
#undef GANGLION_INLINE
#undef GANGLION_LAMBDA
#undef GANGLION_CHECKED
#if defined(__clang__)
#pragma float_control(pop)
#endif

// --- rounding
// The same number, which is rounded before it goes into anything else: compilers join a product with a sum where the
// processor can, and look through everything but an empty statement in assembly that has the number.

GANGLION_INLINE float rounded_float(float x) noexcept {
#if defined(__SSE2__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#elif defined(__arm__) && defined(__ARM_FP)
  asm("" : "+t"(x));
#elif defined(__riscv_flen)
  asm("" : "+f"(x));
#elif defined(__GNUC__)
  asm("" : "+m"(x));
#else
  volatile float kept = x;
  x = kept;
#endif
  return x;
}

GANGLION_INLINE double rounded(double x) noexcept {
#if defined(__SSE2__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#elif defined(__GNUC__)
  asm("" : "+m"(x));
#else
  volatile double kept = x;
  x = kept;
#endif
  return x;
}

GANGLION_INLINE double product(double a, double b) noexcept { return rounded(a * b); }

/// a * b + c, rounded once. Without such an instruction: the product is exact in double; its sum with c is rounded to
/// odd (where it is not exact and its last bit is 0, one step towards what it lost), and then rounding to float is as
/// if there had been no other. S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
/// using rounding to odd" (2008).
GANGLION_INLINE float fused(float a, float b, float c) noexcept {
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  const double exact = static_cast<double>(a) * static_cast<double>(b);
  const double more = static_cast<double>(c);
  double sum = exact + more;
  const double back = sum - exact;
  const double lost = (exact - (sum - back)) + (more - back);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &sum, sizeof bits);
  // Both false for the NaN that infinity and NaN lose.
  if ((lost > 0.0 || lost < 0.0) && (bits & 1U) == 0) {
    bits = (lost > 0.0) == (sum > 0.0) ? bits + 1U : bits - 1U;
    std::memcpy(&sum, &bits, sizeof bits);
  }
  return static_cast<float>(sum);
#endif
}

// --- mode
// The arithmetic of IEEE 754 whatever the caller has set: rounding to nearest, and gradual underflow. Where it is set
// already, as in most programs, nothing is written.

#if defined(__SSE2__)
using Register = unsigned int;
constexpr Register others = 0xE040U;  // MXCSR: flush to zero, rounding control, denormals are zero
inline Register read_mode() noexcept {
  Register value = 0;
  asm volatile("stmxcsr %0" : "=m"(value) : : "memory");
  return value;
}
inline void write_mode(Register value) noexcept { asm volatile("ldmxcsr %0" : : "m"(value) : "memory"); }
#elif defined(__aarch64__)
using Register = std::uint64_t;
constexpr Register others = 0x1C00003U;  // FPCR: FZ, RMode, AH, FIZ
inline Register read_mode() noexcept {
  Register value = 0;
  asm volatile("mrs %0, fpcr" : "=r"(value) : : "memory");
  return value;
}
inline void write_mode(Register value) noexcept { asm volatile("msr fpcr, %0" : : "r"(value) : "memory"); }
#elif defined(__arm__) && defined(__ARM_FP)
using Register = std::uint32_t;
constexpr Register others = 0x1C00000U;  // FPSCR: FZ, RMode
inline Register read_mode() noexcept {
  Register value = 0;
  asm volatile("vmrs %0, fpscr" : "=r"(value) : : "memory");
  return value;
}
inline void write_mode(Register value) noexcept { asm volatile("vmsr fpscr, %0" : : "r"(value) : "memory"); }
#elif defined(__riscv_flen)
using Register = std::uintptr_t;
constexpr Register others = 0x7U;  // frm: any rounding but to nearest
inline Register read_mode() noexcept {
  Register value = 0;
  asm volatile("frrm %0" : "=r"(value) : : "memory");
  return value;
}
inline void write_mode(Register value) noexcept { asm volatile("fsrm %0" : : "r"(value) : "memory"); }
#else
using Register = unsigned int;
constexpr Register others = 0;
inline Register read_mode() noexcept { return 0; }
inline void write_mode(Register value) noexcept { static_cast<void>(value); }
#endif

/// What was set, for `leave_mode`.
inline Register enter_mode() noexcept {
  const Register saved = read_mode();
  if ((saved & others) != 0) write_mode(saved & ~others);
  return saved;
}
inline void leave_mode(Register saved) noexcept {
  if ((saved & others) != 0) write_mode(saved);
}

// --- vectors
// As many floats as the processor computes with at once.
#if GANGLION_LANES == 8
constexpr std::size_t lanes = 8;

struct Mask {
  __m256 bits;
};

struct Vector {
  __m256 v;
};

GANGLION_INLINE Vector rounded(Vector a) noexcept {
  asm("" : "+x"(a.v));
  return a;
}
GANGLION_INLINE Vector set(float x) noexcept { return {_mm256_set1_ps(x)}; }
GANGLION_INLINE Vector load(const float* p) noexcept { return {_mm256_loadu_ps(p)}; }
GANGLION_INLINE void store(float* p, Vector a) noexcept { _mm256_storeu_ps(p, a.v); }
/// The first n lanes, n < 8; the others are 0.
GANGLION_INLINE Vector load_first(const float* p, std::size_t n) noexcept {
  const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), places))};
}
/// Eight int8, of which only the first n <= 8 are read.
GANGLION_INLINE Vector load_int8(const std::int8_t* p, std::size_t n) noexcept {
  std::int64_t bytes = 0;
  std::memcpy(&bytes, p, n);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytes)))};
}
/// Eight float16, of which only the first n <= 8 are read; all are finite. Their bits in the place of a float's are a
/// 2^112th of them.
GANGLION_INLINE Vector load_half(const std::uint16_t* p, std::size_t n) noexcept {
  __m128i halves = _mm_setzero_si128();
  std::memcpy(&halves, p, n * sizeof *p);
  const __m256i bits = _mm256_cvtepu16_epi32(halves);
  const __m256i size = _mm256_slli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7FFF)), 13);
  const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x8000)), 16);
  const __m256 worth = _mm256_mul_ps(_mm256_castsi256_ps(size), _mm256_set1_ps(5.19229686e33F));
  return {_mm256_or_ps(worth, _mm256_castsi256_ps(sign))};
}
GANGLION_INLINE Vector operator+(Vector a, Vector b) noexcept { return {a.v + b.v}; }
GANGLION_INLINE Vector operator-(Vector a, Vector b) noexcept { return {a.v - b.v}; }
GANGLION_INLINE Vector operator*(Vector a, Vector b) noexcept { return rounded(Vector{a.v * b.v}); }
GANGLION_INLINE Vector operator/(Vector a, Vector b) noexcept { return {a.v / b.v}; }
GANGLION_INLINE Vector fma(Vector a, Vector b, Vector c) noexcept { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
GANGLION_INLINE Vector root(Vector a) noexcept { return {_mm256_sqrt_ps(a.v)}; }
GANGLION_INLINE Vector lesser(Vector a, Vector b) noexcept { return {_mm256_min_ps(a.v, b.v)}; }
GANGLION_INLINE Vector greater(Vector a, Vector b) noexcept { return {_mm256_max_ps(a.v, b.v)}; }
GANGLION_INLINE Mask operator<(Vector a, Vector b) noexcept { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
GANGLION_INLINE Mask operator<=(Vector a, Vector b) noexcept { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
GANGLION_INLINE Mask operator==(Vector a, Vector b) noexcept { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
GANGLION_INLINE Vector select(Mask m, Vector yes, Vector no) noexcept {
  return {_mm256_blendv_ps(no.v, yes.v, m.bits)};
}
GANGLION_INLINE Vector magnitude(Vector a) noexcept { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a.v)}; }
GANGLION_INLINE Vector unless_below(Vector a, float bound) noexcept {
  return {_mm256_and_ps(a.v, _mm256_cmp_ps(magnitude(a).v, _mm256_set1_ps(bound), _CMP_NLT_UQ))};
}
GANGLION_INLINE Vector with_sign(Vector size, Vector sign) noexcept {
  return {_mm256_or_ps(magnitude(size).v, _mm256_and_ps(_mm256_set1_ps(-0.0F), sign.v))};
}
GANGLION_INLINE Vector nearest(Vector a) noexcept { return {_mm256_round_ps(a.v, 0x08)}; }
GANGLION_INLINE Vector down(Vector a) noexcept { return {_mm256_round_ps(a.v, 0x09)}; }
GANGLION_INLINE Vector power_of_two(Vector n) noexcept {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
}
GANGLION_INLINE Vector exponent(Vector a) noexcept {
  const __m256i biased = _mm256_srli_epi32(_mm256_castps_si256(a.v), 23);
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))};
}
GANGLION_INLINE Vector mantissa(Vector a) noexcept {
  const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x007FFFFF));
  return {_mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3F800000)))};
}

#elif GANGLION_LANES == 4
constexpr std::size_t lanes = 4;

using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));

struct Mask {
  Ints bits;
};

struct Vector {
  Floats v;
};

GANGLION_INLINE Vector rounded(Vector a) noexcept {
#if defined(__SSE2__)
  asm("" : "+x"(a.v));
#else
  asm("" : "+w"(a.v));
#endif
  return a;
}
GANGLION_INLINE Vector set(float x) noexcept { return {Floats{x, x, x, x}}; }
GANGLION_INLINE Vector load(const float* p) noexcept {
  Vector a;
  std::memcpy(&a.v, p, sizeof a.v);
  return a;
}
GANGLION_INLINE void store(float* p, Vector a) noexcept { std::memcpy(p, &a.v, sizeof a.v); }
/// The first n lanes, n < 4; the others are 0.
GANGLION_INLINE Vector load_first(const float* p, std::size_t n) noexcept {
  return {Floats{p[0], n > 1 ? p[1] : 0.0F, n > 2 ? p[2] : 0.0F, 0.0F}};
}
/// Four int8, of which only the first n <= 4 are read.
GANGLION_INLINE Vector load_int8(const std::int8_t* p, std::size_t n) noexcept {
  const auto at = [&](std::size_t i) { return i < n ? static_cast<float>(p[i]) : 0.0F; };
  return {Floats{at(0), at(1), at(2), at(3)}};
}
GANGLION_INLINE Vector operator+(Vector a, Vector b) noexcept { return {a.v + b.v}; }
GANGLION_INLINE Vector operator-(Vector a, Vector b) noexcept { return {a.v - b.v}; }
GANGLION_INLINE Vector operator*(Vector a, Vector b) noexcept { return rounded(Vector{a.v * b.v}); }
GANGLION_INLINE Vector operator/(Vector a, Vector b) noexcept { return {a.v / b.v}; }
#if defined(__SSE2__) && !defined(__FMA__)
using Doubles = double __attribute__((vector_size(16)));

GANGLION_INLINE Doubles sum_in_double(__m128 a, __m128 b, __m128 c) noexcept {
  const Doubles exact = static_cast<Doubles>(_mm_cvtps_pd(a)) * static_cast<Doubles>(_mm_cvtps_pd(b));
  return exact + static_cast<Doubles>(_mm_cvtps_pd(c));
}

/// As `fused`, two at a time.
GANGLION_INLINE __m128 fused_two(__m128 a, __m128 b, __m128 c) noexcept {
  using Longs = std::int64_t __attribute__((vector_size(16)));
  const Doubles exact = static_cast<Doubles>(_mm_cvtps_pd(a)) * static_cast<Doubles>(_mm_cvtps_pd(b));
  const Doubles more = static_cast<Doubles>(_mm_cvtps_pd(c));
  const Doubles sum = exact + more;
  const Doubles back = sum - exact;
  const Doubles lost = (exact - (sum - back)) + (more - back);
  const Longs bits = reinterpret_cast<Longs>(sum);
  const Longs is_even = (bits & 1) - 1;
  const Longs is_away = (reinterpret_cast<Longs>(lost) ^ bits) < 0;
  const Longs is_inexact = (lost < 0.0) | (lost > 0.0);
  const Longs odd = bits + ((1 + 2 * is_away) & is_even & is_inexact);
  return _mm_cvtpd_ps(reinterpret_cast<__m128d>(odd));
}
#endif
GANGLION_INLINE Vector fma(Vector a, Vector b, Vector c) noexcept {
#if defined(__aarch64__)
  return {vfmaq_f32(c.v, a.v, b.v)};
#elif defined(__FMA__)
  return {_mm_fmadd_ps(a.v, b.v, c.v)};
#else
  const auto high = [](__m128 v) { return _mm_movehl_ps(v, v); };
  const Doubles first = sum_in_double(a.v, b.v, c.v);
  const Doubles second = sum_in_double(high(a.v), high(b.v), high(c.v));
  // Rounding twice is as rounding once, unless the first time ended half-way between two floats, or among denormal
  // ones.
  const __m128 one = reinterpret_cast<__m128>(first);
  const __m128 other = reinterpret_cast<__m128>(second);
  const Ints ends = reinterpret_cast<Ints>(_mm_shuffle_ps(one, other, 0x88));
  const Ints begins = reinterpret_cast<Ints>(_mm_shuffle_ps(one, other, 0xDD)) & INT32_MAX;
  const Ints is_special = ((ends & 0x1FFFFFFF) == 0x10000000) | ((begins > 0) & (begins < 0x38100000));
  if (_mm_movemask_epi8(reinterpret_cast<__m128i>(is_special)) == 0) {
    return {
        _mm_movelh_ps(_mm_cvtpd_ps(reinterpret_cast<__m128d>(first)), _mm_cvtpd_ps(reinterpret_cast<__m128d>(second)))};
  }
  return {_mm_movelh_ps(fused_two(a.v, b.v, c.v), fused_two(high(a.v), high(b.v), high(c.v)))};
#endif
}
GANGLION_INLINE Vector root(Vector a) noexcept {
#if defined(__SSE2__)
  return {_mm_sqrt_ps(a.v)};
#else
  return {vsqrtq_f32(a.v)};
#endif
}
/// Four float16, of which only the first n <= 4 are read; all are finite. Their bits in the place of a float's are a
/// 2^112th of them.
GANGLION_INLINE Vector load_half(const std::uint16_t* p, std::size_t n) noexcept {
  const auto at = [&](std::size_t i) { return i < n ? static_cast<std::int32_t>(p[i]) : 0; };
  const Ints bits = {at(0), at(1), at(2), at(3)};
  const Floats worth = reinterpret_cast<Floats>((bits & 0x7FFF) << 13) * 5.19229686e33F;
  return {reinterpret_cast<Floats>(reinterpret_cast<Ints>(worth) | ((bits & 0x8000) << 16))};
}
GANGLION_INLINE Mask operator<(Vector a, Vector b) noexcept { return {a.v < b.v}; }
GANGLION_INLINE Mask operator<=(Vector a, Vector b) noexcept { return {a.v <= b.v}; }
GANGLION_INLINE Mask operator==(Vector a, Vector b) noexcept { return {a.v == b.v}; }
GANGLION_INLINE Ints bits_of(Vector a) noexcept { return reinterpret_cast<Ints>(a.v); }
GANGLION_INLINE Vector from_bits(Ints bits) noexcept { return {reinterpret_cast<Floats>(bits)}; }
GANGLION_INLINE Vector select(Mask m, Vector yes, Vector no) noexcept {
  return from_bits((bits_of(yes) & m.bits) | (bits_of(no) & ~m.bits));
}
#if defined(__SSE2__)
GANGLION_INLINE Vector lesser(Vector a, Vector b) noexcept { return {_mm_min_ps(a.v, b.v)}; }
GANGLION_INLINE Vector greater(Vector a, Vector b) noexcept { return {_mm_max_ps(a.v, b.v)}; }
#else
GANGLION_INLINE Vector lesser(Vector a, Vector b) noexcept { return select(a < b, a, b); }
GANGLION_INLINE Vector greater(Vector a, Vector b) noexcept { return select(b < a, a, b); }
#endif
GANGLION_INLINE Vector magnitude(Vector a) noexcept { return from_bits(bits_of(a) & 0x7FFFFFFF); }
GANGLION_INLINE Vector unless_below(Vector a, float bound) noexcept {
  return from_bits(bits_of(a) & ~(magnitude(a) < set(bound)).bits);
}
GANGLION_INLINE Vector with_sign(Vector size, Vector sign) noexcept {
  return from_bits((bits_of(size) & 0x7FFFFFFF) | (bits_of(sign) & INT32_MIN));
}
/// Adding and taking away 2^23 rounds to a whole number, half to even; larger numbers are whole already.
GANGLION_INLINE Vector nearest(Vector a) noexcept {
  const Vector large = with_sign(set(8388608.0F), a);
  return select(magnitude(a) < set(8388608.0F), with_sign(rounded(a + large) - large, a), a);
}
GANGLION_INLINE Vector down(Vector a) noexcept {
  const Vector n = nearest(a);
  return select(a < n, n - set(1.0F), n);
}
/// The low bits of 2^23 + 127 + n are those of n + 127.
GANGLION_INLINE Vector power_of_two(Vector n) noexcept { return from_bits(bits_of(n + set(8388735.0F)) << 23); }
GANGLION_INLINE Vector exponent(Vector a) noexcept {
  return from_bits((bits_of(a) >> 23) | 0x4B000000) - set(8388735.0F);
}
GANGLION_INLINE Vector mantissa(Vector a) noexcept { return from_bits((bits_of(a) & 0x007FFFFF) | 0x3F800000); }

// --- several lanes
GANGLION_INLINE Vector load_up_to(const float* p, std::size_t n) noexcept {
  return n >= lanes ? load(p) : load_first(p, n);
}
GANGLION_INLINE void store_up_to(float* p, Vector a, std::size_t n) noexcept {
  if (n >= lanes) {
    store(p, a);
  } else {
    float values[lanes];
    store(values, a);
    std::memcpy(p, values, n * sizeof(float));
  }
}
