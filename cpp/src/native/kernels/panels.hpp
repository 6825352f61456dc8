// Matrix-vector products over packed panels, with what follows them fused behind. Included inside an anonymous
// namespace. A panel holds `count` vectors of rows, input by input, so that a step reads all weights as one stream.

#define GANGLION_INLINE [[gnu::always_inline]] inline

struct F32 {
  using Element = float;
  static constexpr bool scaled = false;
  GANGLION_INLINE static Vector read(const Element* p) { return load(p); }
};

struct F16 {
  using Element = std::uint16_t;
  static constexpr bool scaled = false;
  GANGLION_INLINE static Vector read(const Element* p) { return load_half(p); }
};

struct I8 {
  using Element = std::int8_t;
  static constexpr bool scaled = true;
  GANGLION_INLINE static Vector read(const Element* p) { return load_int8(p); }
};

/// Calls `turn` with 0, 1, ... Count - 1 as constants. In a loop that is unrolled later GCC keeps arrays of vectors in
/// memory: one load and one store for each product.
template <std::size_t Count, class Turn>
GANGLION_INLINE void repeat(Turn turn) {
  if constexpr (Count > 0) {
    repeat<Count - 1>(turn);
    turn.template operator()<Count - 1>();
  }
}

/// A sum is made in so many chains: of a layer with few rows in more, or the latency of the fma would be all its time.
constexpr std::size_t most_chains = 4;
constexpr std::size_t few_rows = 16;

/// The part of `size` inputs that a chain takes, as NUMERICS.md has it.
GANGLION_INLINE std::size_t chain_length(std::size_t size, std::size_t chains) { return (size + chains - 1) / chains; }

/// Sums of one panel for one row of the batch, in registers.
template <std::size_t Count, std::size_t Chains>
struct Sums {
  Vector part[Chains][Count];

  GANGLION_INLINE void start() {
    repeat<Chains * Count>([&]<std::size_t I>()
                               __attribute__((always_inline)) { part[I / Count][I % Count] = set(0.0F); });
  }

  template <std::size_t V>
  [[nodiscard]] GANGLION_INLINE Vector total() const {
    const Vector sum = part[0][V] + part[1][V];
    if constexpr (Chains == 4) return sum + (part[2][V] + part[3][V]);
    return sum;
  }
};

/// Adds an input to the sums `Chain` of the first `Used` vectors.
template <class Weight, std::size_t Used, std::size_t Last, std::size_t Chain, std::size_t Count, std::size_t Chains>
GANGLION_INLINE void add_input(const typename Weight::Element* w, float x, Sums<Count, Chains>& sums) {
  const Vector input = set(x);
  repeat<Used>([&]<std::size_t V>() __attribute__((always_inline)) {
    constexpr std::size_t to = V + 1 == Used ? Last : V;
    sums.part[Chain][to] = fma(Weight::read(w + V * lanes), input, sums.part[Chain][to]);
  });
}

/// Adds `size` inputs to the first `Used` vectors of the sums; answers where the weights go on. The last used vector
/// may be added to another one (a GRU keeps its candidate's two halves apart).
template <class Weight, std::size_t Used, std::size_t Last, std::size_t Count, std::size_t Chains>
GANGLION_INLINE const typename Weight::Element* accumulate(const typename Weight::Element* w, const float* x,
                                                           std::size_t size, Sums<Count, Chains>& sums) {
  constexpr std::size_t width = Used * lanes;
  const std::size_t length = chain_length(size, Chains);
  const std::size_t begun = (Chains - 1) * length;
  const std::size_t together = size > begun ? size - begun : 0;  // so many inputs has the last chain
  const auto* at = w;
  const float* input = x;
  for (std::size_t k = 0; k < together; ++k, at += width, ++input) {
    repeat<Chains>([&]<std::size_t C>() __attribute__((always_inline)) {
      add_input<Weight, Used, Last, C>(at + C * length * width, input[C * length], sums);
    });
  }
  repeat<Chains - 1>([&]<std::size_t C>() __attribute__((always_inline)) {
    const std::size_t end = (C + 1) * length < size ? (C + 1) * length : size;
    for (std::size_t k = C * length + together; k < end; ++k) {
      add_input<Weight, Used, Last, C>(w + k * width, x[k], sums);
    }
  });
  return w + size * width;
}

/// Sums of one panel for several rows of the batch: one chain of all rows at a time is in registers.
template <std::size_t Count, std::size_t Rows>
struct RowSums {
  std::size_t chains;
  Vector part[most_chains][Rows][Count];

  GANGLION_INLINE void start(std::size_t count) {
    chains = count;
    for (std::size_t c = 0; c < count; ++c) {
      repeat<Rows * Count>([&]<std::size_t I>()
                               __attribute__((always_inline)) { part[c][I / Count][I % Count] = set(0.0F); });
    }
  }

  /// The sums of one row, in the place of its first chain.
  GANGLION_INLINE Vector* totals(std::size_t row) {
    repeat<Count>([&]<std::size_t V>() __attribute__((always_inline)) {
      part[0][row][V] = part[0][row][V] + part[1][row][V];
      if (chains == 4) part[0][row][V] = part[0][row][V] + (part[2][row][V] + part[3][row][V]);
    });
    return part[0][row];
  }
};

/// `count` rows; the last of them stands in for those that are missing.
template <class Weight, std::size_t Used, std::size_t Last, std::size_t Count, std::size_t Rows>
GANGLION_INLINE const typename Weight::Element* accumulate(const typename Weight::Element* w, Operand in,
                                                           std::size_t size, std::size_t row, std::size_t count,
                                                           RowSums<Count, Rows>& sums) {
  const float* x[Rows];
  repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
    x[R] = in.data + (row + (R < count ? R : count - 1)) * in.stride;
  });
  const std::size_t length = chain_length(size, sums.chains);
  std::size_t k = 0;
  for (std::size_t c = 0; c < sums.chains; ++c) {
    Vector sum[Rows][Used];
    repeat<Rows * Used>([&]<std::size_t I>() __attribute__((always_inline)) {
      sum[I / Used][I % Used] = sums.part[c][I / Used][I % Used + 1 == Used ? Last : I % Used];
    });
    for (const std::size_t end = k + length < size ? k + length : size; k < end; ++k, w += Used * lanes) {
      Vector input[Rows];
      repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) { input[R] = set(x[R][k]); });
      repeat<Used>([&]<std::size_t V>() __attribute__((always_inline)) {
        const Vector weight = Weight::read(w + V * lanes);
        repeat<Rows>([&]<std::size_t R>()
                         __attribute__((always_inline)) { sum[R][V] = fma(weight, input[R], sum[R][V]); });
      });
    }
    repeat<Rows * Used>([&]<std::size_t I>() __attribute__((always_inline)) {
      sums.part[c][I / Used][I % Used + 1 == Used ? Last : I % Used] = sum[I / Used][I % Used];
    });
  }
  return w;
}

GANGLION_INLINE void store_up_to(float* p, Vector a, std::size_t n) {
  if (n >= lanes) {
    store(p, a);
  } else {
    store_first(p, a, n);
  }
}

GANGLION_INLINE Vector load_up_to(const float* p, std::size_t n) { return n >= lanes ? load(p) : load_first(p, n); }

/// bias + scale * sum, the bias alone added where weights are floats.
template <class Weight>
GANGLION_INLINE Vector finish(Vector sum, const float* bias, const float* scale) {
  if constexpr (Weight::scaled) return fma(sum, load(scale), load(bias));
  return sum + load(bias);
}

/// Calls `several(row, count)` for `Rows` rows of the batch at a time, fewer at its end, and `one(row)` for a row that
/// is left alone.
template <std::size_t Rows, class Several, class One>
GANGLION_INLINE void for_rows(std::size_t batch, Several&& several, One&& one) {
  for (std::size_t row = 0; row < batch; row += Rows) {
    const std::size_t left = batch - row;
    left == 1 ? one(row) : several(row, left < Rows ? left : Rows);
  }
}

/// Calls `pass` with the number of every panel. Two steps in a row go through the weights in opposite directions: what
/// the first one left in a cache that is a little too small is then the beginning of the second one.
template <class Pass>
GANGLION_INLINE void for_panels(const Step& step, std::size_t panels, Pass&& pass) {
  for (std::size_t i = 0; i < panels; ++i) pass(step.backwards ? panels - 1 - i : i);
}

// ---- affine: y = f(W [x0; x1] + b); x1 may be empty ----

/// Writes the outputs of one row of the batch, from the sums of a panel.
template <class Weight, std::size_t Count>
GANGLION_INLINE void finish_affine(const Step& step, std::size_t first_row, std::size_t row, const Vector* totals) {
  const std::size_t left = step.size - first_row;
  const std::size_t used = left < Count * lanes ? left : Count * lanes;
  float* out = step.out[0].data + row * step.out[0].stride + first_row;
  repeat<Count>([&]<std::size_t V>() __attribute__((always_inline)) {
    const std::size_t at = first_row + V * lanes;
    store_up_to(out + V * lanes, flushed(finish<Weight>(totals[V], step.bias + at, step.scale + at)), used - V * lanes);
  });
  if (step.unary != nullptr) step.unary(out, out, used, step.alpha, step.beta);
}

/// Some rows of the batch. A function of its own: in a batch a call is nothing, and the code is there once.
template <class Weight, std::size_t Count>
[[gnu::noinline]] void affine_of_rows(const Step& step, const typename Weight::Element* w, std::size_t first_row,
                                      std::size_t row, std::size_t count,
                                      std::size_t chains) noexcept GANGLION_NONBLOCKING {
  RowSums<Count, shared_rows> sums;
  sums.start(chains);
  const auto* next = accumulate<Weight, Count, Count - 1>(w, step.in[0], step.in_size[0], row, count, sums);
  accumulate<Weight, Count, Count - 1>(next, step.in[1], step.in_size[1], row, count, sums);
  for (std::size_t r = 0; r < count; ++r) finish_affine<Weight, Count>(step, first_row, row + r, sums.totals(r));
}

template <class Weight, std::size_t Count, std::size_t Chains>
GANGLION_INLINE void affine_of_row(const Step& step, const typename Weight::Element* w, std::size_t first_row,
                                   std::size_t row) {
  if constexpr (is_compact) return affine_of_rows<Weight, Count>(step, w, first_row, row, 1, Chains);
  Sums<Count, Chains> sums;
  sums.start();
  const float* const x0 = step.in[0].data + row * step.in[0].stride;
  const float* const x1 = step.in[1].data + row * step.in[1].stride;
  const auto* next = accumulate<Weight, Count, Count - 1>(w, x0, step.in_size[0], sums);
  accumulate<Weight, Count, Count - 1>(next, x1, step.in_size[1], sums);
  Vector totals[Count];
  repeat<Count>([&]<std::size_t V>() __attribute__((always_inline)) { totals[V] = sums.template total<V>(); });
  finish_affine<Weight, Count>(step, first_row, row, totals);
}

template <class Weight, std::size_t Count, std::size_t Chains>
GANGLION_INLINE void affine_panel(const Step& step, const typename Weight::Element* w, std::size_t first_row) {
  for_rows<shared_rows>(
      step.batch,
      [&](std::size_t row, std::size_t count)
          __attribute__((always_inline)) { affine_of_rows<Weight, Count>(step, w, first_row, row, count, Chains); },
      [&](std::size_t row)
          __attribute__((always_inline)) { affine_of_row<Weight, Count, Chains>(step, w, first_row, row); });
}

/// Calls `pass` with as many vectors as are needed for `left` rows, at most `Count`.
template <std::size_t Count, class Pass>
GANGLION_INLINE void for_vectors(std::size_t left, Pass&& pass) {
  if constexpr (Count > 1) {
    if (left <= (Count - 1) * lanes) return for_vectors<Count - 1>(left, pass);
  }
  pass.template operator()<Count>();
}

/// Calls `pass` with the number of vectors, the first row and the number of every panel of an affine.
template <class Pass>
GANGLION_INLINE void for_affine_panels(const Step& step, Pass&& pass) {
  constexpr std::size_t panel = 4 * lanes;
  for_panels(step, (step.size + panel - 1) / panel, [&](std::size_t number) __attribute__((always_inline)) {
    const std::size_t row = number * panel;
    for_vectors<4>(step.size - row, [&]<std::size_t Count>() __attribute__((always_inline)) {
      pass.template operator()<Count>(row, number);
    });
  });
}

template <class Weight>
void affine(const Step& step) noexcept GANGLION_NONBLOCKING {
  const auto* w = static_cast<const typename Weight::Element*>(step.weights);
  if (step.size <= few_rows) {
    for_vectors<few_rows / lanes>(step.size, [&]<std::size_t Count>() __attribute__((always_inline)) {
      affine_panel<Weight, Count, 4>(step, w, 0);
    });
    return;
  }
  const std::size_t panel = 4 * lanes * (step.in_size[0] + step.in_size[1]);
  for_affine_panels(step, [&]<std::size_t Count>(std::size_t row, std::size_t number) __attribute__((always_inline)) {
    affine_panel<Weight, Count, 2>(step, w + number * panel, row);
  });
}

// ---- cells: a panel is `lanes` units with all their gates; `update(step, row, unit, value)` gets the sums of gate V,
// biases included, from `value.template operator()<V>()` ----

// lstm: in x, h, c; out h', c'; gates i, f, g, o.
constexpr auto lstm_update = [](const Step& step, std::size_t row, std::size_t unit,
                                auto value) __attribute__((always_inline)) {
  const std::size_t n = step.size - unit;
  const Vector i = value.template operator()<0>();
  const Vector f = value.template operator()<1>();
  const Vector g = value.template operator()<2>();
  const Vector o = value.template operator()<3>();
  const Vector c = load_up_to(step.in[2].data + row * step.in[2].stride + unit, n);
  const Vector next = flushed(fma(sigmoid(f), c, sigmoid(i) * tanh(g)));
  store_up_to(step.out[1].data + row * step.out[1].stride + unit, next, n);
  store_up_to(step.out[0].data + row * step.out[0].stride + unit, flushed(sigmoid(o) * tanh(next)), n);
};

// gru (linear_before_reset): in x, h; out h'; sums r, z, n of x, n of h.
constexpr auto gru_update = [](const Step& step, std::size_t row, std::size_t unit,
                               auto value) __attribute__((always_inline)) {
  const std::size_t left = step.size - unit;
  const Vector r = value.template operator()<0>();
  const Vector z = value.template operator()<1>();
  const Vector of_x = value.template operator()<2>();
  const Vector of_h = value.template operator()<3>();
  const Vector h = load_up_to(step.in[1].data + row * step.in[1].stride + unit, left);
  const Vector n = tanh(fma(sigmoid(r), of_h, of_x));
  store_up_to(step.out[0].data + row * step.out[0].stride + unit, flushed(fma(sigmoid(z), h - n, n)), left);
};

/// Where the scales of sum V are: a GRU's fourth sum has the weights, and so the scales, of the third one.
template <std::size_t Gates>
constexpr std::size_t gate_of(std::size_t sum) {
  return sum < Gates ? sum : Gates - 1;
}

/// New state of one row of the batch, from the sums of panel `number`.
template <class Weight, std::size_t Gates, class Update>
GANGLION_INLINE void finish_cell(const Step& step, std::size_t number, std::size_t row, const Vector* totals,
                                 Update update) {
  const float* bias = step.bias + number * 4 * lanes;
  const float* scale = step.scale + number * Gates * lanes;
  update(step, row, number * lanes, [&]<std::size_t V>() __attribute__((always_inline)) {
    return finish<Weight>(totals[V], bias + V * lanes, scale + gate_of<Gates>(V) * lanes);
  });
}

template <class Weight, std::size_t Gates, class Update>
[[gnu::noinline]] void cell_of_rows(const Step& step, const typename Weight::Element* w, std::size_t number,
                                    std::size_t row, std::size_t count, Update update) noexcept GANGLION_NONBLOCKING {
  RowSums<4, shared_rows> sums;
  sums.start(2);
  const auto* next = accumulate<Weight, Gates, Gates - 1>(w, step.in[0], step.in_size[0], row, count, sums);
  accumulate<Weight, Gates, 3>(next, step.in[1], step.in_size[1], row, count, sums);
  for (std::size_t r = 0; r < count; ++r) finish_cell<Weight, Gates>(step, number, row + r, sums.totals(r), update);
}

template <class Weight, std::size_t Gates, class Update>
GANGLION_INLINE void cell_of_row(const Step& step, const typename Weight::Element* w, std::size_t number,
                                 std::size_t row, Update update) {
  if constexpr (is_compact) return cell_of_rows<Weight, Gates>(step, w, number, row, 1, update);
  Sums<4, 2> sums;
  sums.start();
  const float* const x = step.in[0].data + row * step.in[0].stride;
  const float* const h = step.in[1].data + row * step.in[1].stride;
  const auto* next = accumulate<Weight, Gates, Gates - 1>(w, x, step.in_size[0], sums);
  accumulate<Weight, Gates, 3>(next, h, step.in_size[1], sums);
  Vector totals[4];
  repeat<4>([&]<std::size_t V>() __attribute__((always_inline)) { totals[V] = sums.template total<V>(); });
  finish_cell<Weight, Gates>(step, number, row, totals, update);
}

template <class Weight, std::size_t Gates, class Update>
GANGLION_INLINE void cell(const Step& step, Update update) {
  const auto* const weights = static_cast<const typename Weight::Element*>(step.weights);
  const std::size_t panel = Gates * lanes * (step.in_size[0] + step.in_size[1]);
  for_panels(step, (step.size + lanes - 1) / lanes, [&](std::size_t number) __attribute__((always_inline)) {
    const auto* w = weights + number * panel;
    for_rows<shared_rows>(
        step.batch,
        [&](std::size_t row, std::size_t count)
            __attribute__((always_inline)) { cell_of_rows<Weight, Gates>(step, w, number, row, count, update); },
        [&](std::size_t row)
            __attribute__((always_inline)) { cell_of_row<Weight, Gates>(step, w, number, row, update); });
  });
}

template <class Weight>
void lstm(const Step& step) noexcept GANGLION_NONBLOCKING {
  cell<Weight, 4>(step, lstm_update);
}

template <class Weight>
void gru(const Step& step) noexcept GANGLION_NONBLOCKING {
  cell<Weight, 3>(step, gru_update);
}
