// Operations that look at a whole row of [rows, columns], and the rare rest. Included inside an anonymous namespace.

/// A row is folded into so many sums, whatever the vectors are (NUMERICS.md).
constexpr std::size_t folded = 16;

/// Folds a row with `combine(sum, transformed element)`; what is beyond the end counts as `neutral`. Not inlined: it is
/// long, and a row at a time is called.
template <class Transform, class Combine>
[[gnu::noinline]] float fold(const float* x, std::size_t size, float neutral, Transform transform, Combine combine) {
  constexpr std::size_t count = folded / lanes;
  Vector sum[count];
  for (Vector& part : sum) part = set(neutral);
  std::size_t i = 0;
  for (; i + folded <= size; i += folded) {
    for (std::size_t v = 0; v < count; ++v) sum[v] = combine(sum[v], transform(load(x + i + v * lanes)));
  }
  for (std::size_t v = 0; v < count && i < size; ++v, i += lanes) {
    float tail[lanes];
    store(tail, set(neutral));
    const Vector last = transform(load_up_to(x + i, size - i));
    store_up_to(tail, last, size - i);
    sum[v] = combine(sum[v], load(tail));
  }
  for (std::size_t half = count / 2; half != 0; half /= 2) {
    for (std::size_t v = 0; v < half; ++v) sum[v] = combine(sum[v], sum[v + half]);
  }
  float halves[2 * lanes];
  store(halves + lanes, set(neutral));
  for (std::size_t half = lanes / 2; half != 0; half /= 2) {
    store(halves, sum[0]);
    sum[0] = combine(sum[0], load(halves + half));
  }
  store(halves, sum[0]);
  return halves[0];
}

constexpr auto itself = [](Vector v) __attribute__((always_inline)) { return v; };
constexpr auto sum_of_two = [](Vector a, Vector b) __attribute__((always_inline)) { return a + b; };
constexpr auto larger = [](Vector a, Vector b) __attribute__((always_inline)) { return maximum(a, b); };

inline float row_sum(const float* x, std::size_t size) { return fold(x, size, 0.0F, itself, sum_of_two); }

inline float row_maximum(const float* x, std::size_t size) { return fold(x, size, -__builtin_inff(), itself, larger); }

/// exp(x - offset). A type of its own, so that there is one `fold` with it.
struct ExpBehind {
  Vector offset;
  GANGLION_INLINE Vector operator()(Vector v) const { return exp(v - offset); }
};

inline float row_exp_sum(const float* x, std::size_t size, float offset) {
  return fold(x, size, 0.0F, ExpBehind{set(offset)}, sum_of_two);
}

/// The first lane.
inline float first_of(Vector v) {
  float values[lanes];
  store(values, v);
  return values[0];
}

inline float log_of(float x) { return first_of(log(set(x))); }

/// A row to be folded, the same in all lanes.
struct OneRow {
  const float* x;
  std::size_t n;

  [[nodiscard]] GANGLION_INLINE Vector size() const { return set(static_cast<float>(n)); }

  template <class Transform, class Combine>
  [[nodiscard]] GANGLION_INLINE Vector folded_with(float neutral, Transform transform, Combine combine) const {
    return set(fold(x, n, neutral, transform, combine));
  }
};

/// A short row in each lane: element k of all of them is one vector, and so is each of their sums.
struct ShortRows {
  const float* elements;  ///< [n, lanes]
  std::size_t n;          ///< `folded` at most

  [[nodiscard]] GANGLION_INLINE Vector size() const { return set(static_cast<float>(n)); }

  template <class Transform, class Combine>
  [[nodiscard]] GANGLION_INLINE Vector folded_with(float neutral, Transform transform, Combine combine) const {
    Vector sums[folded];
    for (std::size_t k = 0; k < folded; ++k) {
      sums[k] = set(neutral);
      if (k < n) sums[k] = combine(sums[k], transform(load(elements + k * lanes)));
    }
    for (std::size_t half = folded / 2; half != 0; half /= 2) {
      for (std::size_t k = 0; k < half; ++k) sums[k] = combine(sums[k], sums[k + half]);
    }
    return sums[0];
  }
};

// ---- functions of a row: one for each GANGLION_REDUCE, by its name ----

namespace of_row {

template <class Row>
GANGLION_INLINE Vector sum(const Row& row) {
  return row.folded_with(0.0F, itself, sum_of_two);
}
template <class Row>
GANGLION_INLINE Vector mean(const Row& row) {
  return sum(row) / row.size();
}
template <class Row>
GANGLION_INLINE Vector max(const Row& row) {
  return row.folded_with(-__builtin_inff(), itself, larger);
}
template <class Row>
GANGLION_INLINE Vector min(const Row& row) {
  return -row.folded_with(-__builtin_inff(), [](Vector v) __attribute__((always_inline)) { return -v; }, larger);
}
template <class Row>
GANGLION_INLINE Vector prod(const Row& row) {
  return row.folded_with(1.0F, itself, [](Vector a, Vector b) __attribute__((always_inline)) { return a * b; });
}
template <class Row>
GANGLION_INLINE Vector l1(const Row& row) {
  return row.folded_with(0.0F, [](Vector v) __attribute__((always_inline)) { return magnitude(v); }, sum_of_two);
}
template <class Row>
GANGLION_INLINE Vector sum_square(const Row& row) {
  return row.folded_with(0.0F, [](Vector v) __attribute__((always_inline)) { return v * v; }, sum_of_two);
}
template <class Row>
GANGLION_INLINE Vector l2(const Row& row) {
  return root(sum_square(row));
}
template <class Row>
GANGLION_INLINE Vector logsumexp(const Row& row) {
  const Vector top = max(row);
  const Vector sum = row.folded_with(0.0F, ExpBehind{top}, sum_of_two);
  // All elements minus infinity, or one of them infinite: the largest one is the answer.
  return select(magnitude(top) < set(__builtin_inff()), top + log(sum), top);
}

}  // namespace of_row

/// What pools images, in short rows: for the others a row in each lane would be code without a use.
constexpr bool pools(Reduce reduce) { return reduce == Reduce::sum || reduce == Reduce::mean; }

#define GANGLION_REDUCE(id)                               \
  struct Reduce_##id {                                    \
    static constexpr bool is_pooling = pools(Reduce::id); \
    template <class Row>                                  \
    GANGLION_INLINE static Vector of(const Row& row) {    \
      return of_row::id(row);                             \
    }                                                     \
  };
#include "native/vocabulary.def"

/// Rows that are folded one in each lane: short ones, enough of them.
GANGLION_INLINE bool is_by_lanes(std::size_t rows, std::size_t columns) {
  return !is_compact && columns <= folded && rows >= 4;
}

/// Element k of `lanes` rows side by side, for each k; of fewer rows than lanes what was there stays.
GANGLION_INLINE void turn(const float* x, std::size_t rows, std::size_t columns, float* elements) {
  for (std::size_t lane = 0; lane < rows; ++lane, x += columns) {
    for (std::size_t k = 0; k < columns; ++k) elements[k * lanes + lane] = x[k];
  }
}

template <class Function>
void reduce(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t n = step.columns;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* const x = step.in[0].data + row * step.in[0].stride;
    float* const out = step.out[0].data + row * step.out[0].stride;
    if (!Function::is_pooling || !is_by_lanes(step.rows, n)) {
      for (std::size_t i = 0; i < step.rows; ++i) out[i] = first_of(flushed(Function::of(OneRow{x + i * n, n})));
      continue;
    }
    float elements[folded * lanes] = {};
    for (std::size_t i = 0; i < step.rows; i += lanes) {
      const std::size_t count = step.rows - i < lanes ? step.rows - i : lanes;
      turn(x + i * n, count, n, elements);
      store_up_to(out + i, flushed(Function::of(ShortRows{elements, n})), count);
    }
  }
}

constexpr Kernel reduce_kernels[] = {
#define GANGLION_REDUCE(id) reduce<Reduce_##id>,
#include "native/vocabulary.def"
};

template <bool Logarithm>
inline void softmax_of_row(const float* x, float* y, std::size_t n) {
  const float top = row_maximum(x, n);
  const float sum = row_exp_sum(x, n, top);
  const Vector logarithm = set(Logarithm ? log_of(sum) : 0.0F);
  const Vector factor = set(1.0F / sum);
  for (std::size_t j = 0; j < n; j += lanes) {
    // First the top: it may be so large that adding the logarithm to it would lose most of that.
    const Vector v = load_up_to(x + j, n - j) - set(top);
    store_up_to(y + j, flushed(Logarithm ? v - logarithm : exp(v) * factor), n - j);
  }
}

/// Softmax of short rows, one in each lane.
inline void softmax_by_lanes(const float* x, float* y, std::size_t rows, std::size_t n) {
  float elements[folded * lanes] = {};
  for (std::size_t i = 0; i < rows; i += lanes) {
    const std::size_t count = rows - i < lanes ? rows - i : lanes;
    turn(x + i * n, count, n, elements);
    const ShortRows short_rows{elements, n};
    const Vector top = of_row::max(short_rows);
    const Vector sum = short_rows.folded_with(0.0F, ExpBehind{top}, sum_of_two);
    const Vector factor = set(1.0F) / sum;
    for (std::size_t k = 0; k < n; ++k) {
      float* const element = elements + k * lanes;
      store(element, flushed(exp(load(element) - top) * factor));
      for (std::size_t lane = 0; lane < count; ++lane) y[(i + lane) * n + k] = element[lane];
    }
  }
}

template <bool Logarithm>
inline void softmax_of_rows(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t n = step.columns;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* const x = step.in[0].data + row * step.in[0].stride;
    float* const y = step.out[0].data + row * step.out[0].stride;
    if (!Logarithm && is_by_lanes(step.rows, n)) {
      softmax_by_lanes(x, y, step.rows, n);
      continue;
    }
    for (std::size_t i = 0; i < step.rows; ++i) softmax_of_row<Logarithm>(x + i * n, y + i * n, n);
  }
}

void softmax(const Step& step) noexcept GANGLION_NONBLOCKING { softmax_of_rows<false>(step); }
void log_softmax(const Step& step) noexcept GANGLION_NONBLOCKING { softmax_of_rows<true>(step); }

void argmax(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t n = step.columns;
  for (std::size_t i = 0; i < step.batch * step.rows; ++i) {
    const float* x = step.in[0].data + i / step.rows * step.in[0].stride + i % step.rows * n;
    std::size_t best = 0;
    for (std::size_t j = 1; j < n; ++j) best = x[j] > x[best] || (x[j] != x[j] && x[best] == x[best]) ? j : best;
    step.out[0].data[i / step.rows * step.out[0].stride + i % step.rows] = static_cast<float>(best);
  }
}

/// (x - mean) / sqrt(variance + alpha) * weights + bias.
void layer_norm(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t n = step.columns;
  const float* weight = static_cast<const float*>(step.weights);
  for (std::size_t i = 0; i < step.batch * step.rows; ++i) {
    const float* x = step.in[0].data + i / step.rows * step.in[0].stride + i % step.rows * n;
    float* y = step.out[0].data + i / step.rows * step.out[0].stride + i % step.rows * n;
    const float mean = row_sum(x, n) / static_cast<float>(n);
    const auto square = [mean](Vector v) { return (v - set(mean)) * (v - set(mean)); };
    const float variance = fold(x, n, 0.0F, square, sum_of_two) / static_cast<float>(n);
    const Vector factor = set(1.0F / __builtin_sqrtf(variance + step.alpha));
    for (std::size_t j = 0; j < n; j += lanes) {
      Vector v = (load_up_to(x + j, n - j) - set(mean)) * factor;
      if (weight != nullptr) v = v * load_up_to(weight + j, n - j);
      if (step.bias != nullptr) v = v + load_up_to(step.bias + j, n - j);
      store_up_to(y + j, flushed(v), n - j);
    }
  }
}

void gather(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* x = step.in[0].data + row * step.in[0].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.size; ++i) out[i] = x[step.index[i]];
  }
}

void pick(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* x = step.in[0].data + row * step.in[0].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < 2 * step.size; i += 2) out[step.index[i + 1]] = x[step.index[i]];
  }
}

/// Row number in[1] of the table in[0]; what is no row of it, NaN included, becomes the nearest one.
void lookup(const Step& step) noexcept GANGLION_NONBLOCKING {
  const auto last = static_cast<float>(step.rows - 1);
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* table = step.in[0].data + row * step.in[0].stride;
    float which = step.in[1].data[row * step.in[1].stride];
    which = which > 0.0F ? which : 0.0F;
    which = which < last ? which : last;
    __builtin_memcpy(step.out[0].data + row * step.out[0].stride,
                     table + static_cast<std::size_t>(which) * step.columns, step.columns * sizeof(float));
  }
}

/// [rows, inner] times [inner, columns], both computed.
void matmul(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* a = step.in[0].data + row * step.in[0].stride;
    const float* b = step.in[1].data + row * step.in[1].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.rows; ++i) {
      for (std::size_t j = 0; j < step.columns; j += lanes) {
        Vector sum = set(0.0F);
        for (std::size_t k = 0; k < step.inner; ++k) {
          sum = fma(set(a[i * step.inner + k]), load_up_to(b + k * step.columns + j, step.columns - j), sum);
        }
        store_up_to(out + i * step.columns + j, flushed(sum), step.columns - j);
      }
    }
  }
}
