// Integer products of int8 weights with inputs that are rounded to whole numbers (NUMERICS.md). Included inside an
// anonymous namespace, after a `Whole`: how the whole numbers of a row lie in the scratch, and how a panel is summed
// up.

/// Integer inputs so many at a time: the weights of the others in a group are zero.
GANGLION_INLINE std::size_t slots_of(std::size_t size) {
  return (size + Whole::group - 1) / Whole::group * Whole::group;
}

/// The largest magnitude of a row's inputs; not finite where one of them is not.
inline float largest_input(const Step& step, std::size_t operands, std::size_t row) {
  Vector top = set(0.0F);
  Vector bad = set(0.0F);
  for (std::size_t i = 0; i < operands; ++i) {
    const float* x = step.in[i].data + row * step.in[i].stride;
    for (std::size_t k = 0; k < step.in_size[i]; k += lanes) {
      const Vector v = load_up_to(x + k, step.in_size[i] - k);
      top = greater(magnitude(v), top);
      bad = either_bits(bad, v - v);
    }
  }
  return all(bad == set(0.0F)) ? largest_lane(top) : __builtin_nanf("");
}

/// Fills the scratch from the first `operands` inputs; both have the same scale.
inline void quantise(const Step& step, std::size_t operands) {
  const bool narrow = step.inner == 8;
  const float steps = narrow ? 127.0F : 32767.0F;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float largest = largest_input(step, operands, row);
    auto* const base = static_cast<float*>(step.scratch) + row * step.columns;
    // NaN and infinity must not vanish in a conversion to integers: they go on as the scale.
    *base = largest / steps;
    // Inputs as small as that add nothing, and their inverse would overflow.
    const float inverse = largest > 1e-30F ? steps / largest : 0.0F;
    Whole whole = Whole::of(step, row);
    for (std::size_t i = 0; i < operands; ++i) {
      const float* x = step.in[i].data + row * step.in[i].stride;
      for (std::size_t k = 0; k < step.in_size[i]; k += lanes) {
        const Vector v = nearest(load_up_to(x + k, step.in_size[i] - k) * set(inverse));
        whole.store(k, select(v == v, v, set(0.0F)), narrow);
      }
      whole.skip(slots_of(step.in_size[i]));
    }
  }
}

/// The value of a row of weights, without its bias.
GANGLION_INLINE Vector scaled(Vector sum, const float* row_scale, float scale) {
  return sum * (load(row_scale) * set(scale));
}

/// The whole numbers of `count` rows; the last of them stands in for those that are missing.
template <std::size_t Rows>
struct Inputs {
  Whole of[Rows];

  GANGLION_INLINE Inputs(const Step& step, std::size_t row, std::size_t count) {
    repeat<Rows>([&]<std::size_t R>()
                     __attribute__((always_inline)) { of[R] = Whole::of(step, row + (R < count ? R : count - 1)); });
  }
};

template <bool Narrow, std::size_t Count, std::size_t Rows>
[[gnu::noinline]] void dot_affine_rows(const Step& step, const std::int8_t* w, std::size_t first_row, std::size_t row,
                                       std::size_t count) noexcept GANGLION_NONBLOCKING {
  const std::size_t slots = slots_of(step.in_size[0]) + slots_of(step.in_size[1]);
  const std::size_t left = step.size - first_row;
  const std::size_t used = left < Count * lanes ? left : Count * lanes;
  const Inputs<Rows> in(step, row, count);
  WholeSums<Count, Rows> sums;
  sums.start(slots, step.inner == 8);
  accumulate_whole<Narrow, Count, Count - 1>(w, in.of, 0, slots, sums);
  for (std::size_t r = 0; r < count; ++r) {
    float* out = step.out[0].data + (row + r) * step.out[0].stride + first_row;
    repeat<Count>([&]<std::size_t V>() __attribute__((always_inline)) {
      const std::size_t at = first_row + V * lanes;
      const Vector sum = sums.template total<Narrow>(r, V, step.correction + at);
      const Vector value = scaled(sum, step.scale + at, in.of[r].scale) + load(step.bias + at);
      store_up_to(out + V * lanes, flushed(value), used - V * lanes);
    });
    if (step.unary != nullptr) step.unary(out, out, used, step.alpha, step.beta);
  }
}

template <bool Narrow>
GANGLION_INLINE void dot_affine_of(const Step& step) {
  const auto* w = static_cast<const std::int8_t*>(step.weights);
  const std::size_t panel = 4 * lanes * (slots_of(step.in_size[0]) + slots_of(step.in_size[1]));
  for_affine_panels(
      step, [&]<std::size_t Count>(std::size_t first_row, std::size_t number) __attribute__((always_inline)) {
        for_rows<Whole::shared_rows>(
            step.batch,
            [&](std::size_t row, std::size_t count) __attribute__((always_inline)) {
              dot_affine_rows<Narrow, Count, Whole::shared_rows>(step, w + number * panel, first_row, row, count);
            },
            [&](std::size_t row) __attribute__((always_inline)) {
              dot_affine_rows<Narrow, Count, 1>(step, w + number * panel, first_row, row, 1);
            });
      });
}

void dot_affine(const Step& step) noexcept GANGLION_NONBLOCKING {
  quantise(step, step.in_size[1] == 0 ? 1 : 2);
  Whole::narrows&& step.inner == 8 ? dot_affine_of<Whole::narrows>(step) : dot_affine_of<false>(step);
}

/// `cell_rows` on integers; a GRU's fourth sum has its own share of the correction.
template <bool Narrow, std::size_t Gates, std::size_t Rows, class Update>
[[gnu::noinline]] void dot_cell_rows(const Step& step, const std::int8_t* w, std::size_t number, std::size_t row,
                                     std::size_t count, Update update) noexcept GANGLION_NONBLOCKING {
  const std::size_t first = slots_of(step.in_size[0]);
  const std::size_t second = slots_of(step.in_size[1]);
  const float* bias = step.bias + number * 4 * lanes;
  const float* scale = step.scale + number * Gates * lanes;
  const std::int32_t* correction = step.correction + number * 4 * lanes;
  const Inputs<Rows> in(step, row, count);
  WholeSums<4, Rows> sums;
  sums.start(first + second, step.inner == 8);
  const auto* next = accumulate_whole<Narrow, Gates, Gates - 1>(w, in.of, 0, first, sums);
  accumulate_whole<Narrow, Gates, 3>(next, in.of, first, second, sums);
  for (std::size_t r = 0; r < count; ++r) {
    update(step, row + r, number * lanes, [&]<std::size_t V>() __attribute__((always_inline)) {
      const Vector sum = sums.template total<Narrow>(r, V, correction + V * lanes);
      return scaled(sum, scale + gate_of<Gates>(V) * lanes, in.of[r].scale) + load(bias + V * lanes);
    });
  }
}

template <bool Narrow, std::size_t Gates, class Update>
GANGLION_INLINE void dot_cell_of(const Step& step, Update update) {
  const std::size_t panel = Gates * lanes * (slots_of(step.in_size[0]) + slots_of(step.in_size[1]));
  for_panels(step, (step.size + lanes - 1) / lanes, [&](std::size_t number) __attribute__((always_inline)) {
    const auto* w = static_cast<const std::int8_t*>(step.weights) + number * panel;
    for_rows<Whole::shared_rows>(
        step.batch,
        [&](std::size_t row, std::size_t count) __attribute__((always_inline)) {
          dot_cell_rows<Narrow, Gates, Whole::shared_rows>(step, w, number, row, count, update);
        },
        [&](std::size_t row)
            __attribute__((always_inline)) { dot_cell_rows<Narrow, Gates, 1>(step, w, number, row, 1, update); });
  });
}

template <std::size_t Gates, class Update>
GANGLION_INLINE void dot_cell(const Step& step, Update update) {
  quantise(step, 2);
  Whole::narrows&& step.inner == 8 ? dot_cell_of<Whole::narrows, Gates>(step, update)
                                   : dot_cell_of<false, Gates>(step, update);
}

void dot_lstm(const Step& step) noexcept GANGLION_NONBLOCKING { dot_cell<4>(step, lstm_update); }
void dot_gru(const Step& step) noexcept GANGLION_NONBLOCKING { dot_cell<3>(step, gru_update); }
