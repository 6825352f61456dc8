// Eight floats in AVX2 with FMA and F16C. Included inside an anonymous namespace, by a translation unit with those
// flags only.

constexpr std::size_t lanes = 8;

struct Mask {
  __m256 bits;
};

struct Vector {
  __m256 v;
};

inline Vector set(float x) { return {_mm256_set1_ps(x)}; }
inline Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, Vector a) { _mm256_storeu_ps(p, a.v); }
/// Eight set lanes, then eight clear ones. Not a static of `first`: a nonblocking function may have none.
alignas(32) constexpr std::int32_t lane_bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
inline __m256i first(std::size_t n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_bits + 8 - n)); }
inline Vector load_first(const float* p, std::size_t n) { return {_mm256_maskload_ps(p, first(n))}; }
inline void store_first(float* p, Vector a, std::size_t n) { _mm256_maskstore_ps(p, first(n), a.v); }

inline Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vector operator/(Vector a, Vector b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vector fma(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vector root(Vector a) { return {_mm256_sqrt_ps(a.v)}; }
// Both answer b where one of the two is NaN.
inline Vector lesser(Vector a, Vector b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vector greater(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }

inline Mask operator<(Vector a, Vector b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(Vector a, Vector b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator==(Vector a, Vector b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline Vector select(Mask m, Vector yes, Vector no) { return {_mm256_blendv_ps(no.v, yes.v, m.bits)}; }

inline bool all(Mask m) { return _mm256_movemask_ps(m.bits) == 0xFF; }

inline Vector magnitude(Vector a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a.v)}; }
inline Vector with_sign(Vector size, Vector sign) {
  const __m256 bit = _mm256_set1_ps(-0.0F);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, size.v), _mm256_and_ps(bit, sign.v))};
}
inline Vector nearest(Vector a) { return {_mm256_round_ps(a.v, 0x08)}; }
inline Vector down(Vector a) { return {_mm256_round_ps(a.v, 0x09)}; }

/// 2^n for a whole n from -126 to 127.
inline Vector power_of_two(Vector n) {
  return {
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23))};
}
/// The exponent bits of a positive normal number as a float, and the number with exponent 0: in [1, 2).
inline Vector exponent(Vector a) {
  return {
      _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(a.v), 23), _mm256_set1_epi32(127)))};
}
inline Vector mantissa(Vector a) {
  const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x007FFFFF));
  return {_mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3F800000)))};
}

inline Vector load_half(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline Vector load_int8(const std::int8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
