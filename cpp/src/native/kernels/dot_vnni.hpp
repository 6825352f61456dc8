// Integer products of int8 weights with AVX512-VNNI. Included inside an anonymous namespace.
//
// The input of a row becomes whole numbers a = round(x / scale) of 16 bits (or of 8: the low byte is then 0), stored as
// u = a + 32768 in two unsigned bytes. vpdpbusd multiplies unsigned with signed bytes and adds four products to an
// int32; sums of the low and the high bytes are kept apart:
//   sum a w = (sum low w) + 256 (sum high w - 128 sum w)
// An int32 holds 2^31 / (255 * 127 * 1) = 66,000 products, more than a tensor's row has in any file that is read.

/// One row of the scratch: a line with the scale, low bytes, high bytes.
struct IntegerInput {
  float scale;
  const std::uint8_t* low;
  const std::uint8_t* high;
};

constexpr std::size_t integer_line = 64;

GANGLION_INLINE IntegerInput integer_input(const Step& step, std::size_t row) {
  const auto* base = static_cast<const float*>(step.scratch) + row * step.columns;
  const auto* low = reinterpret_cast<const std::uint8_t*>(base) + integer_line;
  return {*base, low, low + (step.columns * sizeof(float) - integer_line) / 2};
}

/// Integers of one operand; the slots up to the next multiple of four meet weights of zero.
inline void quantise_operand(const float* x, std::size_t size, __m512 inverse, bool narrow, std::uint8_t* low,
                             std::uint8_t* high) {
  const __m512i offset = _mm512_set1_epi32(32768);
  for (std::size_t i = 0; i < size; i += lanes) {
    const std::size_t n = size - i < lanes ? size - i : lanes;
    __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(load_first(x + i, n).v, inverse));
    if (narrow) a = _mm512_slli_epi32(a, 8);
    a = _mm512_add_epi32(a, offset);
    const __mmask16 mask = first(n);
    _mm512_mask_cvtepi32_storeu_epi8(low + i, mask, a);
    _mm512_mask_cvtepi32_storeu_epi8(high + i, mask, _mm512_srli_epi32(a, 8));
  }
}

/// The largest lane, given the bits of floats that are not negative.
inline float largest_of(__m512i bits) {
  bits = _mm512_max_epi32(bits, _mm512_shuffle_i64x2(bits, bits, 0x4E));
  bits = _mm512_max_epi32(bits, _mm512_shuffle_i64x2(bits, bits, 0xB1));
  bits = _mm512_max_epi32(bits, _mm512_shuffle_epi32(bits, _MM_PERM_BADC));
  bits = _mm512_max_epi32(bits, _mm512_shuffle_epi32(bits, _MM_PERM_CDAB));
  return _mm512_cvtss_f32(_mm512_castsi512_ps(bits));
}

/// Fills the scratch from the first `operands` inputs; both have the same scale.
inline void quantise(const Step& step, std::size_t operands) {
  const bool narrow = step.inner == 8;
  for (std::size_t row = 0; row < step.batch; ++row) {
    // The bits of magnitudes are ordered like integers, with infinity and NaN on top.
    __m512i top = _mm512_setzero_si512();
    for (std::size_t i = 0; i < operands; ++i) {
      const float* x = step.in[i].data + row * step.in[i].stride;
      for (std::size_t k = 0; k < step.in_size[i]; k += lanes) {
        const Vector size = magnitude(load_up_to(x + k, step.in_size[i] - k));
        top = _mm512_max_epi32(top, _mm512_castps_si512(size.v));
      }
    }
    const float largest = largest_of(top);
    const float steps = narrow ? 127.0F : 32767.0F;
    auto* const base = static_cast<float*>(step.scratch) + row * step.columns;
    // NaN and infinity must not vanish in a conversion to integers: they go on as the scale.
    const bool finite = largest < __builtin_inff();
    *base = finite ? largest / steps : __builtin_nanf("");
    if (narrow) *base *= 1.0F / 256.0F;
    // Inputs as small as that add nothing, and their inverse would overflow.
    const float inverse = finite && largest > 1e-30F ? steps / largest : 0.0F;
    auto* low = reinterpret_cast<std::uint8_t*>(base) + integer_line;
    auto* high = low + (step.columns * sizeof(float) - integer_line) / 2;
    for (std::size_t i = 0; i < operands; ++i) {
      quantise_operand(step.in[i].data + row * step.in[i].stride, step.in_size[i], _mm512_set1_ps(inverse), narrow, low,
                       high);
      low += (step.in_size[i] + 3) / 4 * 4;
      high += (step.in_size[i] + 3) / 4 * 4;
    }
  }
}

/// With one row, two partial sums hide the latency of a product.
template <std::size_t Count, std::size_t Rows>
struct DotSums {
  static constexpr std::size_t chains = Rows > 1 ? 1 : 2;
  __m512i low[Rows][chains][Count];
  __m512i high[Rows][chains][Count];

  GANGLION_INLINE void start() {
    repeat<Rows * chains * Count>([&]<std::size_t I>() __attribute__((always_inline)) {
      low[I / (chains * Count)][I / Count % chains][I % Count] = _mm512_setzero_si512();
      high[I / (chains * Count)][I / Count % chains][I % Count] = _mm512_setzero_si512();
    });
  }

  template <std::size_t V>
  GANGLION_INLINE static __m512i total(const __m512i (&part)[chains][Count]) {
    if constexpr (chains == 2) return _mm512_add_epi32(part[0][V], part[1][V]);
    return part[0][V];
  }
};

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
GANGLION_INLINE void add_four(const std::int8_t* w, const IntegerInput (&in)[Rows], std::size_t k,
                              DotSums<Count, Rows>& sums) {
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
GANGLION_INLINE const std::int8_t* accumulate_dot(const std::int8_t* w, const IntegerInput (&in)[Rows],
                                                  std::size_t begin, std::size_t size, DotSums<Count, Rows>& sums) {
  constexpr std::size_t chains = DotSums<Count, Rows>::chains;
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

/// The float value of one vector of sums: weight scale and input scale applied, no bias.
template <std::size_t Row, std::size_t V, std::size_t Count, std::size_t Rows>
GANGLION_INLINE Vector dot_value(const DotSums<Count, Rows>& sums, float scale, const float* row_scale,
                                 const std::int32_t* correction) {
  // High bytes are those of a + 32768; their sum loses 128 times the weights, exactly.
  const __m512i high =
      _mm512_sub_epi32(sums.template total<V>(sums.high[Row]), _mm512_slli_epi32(_mm512_loadu_si512(correction), 7));
  const Vector sum =
      fma({_mm512_cvtepi32_ps(high)}, set(256.0F), {_mm512_cvtepi32_ps(sums.template total<V>(sums.low[Row]))});
  return sum * (load(row_scale) * set(scale));
}

/// Rows of the batch that share one pass: two kinds of sums take twice the registers.
constexpr std::size_t shared_dot_rows = 2;

template <bool Narrow, std::size_t Count>
GANGLION_INLINE void dot_affine_panel(const Step& step, const std::int8_t* w, std::size_t first_row) {
  const float* bias = step.bias + first_row;
  const std::size_t left = step.size - first_row;
  const std::size_t used = left < Count * lanes ? left : Count * lanes;
  const std::size_t slots = (step.in_size[0] + 3) / 4 * 4 + (step.in_size[1] + 3) / 4 * 4;
  for_rows<shared_dot_rows>(step.batch, 0, [&]<std::size_t Rows>(std::size_t row) __attribute__((always_inline)) {
    IntegerInput in[Rows];
    repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) { in[R] = integer_input(step, row + R); });
    DotSums<Count, Rows> sums;
    sums.start();
    accumulate_dot<Narrow, Count, Count - 1>(w, in, 0, slots, sums);
    repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
      float* out = step.out[0].data + (row + R) * step.out[0].stride + first_row;
      repeat<Count>([&]<std::size_t V>() __attribute__((always_inline)) {
        const std::size_t at = first_row + V * lanes;
        const Vector value = dot_value<R, V>(sums, in[R].scale, step.scale + at, step.correction + at);
        store_up_to(out + V * lanes, value + load(bias + V * lanes), used - V * lanes);
      });
      if (step.unary != nullptr) step.unary(out, out, used, step.alpha, step.beta);
    });
  });
}

template <bool Narrow>
GANGLION_INLINE void dot_affine_of(const Step& step) {
  const auto* w = static_cast<const std::int8_t*>(step.weights);
  const std::size_t panel = 4 * lanes * ((step.in_size[0] + 3) / 4 * 4 + (step.in_size[1] + 3) / 4 * 4);
  for_affine_panels(step, [&]<std::size_t Count>(std::size_t row, std::size_t number) __attribute__((always_inline)) {
    dot_affine_panel<Narrow, Count>(step, w + number * panel, row);
  });
}

void dot_affine(const Step& step) noexcept GANGLION_NONBLOCKING {
  quantise(step, step.in_size[1] == 0 ? 1 : 2);
  step.inner == 8 ? dot_affine_of<true>(step) : dot_affine_of<false>(step);
}

/// `cell` on integers; a GRU's fourth sum has its own share of the correction.
template <bool Narrow, std::size_t Gates, class Update>
GANGLION_INLINE void dot_cell(const Step& step, Update update) {
  const std::size_t first = (step.in_size[0] + 3) / 4 * 4;
  const std::size_t second = (step.in_size[1] + 3) / 4 * 4;
  for_panels(step, (step.size + lanes - 1) / lanes, [&](std::size_t number) __attribute__((always_inline)) {
    const auto* w = static_cast<const std::int8_t*>(step.weights) + number * Gates * lanes * (first + second);
    const float* bias = step.bias + number * 4 * lanes;
    const float* scale = step.scale + number * Gates * lanes;
    const std::int32_t* correction = step.correction + number * 4 * lanes;
    for_rows<shared_dot_rows>(step.batch, 0, [&]<std::size_t Rows>(std::size_t row) __attribute__((always_inline)) {
      IntegerInput in[Rows];
      repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) { in[R] = integer_input(step, row + R); });
      DotSums<4, Rows> sums;
      sums.start();
      const auto* next = accumulate_dot<Narrow, Gates, Gates - 1>(w, in, 0, first, sums);
      accumulate_dot<Narrow, Gates, 3>(next, in, first, second, sums);
      repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
        update(step, row + R, number * lanes, [&]<std::size_t V>() __attribute__((always_inline)) {
          const float* const scales = scale + gate_of<Gates>(V) * lanes;
          return dot_value<R, V>(sums, in[R].scale, scales, correction + V * lanes) + load(bias + V * lanes);
        });
      });
    });
  });
}

void dot_lstm(const Step& step) noexcept GANGLION_NONBLOCKING {
  quantise(step, 2);
  step.inner == 8 ? dot_cell<true, 4>(step, lstm_update) : dot_cell<false, 4>(step, lstm_update);
}

void dot_gru(const Step& step) noexcept GANGLION_NONBLOCKING {
  quantise(step, 2);
  step.inner == 8 ? dot_cell<true, 3>(step, gru_update) : dot_cell<false, 3>(step, gru_update);
}
