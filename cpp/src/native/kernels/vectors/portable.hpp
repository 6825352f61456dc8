// Four floats in the vector extension of GCC and clang: SSE2 on x86-64, NEON on AArch64, plain code elsewhere.
// Included inside an anonymous namespace.

constexpr std::size_t lanes = 4;

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
// One rounding where the machine has a fused instruction, two elsewhere.
inline Vector fma(Vector a, Vector b, Vector c) {
#if defined(__aarch64__)
  return {vfmaq_f32(c.v, a.v, b.v)};
#else
  return {a.v * b.v + c.v};
#endif
}
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
inline Vector magnitude(Vector a) { return from_bits(bits_of(a) & 0x7FFFFFFF); }
inline Vector with_sign(Vector size, Vector sign) {
  return from_bits((bits_of(size) & 0x7FFFFFFF) | (bits_of(sign) & INT32_MIN));
}
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
