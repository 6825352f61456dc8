// Products of bytes with AVX512-VNNI. Included inside an anonymous namespace, before dot_bytes.hpp.
//
// vpdpbusd multiplies unsigned with signed bytes, so a whole number a is stored as a + 32768, and
//   sum a w = (sum low w) + 256 (sum high w - 128 sum w)

using Int32s = __m512i;  ///< or 64 bytes

GANGLION_INLINE Int32s no_sums() { return _mm512_setzero_si512(); }
GANGLION_INLINE Int32s plus(Int32s a, Int32s b) { return _mm512_add_epi32(a, b); }

GANGLION_INLINE void store_bytes(std::uint8_t* low, std::uint8_t* high, Vector v, bool narrow) {
  __m512i a = _mm512_cvtps_epi32(v.v);
  if (narrow) a = _mm512_slli_epi32(a, 8);
  a = _mm512_add_epi32(a, _mm512_set1_epi32(32768));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(low), _mm512_cvtepi32_epi8(a));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtepi32_epi8(_mm512_srli_epi32(a, 8)));
}

/// The four bytes at `p` in every lane.
GANGLION_INLINE Int32s four_bytes(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}
GANGLION_INLINE Int32s load_weights(const std::int8_t* p) { return _mm512_loadu_si512(p); }

/// Adds to each int32 of `sum` four products of an unsigned byte of `input` and a signed one of `weight`. As assembly,
/// because GCC 12 copies every accumulator before and after the intrinsic: two moves for one product.
// NOLINTNEXTLINE(misc-const-correctness): the assembly writes to it
GANGLION_INLINE void add_products(Int32s& sum, Int32s input, Int32s weight) {
  asm("vpdpbusd %[weight], %[input], %[sum]" : [sum] "+v"(sum) : [input] "v"(input), [weight] "vm"(weight));
}

GANGLION_INLINE Int32s of_high(Int32s sum, const std::int32_t* correction) {
  return _mm512_sub_epi32(sum, _mm512_slli_epi32(_mm512_loadu_si512(correction), 7));
}
GANGLION_INLINE Int32s of_low(Int32s sum, const std::int32_t* /*correction*/) { return sum; }

/// 256 a + b.
GANGLION_INLINE Int32s joined(Int32s a, Int32s b) { return _mm512_add_epi32(_mm512_slli_epi32(a, 8), b); }
GANGLION_INLINE Vector rounded(Int32s a) { return {_mm512_cvtepi32_ps(a)}; }
/// 256 a + b, rounded once.
GANGLION_INLINE Vector rounded_wide(Int32s a, Int32s b) {
  const auto half = [](__m256i high, __m256i low) __attribute__((always_inline)) {
    return _mm512_cvtpd_ps(
        _mm512_add_pd(_mm512_mul_pd(_mm512_cvtepi32_pd(high), _mm512_set1_pd(256.0)), _mm512_cvtepi32_pd(low)));
  };
  const __m256 first = half(_mm512_castsi512_si256(a), _mm512_castsi512_si256(b));
  const __m256 second = half(_mm512_extracti64x4_epi64(a, 1), _mm512_extracti64x4_epi64(b, 1));
  return {_mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1)};
}
