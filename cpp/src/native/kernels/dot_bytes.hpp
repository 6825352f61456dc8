// Integer products four bytes at a time. Included inside an anonymous namespace, before dot.hpp and after a header of
// kernels/bytes, which has
//   Int32s, no_sums, plus     one int32 for each lane
//   store_bytes               whole numbers of 16 bits (of 8: shifted up by 8) in two bytes each, `low` and `high`
//   four_bytes, add_products  four of these bytes in every lane; sums of their products with four weights of each lane
//   of_high, of_low           what the sums of both would be for a = 256 high + low, from the sum of the weights
// Sums of the low and the high bytes are kept apart:
//   sum a w = 256 sum high w + sum low w
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
  GANGLION_INLINE void store(std::size_t k, Vector v, bool narrow) const { store_bytes(low + k, high + k, v, narrow); }
  GANGLION_INLINE void skip(std::size_t slots) {
    low += slots;
    high += slots;
  }
};
using Whole = WholeBytes;

/// With one row, two partial sums hide the latency of a product.
template <std::size_t Count, std::size_t Rows>
struct ByteSums {
  static constexpr std::size_t chains = Rows > 1 ? 1 : 2;
  Int32s low[Rows][chains][Count];
  Int32s high[Rows][chains][Count];
  bool is_wide;

  GANGLION_INLINE void start(std::size_t slots, bool /*narrow*/) {
    is_wide = slots > inputs_of_int32;
    repeat<Rows * chains * Count>([&]<std::size_t I>() __attribute__((always_inline)) {
      low[I / (chains * Count)][I / Count % chains][I % Count] = no_sums();
      high[I / (chains * Count)][I / Count % chains][I % Count] = no_sums();
    });
  }

  GANGLION_INLINE static Int32s sum_of_chains(const Int32s (&part)[chains][Count], std::size_t v) {
    if constexpr (chains == 2) return plus(part[0][v], part[1][v]);
    return part[0][v];
  }

  /// The sum, rounded once.
  template <bool Narrow>
  [[nodiscard]] GANGLION_INLINE Vector total(std::size_t row, std::size_t v, const std::int32_t* correction) {
    const Int32s of_high_bytes = of_high(sum_of_chains(high[row], v), correction);
    if constexpr (Narrow) return rounded(of_high_bytes);
    const Int32s of_low_bytes = of_low(sum_of_chains(low[row], v), correction);
    return is_wide ? rounded_wide(of_high_bytes, of_low_bytes) : rounded(joined(of_high_bytes, of_low_bytes));
  }
};
template <std::size_t Count, std::size_t Rows>
using WholeSums = ByteSums<Count, Rows>;

/// Adds four inputs from slot `k` on to the partial sums `Chain`.
template <bool Narrow, std::size_t Used, std::size_t Last, std::size_t Chain, std::size_t Count, std::size_t Rows>
GANGLION_INLINE void add_four(const std::int8_t* w, const Whole (&in)[Rows], std::size_t k,
                              WholeSums<Count, Rows>& sums) {
  Int32s low[Rows];
  Int32s high[Rows];
  repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
    high[R] = four_bytes(in[R].high + k);
    if constexpr (!Narrow) low[R] = four_bytes(in[R].low + k);
  });
  repeat<Used>([&]<std::size_t V>() __attribute__((always_inline)) {
    const Int32s weight = load_weights(w + V * 4 * lanes);
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
