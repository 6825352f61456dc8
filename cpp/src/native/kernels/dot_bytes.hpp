// Integer products four bytes at a time, with AVX512-VNNI. Included inside an anonymous namespace, before dot.hpp.
//
// A whole number a of 16 bits (of 8: shifted up by 8, so that the low byte is 0) is stored as u = a + 32768 in two
// unsigned bytes. vpdpbusd multiplies unsigned with signed bytes and adds four products to an int32; sums of the low
// and the high bytes are kept apart:
//   sum a w = (sum low w) + 256 (sum high w - 128 sum w)
// An int32 holds 2^31 / (255 * 127 * 1) = 66,000 products, more than packing_of lets come here.

/// The whole numbers of one row in the scratch: a line with the scale, low bytes, high bytes.
struct WholeBytes {
  static constexpr std::size_t group = 4;
  static constexpr bool narrows = true;          ///< integers of 8 bits have no low bytes
  static constexpr std::size_t shared_rows = 2;  // two kinds of sums take twice the registers

  float scale;
  std::uint8_t* low;
  std::uint8_t* high;

  GANGLION_INLINE static WholeBytes of(const Step& step, std::size_t row) {
    constexpr std::size_t line = 64;
    auto* base = static_cast<float*>(step.scratch) + row * step.columns;
    auto* low = reinterpret_cast<std::uint8_t*>(base) + line;
    return {*base, low, low + (step.columns * sizeof(float) - line) / 2};
  }
  GANGLION_INLINE void store(std::size_t k, Vector v, bool narrow) const {
    __m512i a = _mm512_cvtps_epi32(v.v);
    if (narrow) a = _mm512_slli_epi32(a, 8);
    a = _mm512_add_epi32(a, _mm512_set1_epi32(32768));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low + k), _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + k), _mm512_cvtepi32_epi8(_mm512_srli_epi32(a, 8)));
  }
  GANGLION_INLINE void skip(std::size_t slots) {
    low += slots;
    high += slots;
  }
};
using Whole = WholeBytes;

/// 256 a + b, rounded once.
GANGLION_INLINE Vector rounded_wide(__m512i a, __m512i b) {
  const auto half = [](__m256i high, __m256i low) __attribute__((always_inline)) {
    return _mm512_cvtpd_ps(
        _mm512_add_pd(_mm512_mul_pd(_mm512_cvtepi32_pd(high), _mm512_set1_pd(256.0)), _mm512_cvtepi32_pd(low)));
  };
  const __m256 first = half(_mm512_castsi512_si256(a), _mm512_castsi512_si256(b));
  const __m256 second = half(_mm512_extracti64x4_epi64(a, 1), _mm512_extracti64x4_epi64(b, 1));
  return {_mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1)};
}

/// With one row, two partial sums hide the latency of a product.
template <std::size_t Count, std::size_t Rows>
struct ByteSums {
  static constexpr std::size_t chains = Rows > 1 ? 1 : 2;
  __m512i low[Rows][chains][Count];
  __m512i high[Rows][chains][Count];
  bool is_wide;

  GANGLION_INLINE void start(std::size_t slots, bool /*narrow*/) {
    is_wide = slots > inputs_of_int32;
    repeat<Rows * chains * Count>([&]<std::size_t I>() __attribute__((always_inline)) {
      low[I / (chains * Count)][I / Count % chains][I % Count] = _mm512_setzero_si512();
      high[I / (chains * Count)][I / Count % chains][I % Count] = _mm512_setzero_si512();
    });
  }

  GANGLION_INLINE static __m512i sum_of_chains(const __m512i (&part)[chains][Count], std::size_t v) {
    if constexpr (chains == 2) return _mm512_add_epi32(part[0][v], part[1][v]);
    return part[0][v];
  }

  /// The sum, rounded once.
  template <bool Narrow>
  [[nodiscard]] GANGLION_INLINE Vector total(std::size_t row, std::size_t v, const std::int32_t* correction) {
    // High bytes are those of a + 32768; their sum loses 128 times the weights, exactly.
    const __m512i of_high =
        _mm512_sub_epi32(sum_of_chains(high[row], v), _mm512_slli_epi32(_mm512_loadu_si512(correction), 7));
    if constexpr (Narrow) return {_mm512_cvtepi32_ps(of_high)};
    const __m512i of_low = sum_of_chains(low[row], v);
    if (is_wide) return rounded_wide(of_high, of_low);
    return {_mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(of_high, 8), of_low))};
  }
};
template <std::size_t Count, std::size_t Rows>
using WholeSums = ByteSums<Count, Rows>;

/// Adds to each int32 of `sum` four products of an unsigned byte of `input` and a signed one of `weight`. As assembly,
/// because GCC 12 copies every accumulator before and after the intrinsic: two moves for one product.
// NOLINTNEXTLINE(misc-const-correctness): the assembly writes to it
GANGLION_INLINE void add_products(__m512i& sum, __m512i input, __m512i weight) {
  asm("vpdpbusd %[weight], %[input], %[sum]" : [sum] "+v"(sum) : [input] "v"(input), [weight] "vm"(weight));
}

/// The four bytes at `p` in every lane.
GANGLION_INLINE __m512i four_bytes(const std::uint8_t* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

/// Adds four inputs from slot `k` on to the partial sums `Chain`.
template <bool Narrow, std::size_t Used, std::size_t Last, std::size_t Chain, std::size_t Count, std::size_t Rows>
GANGLION_INLINE void add_four(const std::int8_t* w, const Whole (&in)[Rows], std::size_t k,
                              WholeSums<Count, Rows>& sums) {
  __m512i low[Rows];
  __m512i high[Rows];
  repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
    high[R] = four_bytes(in[R].high + k);
    if constexpr (!Narrow) low[R] = four_bytes(in[R].low + k);
  });
  repeat<Used>([&]<std::size_t V>() __attribute__((always_inline)) {
    const __m512i weight = _mm512_loadu_si512(w + V * 4 * lanes);
    constexpr std::size_t to = V + 1 == Used ? Last : V;
    repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
      add_products(sums.high[R][Chain][to], high[R], weight);
      if constexpr (!Narrow) add_products(sums.low[R][Chain][to], low[R], weight);
    });
  });
}

/// Adds `size` inputs, beginning at slot `begin`; Narrow: the low bytes are all zero.
template <bool Narrow, std::size_t Used, std::size_t Last, std::size_t Count, std::size_t Rows>
GANGLION_INLINE const std::int8_t* accumulate_whole(const std::int8_t* w, const Whole (&in)[Rows], std::size_t begin,
                                                    std::size_t size, WholeSums<Count, Rows>& sums) {
  constexpr std::size_t chains = WholeSums<Count, Rows>::chains;
  std::size_t k = begin;
  for (; k + 4 * chains <= begin + size; k += 4 * chains) {
    repeat<chains>([&]<std::size_t C>() __attribute__((always_inline)) {
      add_four<Narrow, Used, Last, C>(w + C * Used * 4 * lanes, in, k + 4 * C, sums);
    });
    w += chains * Used * 4 * lanes;
  }
  if constexpr (chains > 1) {
    if (k < begin + size) {
      add_four<Narrow, Used, Last, 0>(w, in, k, sums);
      w += Used * 4 * lanes;
    }
  }
  return w;
}
