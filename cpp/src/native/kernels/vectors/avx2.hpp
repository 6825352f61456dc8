// Eight floats in AVX2 with FMA and F16C. Included inside an anonymous namespace, by a translation unit with those
// flags only.

constexpr std::size_t lanes = 8;
/// Rows of a batch that share one pass over a panel: twelve sums, three inputs and a weight are all registers.
constexpr std::size_t shared_rows = 3;
constexpr bool is_compact = false;

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
/// Not vpmaskmovps, whose stores take AMD's processors 18 cycles and more.
inline void store_first(float* p, Vector a, std::size_t n) {
  __m128 part = _mm256_castps256_ps128(a.v);
  if ((n & 4U) != 0) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(a.v, 1);
    p += 4;
  }
  if ((n & 2U) != 0) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if ((n & 1U) != 0) _mm_store_ss(p, part);
}

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
inline Vector either_bits(Vector a, Vector b) { return {_mm256_or_ps(a.v, b.v)}; }

inline Vector magnitude(Vector a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0F), a.v)}; }
inline Vector with_sign(Vector size, Vector sign) {
  const __m256 bit = _mm256_set1_ps(-0.0F);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, size.v), _mm256_and_ps(bit, sign.v))};
}
/// The largest lane, of numbers that are not NaN.
inline float largest_lane(Vector a) {
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}
/// a, but +0 where it is smaller than `bound`; NaN stays.
inline Vector unless_below(Vector a, float bound) {
  return {_mm256_and_ps(a.v, _mm256_cmp_ps(magnitude(a).v, _mm256_set1_ps(bound), _CMP_NLT_UQ))};
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

/// Sums of integer products, one for each lane.
struct Products {
  __m256i v;
};

inline Products no_products() { return {_mm256_setzero_si256()}; }
/// Adds to each lane the products of its two weights with the two inputs of `pair`.
inline void add_pair(Products& sum, const std::int8_t* weights, std::int32_t pair) {
  const __m256i weight = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights)));
#if defined(__AVXVNNI__)
  sum.v = _mm256_dpwssd_avx_epi32(sum.v, weight, _mm256_set1_epi32(pair));
#else
  sum.v = _mm256_add_epi32(sum.v, _mm256_madd_epi16(weight, _mm256_set1_epi32(pair)));
#endif
}
inline void store_products(std::int32_t* p, Products a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
inline Vector rounded(Products a) { return {_mm256_cvtepi32_ps(a.v)}; }
/// Whole numbers of 16 bits.
inline void store_integers(std::int16_t* p, Vector a) {
  const __m256i whole = _mm256_cvtps_epi32(a.v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}
