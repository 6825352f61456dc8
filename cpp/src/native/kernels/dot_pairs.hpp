// Integer products two inputs at a time, for instruction sets without products of bytes. Included inside an anonymous
// namespace, before dot.hpp.

/// The whole numbers of one row in the scratch: a line with the scale, then 16 bits each.
struct WholePairs {
  static constexpr std::size_t group = 2;
  static constexpr bool narrows = false;  ///< integers of 8 bits are not simpler to multiply than those of 16
  static constexpr std::size_t shared_rows = ganglion::native::shared_rows;

  float scale;
  std::int16_t* values;

  GANGLION_INLINE static WholePairs of(const Step& step, std::size_t row) {
    auto* base = static_cast<float*>(step.scratch) + row * step.columns;
    return {*base, reinterpret_cast<std::int16_t*>(base + 16)};
  }
  GANGLION_INLINE void store(std::size_t k, Vector v, bool /*narrow*/) const { store_integers(values + k, v); }
  GANGLION_INLINE void skip(std::size_t slots) { values += slots; }
};
using Whole = WholePairs;

/// Takes the sums over into double, where they are exact, and begins again.
[[gnu::noinline]] void take_over(Products* sums, double* wide, std::size_t count) noexcept GANGLION_NONBLOCKING {
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t values[lanes];
    store_products(values, sums[i]);
    for (std::size_t lane = 0; lane < lanes; ++lane) wide[i * lanes + lane] += values[lane];
    sums[i] = no_products();
  }
}

[[gnu::noinline]] Vector rounded_wide(Products sum, const double* wide) noexcept GANGLION_NONBLOCKING {
  std::int32_t values[lanes];
  store_products(values, sum);
  float sums[lanes];
  for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane] = static_cast<float>(wide[lane] + values[lane]);
  return load(sums);
}

template <std::size_t Count, std::size_t Rows>
struct PairSums {
  Products part[Rows][Count];
  double wide[Rows * Count * lanes];  ///< where a row has more inputs than an int32 can add up
  bool is_wide;
  std::size_t room;

  GANGLION_INLINE void start(std::size_t slots, bool narrow) {
    repeat<Rows * Count>([&]<std::size_t I>()
                             __attribute__((always_inline)) { part[I / Count][I % Count] = no_products(); });
    is_wide = !narrow && slots > inputs_of_int32;
    room = inputs_of_int32;
    if (is_wide) __builtin_memset(wide, 0, sizeof wide);
  }

  /// The sum, rounded once.
  template <bool Narrow>
  [[nodiscard]] GANGLION_INLINE Vector total(std::size_t row, std::size_t v, const std::int32_t* /*correction*/) {
    return is_wide ? rounded_wide(part[row][v], wide + (row * Count + v) * lanes) : rounded(part[row][v]);
  }
};
template <std::size_t Count, std::size_t Rows>
using WholeSums = PairSums<Count, Rows>;

/// Adds `size` inputs, beginning at slot `begin`.
template <bool Narrow, std::size_t Used, std::size_t Last, std::size_t Count, std::size_t Rows>
GANGLION_INLINE const std::int8_t* accumulate_whole(const std::int8_t* w, const Whole (&in)[Rows], std::size_t begin,
                                                    std::size_t size, WholeSums<Count, Rows>& sums) {
  for (std::size_t k = begin; k < begin + size;) {
    std::size_t end = begin + size;
    if (sums.is_wide) {
      end = k + sums.room < end ? k + sums.room : end;
      sums.room -= end - k;
    }
    Products sum[Rows][Used];
    repeat<Rows * Used>([&]<std::size_t I>() __attribute__((always_inline)) {
      sum[I / Used][I % Used] = sums.part[I / Used][I % Used + 1 == Used ? Last : I % Used];
    });
    for (; k < end; k += 2, w += 2 * Used * lanes) {
      repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
        std::int32_t pair;
        __builtin_memcpy(&pair, in[R].values + k, sizeof pair);
        repeat<Used>([&]<std::size_t V>()
                         __attribute__((always_inline)) { add_pair(sum[R][V], w + 2 * V * lanes, pair); });
      });
    }
    repeat<Rows * Used>([&]<std::size_t I>() __attribute__((always_inline)) {
      sums.part[I / Used][I % Used + 1 == Used ? Last : I % Used] = sum[I / Used][I % Used];
    });
    if (sums.is_wide && sums.room == 0) {
      take_over(&sums.part[0][0], sums.wide, Rows * Count);
      sums.room = inputs_of_int32;
    }
  }
  return w;
}
