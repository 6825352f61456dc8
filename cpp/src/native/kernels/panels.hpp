// Matrix-vector products over packed panels, with what follows them fused behind. Included inside an anonymous
// namespace. A panel holds `count` vectors of rows, input by input, so that a step reads all weights as one stream.

#define GANGLION_INLINE [[gnu::always_inline]] inline

/// Rows of the batch that share one pass over a panel.
constexpr std::size_t shared_rows = lanes == 8 ? 2 : 4;

struct F32 {
  using Element = float;
  static constexpr bool scaled = false;
  GANGLION_INLINE static Vector read(const Element* p) { return load(p); }
};

#if defined(GANGLION_SMALL_WEIGHTS)
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
#endif

/// Calls `turn` with 0, 1, ... Count - 1 as constants. In a loop that is unrolled later GCC keeps arrays of vectors in
/// memory: one load and one store for each product.
template <std::size_t Count, class Turn>
GANGLION_INLINE void repeat(Turn turn) {
  if constexpr (Count > 0) {
    repeat<Count - 1>(turn);
    turn.template operator()<Count - 1>();
  }
}

/// Sums of one panel for `Rows` rows of the batch. With one row, several partial sums hide the latency of the fma.
template <std::size_t Count, std::size_t Rows>
struct Sums {
  static constexpr std::size_t chains = Rows > 1 ? 1 : Count >= 4 ? 2 : Count == 3 ? 3 : Count == 2 ? 4 : 8;
  Vector part[Rows][chains][Count];

  GANGLION_INLINE void start() {
    repeat<Rows * chains * Count>([&]<std::size_t I>() __attribute__((always_inline)) {
      part[I / (chains * Count)][I / Count % chains][I % Count] = set(0.0F);
    });
  }

  template <std::size_t Row, std::size_t V>
  [[nodiscard]] GANGLION_INLINE Vector total() const {
    Vector sum = part[Row][0][V];
    repeat<chains - 1>([&]<std::size_t C>() __attribute__((always_inline)) { sum = sum + part[Row][C + 1][V]; });
    return sum;
  }
};

/// Adds input `k` of every row to the partial sums `Chain` of the first `Used` vectors.
template <class Weight, std::size_t Used, std::size_t Last, std::size_t Chain, std::size_t Count, std::size_t Rows>
GANGLION_INLINE void add_input(const typename Weight::Element* w, const float* const (&x)[Rows], std::size_t k,
                               Sums<Count, Rows>& sums) {
  Vector input[Rows];
  repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) { input[R] = set(x[R][k]); });
  repeat<Used>([&]<std::size_t V>() __attribute__((always_inline)) {
    constexpr std::size_t to = V + 1 == Used ? Last : V;
    const Vector weight = Weight::read(w + V * lanes);
    repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
      sums.part[R][Chain][to] = fma(weight, input[R], sums.part[R][Chain][to]);
    });
  });
}

/// Adds `size` inputs of every row to the first `Used` vectors of the sums; answers where the weights go on. The last
/// used vector may be added to another one (a GRU keeps its candidate's two halves apart).
template <class Weight, std::size_t Used, std::size_t Last, std::size_t Count, std::size_t Rows>
GANGLION_INLINE const typename Weight::Element* accumulate(const typename Weight::Element* w, Operand in,
                                                           std::size_t size, std::size_t row, Sums<Count, Rows>& sums) {
  constexpr std::size_t chains = Sums<Count, Rows>::chains;
  const float* x[Rows];
  repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) { x[R] = in.data + (row + R) * in.stride; });
  std::size_t k = 0;
  for (; k + chains <= size; k += chains) {
    repeat<chains>([&]<std::size_t C>() __attribute__((always_inline)) {
      add_input<Weight, Used, Last, C>(w + C * Used * lanes, x, k + C, sums);
    });
    w += chains * Used * lanes;
  }
  if constexpr (chains > 1) {
    for (; k < size; ++k) {
      add_input<Weight, Used, Last, 0>(w, x, k, sums);
      w += Used * lanes;
    }
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

/// Calls `pass` with 4, 3, 2 or 1 (as far as `shared_rows` goes) until every row of the batch is done.
template <std::size_t Rows = shared_rows, class Pass>
GANGLION_INLINE void for_rows(std::size_t batch, std::size_t row, Pass&& pass) {
  for (; row + Rows <= batch; row += Rows) pass.template operator()<Rows>(row);
  if constexpr (Rows > 1) for_rows<Rows - 1>(batch, row, pass);
}

/// Calls `pass` with the number of every panel. Two steps in a row go through the weights in opposite directions: what
/// the first one left in a cache that is a little too small is then the beginning of the second one.
template <class Pass>
GANGLION_INLINE void for_panels(const Step& step, std::size_t panels, Pass&& pass) {
  for (std::size_t i = 0; i < panels; ++i) pass(step.backwards ? panels - 1 - i : i);
}

// ---- affine: y = f(W [x0; x1] + b); x1 may be empty ----

template <class Weight, std::size_t Count>
GANGLION_INLINE void affine_panel(const Step& step, const typename Weight::Element* w, std::size_t first_row) {
  const float* bias = step.bias + first_row;
  const float* scale = step.scale + first_row;
  const std::size_t left = step.size - first_row;
  const std::size_t used = left < Count * lanes ? left : Count * lanes;
  for_rows(step.batch, 0, [&]<std::size_t Rows>(std::size_t row) __attribute__((always_inline)) {
    Sums<Count, Rows> sums;
    sums.start();
    const auto* next = accumulate<Weight, Count, Count - 1>(w, step.in[0], step.in_size[0], row, sums);
    accumulate<Weight, Count, Count - 1>(next, step.in[1], step.in_size[1], row, sums);
    repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
      float* out = step.out[0].data + (row + R) * step.out[0].stride + first_row;
      repeat<Count>([&]<std::size_t V>() __attribute__((always_inline)) {
        store_up_to(out + V * lanes, finish<Weight>(sums.template total<R, V>(), bias + V * lanes, scale + V * lanes),
                    used - V * lanes);
      });
      if (step.unary != nullptr) step.unary(out, out, used, step.alpha, step.beta);
    });
  });
}

/// Calls `pass` with the number of vectors, the first row and the number of every panel of an affine.
template <class Pass>
GANGLION_INLINE void for_affine_panels(const Step& step, Pass&& pass) {
  constexpr std::size_t panel = 4 * lanes;
  for_panels(step, (step.size + panel - 1) / panel, [&](std::size_t number) __attribute__((always_inline)) {
    const std::size_t row = number * panel;
    const std::size_t left = step.size - row;
    if (left > 3 * lanes) {
      pass.template operator()<4>(row, number);
    } else if (left > 2 * lanes) {
      pass.template operator()<3>(row, number);
    } else if (left > lanes) {
      pass.template operator()<2>(row, number);
    } else {
      pass.template operator()<1>(row, number);
    }
  });
}

template <class Weight>
void affine(const Step& step) noexcept GANGLION_NONBLOCKING {
  const auto* w = static_cast<const typename Weight::Element*>(step.weights);
  const std::size_t panel = 4 * lanes * (step.in_size[0] + step.in_size[1]);
  for_affine_panels(step, [&]<std::size_t Count>(std::size_t row, std::size_t number) __attribute__((always_inline)) {
    affine_panel<Weight, Count>(step, w + number * panel, row);
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
  const Vector next = fma(sigmoid(f), c, sigmoid(i) * tanh(g));
  store_up_to(step.out[1].data + row * step.out[1].stride + unit, next, n);
  store_up_to(step.out[0].data + row * step.out[0].stride + unit, sigmoid(o) * tanh(next), n);
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
  store_up_to(step.out[0].data + row * step.out[0].stride + unit, fma(sigmoid(z), h - n, n), left);
};

/// Where the scales of sum V are: a GRU's fourth sum has the weights, and so the scales, of the third one.
template <std::size_t Gates>
constexpr std::size_t gate_of(std::size_t sum) {
  return sum < Gates ? sum : Gates - 1;
}

template <class Weight, std::size_t Gates, class Update>
GANGLION_INLINE void cell(const Step& step, Update update) {
  const auto* const weights = static_cast<const typename Weight::Element*>(step.weights);
  const std::size_t panel = Gates * lanes * (step.in_size[0] + step.in_size[1]);
  for_panels(step, (step.size + lanes - 1) / lanes, [&](std::size_t number) __attribute__((always_inline)) {
    const auto* w = weights + number * panel;
    const float* bias = step.bias + number * 4 * lanes;
    const float* scale = step.scale + number * Gates * lanes;
    for_rows(step.batch, 0, [&]<std::size_t Rows>(std::size_t row) __attribute__((always_inline)) {
      Sums<4, Rows> sums;
      sums.start();
      const auto* next = accumulate<Weight, Gates, Gates - 1>(w, step.in[0], step.in_size[0], row, sums);
      accumulate<Weight, Gates, 3>(next, step.in[1], step.in_size[1], row, sums);
      repeat<Rows>([&]<std::size_t R>() __attribute__((always_inline)) {
        update(step, row + R, number * lanes, [&]<std::size_t V>() __attribute__((always_inline)) {
          return finish<Weight>(sums.template total<R, V>(), bias + V * lanes, scale + gate_of<Gates>(V) * lanes);
        });
      });
    });
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
