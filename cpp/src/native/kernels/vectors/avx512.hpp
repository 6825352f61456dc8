// Sixteen floats in AVX-512. Included inside an anonymous namespace, by a translation unit with AVX-512 flags only.

constexpr std::size_t lanes = 16;
/// Rows of a batch that share one pass over a panel.
constexpr std::size_t shared_rows = 4;
constexpr bool is_compact = false;

struct Mask {
  __mmask16 bits;
};

struct Vector {
  __m512 v;
};

inline Vector set(float x) { return {_mm512_set1_ps(x)}; }
inline Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Vector a) { _mm512_storeu_ps(p, a.v); }
inline __mmask16 first(std::size_t n) { return static_cast<__mmask16>((1U << n) - 1U); }
inline Vector load_first(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
inline void store_first(float* p, Vector a, std::size_t n) { _mm512_mask_storeu_ps(p, first(n), a.v); }

inline Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vector operator/(Vector a, Vector b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vector fma(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vector root(Vector a) { return {_mm512_sqrt_ps(a.v)}; }
// Both answer b where one of the two is NaN.
inline Vector lesser(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vector greater(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }

inline Mask operator<(Vector a, Vector b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(Vector a, Vector b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator==(Vector a, Vector b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline Vector select(Mask m, Vector yes, Vector no) { return {_mm512_mask_blend_ps(m.bits, no.v, yes.v)}; }

inline bool all(Mask m) { return m.bits == 0xFFFF; }
inline Vector either_bits(Vector a, Vector b) { return {_mm512_or_ps(a.v, b.v)}; }

inline Vector magnitude(Vector a) { return {_mm512_abs_ps(a.v)}; }
inline Vector with_sign(Vector size, Vector sign) {
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(size.v), _mm512_castps_si512(sign.v),
                                                        _mm512_set1_epi32(INT32_MIN), 0xD8))};
}
/// The largest lane, of numbers that are not NaN.
inline float largest_lane(Vector a) { return _mm512_reduce_max_ps(a.v); }
/// a, but +0 where it is smaller than `bound`; NaN stays.
inline Vector unless_below(Vector a, float bound) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(magnitude(a).v, _mm512_set1_ps(bound), _CMP_NLT_UQ), a.v)};
}
inline Vector nearest(Vector a) { return {_mm512_roundscale_ps(a.v, 0x08)}; }
inline Vector down(Vector a) { return {_mm512_roundscale_ps(a.v, 0x09)}; }

/// 2^n for a whole n from -126 to 127.
inline Vector power_of_two(Vector n) {
  return {
      _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23))};
}
/// The exponent bits of a positive normal number as a float, and the number with exponent 0: in [1, 2).
inline Vector exponent(Vector a) {
  return {
      _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(_mm512_castps_si512(a.v), 23), _mm512_set1_epi32(127)))};
}
inline Vector mantissa(Vector a) {
  const __m512i bits = _mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x007FFFFF));
  return {_mm512_castsi512_ps(_mm512_or_si512(bits, _mm512_set1_epi32(0x3F800000)))};
}

inline Vector load_half(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Vector load_int8(const std::int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}

/// Sums of integer products, one for each lane.
struct Products {
  __m512i v;
};

inline Products no_products() { return {_mm512_setzero_si512()}; }
/// Adds to each lane the products of its two weights with the two inputs of `pair`.
inline void add_pair(Products& sum, const std::int8_t* weights, std::int32_t pair) {
  const __m512i weight = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights)));
  sum.v = _mm512_add_epi32(sum.v, _mm512_madd_epi16(weight, _mm512_set1_epi32(pair)));
}
inline void store_products(std::int32_t* p, Products a) { _mm512_storeu_si512(p, a.v); }
inline Vector rounded(Products a) { return {_mm512_cvtepi32_ps(a.v)}; }
/// Whole numbers of 16 bits.
inline void store_integers(std::int16_t* p, Vector a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(a.v)));
}
