// Operations that look at a whole row of [rows, columns], and the rare rest. Included inside an anonymous namespace.

/// Folds a row with `combine(sum, transformed element)`; lanes beyond the end count as `neutral`.
template <class Transform, class Combine>
GANGLION_INLINE Vector fold(const float* x, std::size_t size, float neutral, Transform transform, Combine combine) {
  Vector sum = set(neutral);
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) sum = combine(sum, transform(load(x + i)));
  if (i < size) {
    float tail[lanes];
    store(tail, set(neutral));
    store_first(tail, transform(load_first(x + i, size - i)), size - i);
    sum = combine(sum, load(tail));
  }
  return sum;
}

inline float row_sum(const float* x, std::size_t size) {
  return sum_of(fold(x, size, 0.0F, [](Vector v) { return v; }, [](Vector a, Vector b) { return a + b; }));
}

inline float row_maximum(const float* x, std::size_t size) {
  return maximum_of(
      fold(x, size, -__builtin_inff(), [](Vector v) { return v; }, [](Vector a, Vector b) { return maximum(a, b); }));
}

/// Sum of exp(x - offset).
inline float row_exp_sum(const float* x, std::size_t size, float offset) {
  return sum_of(fold(
      x, size, 0.0F, [offset](Vector v) { return exp(v - set(offset)); }, [](Vector a, Vector b) { return a + b; }));
}

inline float log_of(float x) {
  float value[lanes];
  store(value, log(set(x)));
  return value[0];
}

// ---- functions of a row: one for each GANGLION_REDUCE, by its name ----

namespace of_row {

/// The sum of a function of the elements.
template <class Transform>
inline float sum_over(const float* x, std::size_t n, Transform transform) {
  return sum_of(fold(x, n, 0.0F, transform, [](Vector a, Vector b) { return a + b; }));
}

inline float sum(const float* x, std::size_t n) { return row_sum(x, n); }
inline float mean(const float* x, std::size_t n) { return row_sum(x, n) / static_cast<float>(n); }
inline float max(const float* x, std::size_t n) { return row_maximum(x, n); }
inline float min(const float* x, std::size_t n) {
  return -maximum_of(
      fold(x, n, -__builtin_inff(), [](Vector v) { return -v; }, [](Vector a, Vector b) { return maximum(a, b); }));
}
inline float prod(const float* x, std::size_t n) {
  float values[lanes];
  store(values, fold(x, n, 1.0F, [](Vector v) { return v; }, [](Vector a, Vector b) { return a * b; }));
  float product = 1.0F;
  for (const float value : values) product *= value;
  return product;
}
inline float l1(const float* x, std::size_t n) {
  return sum_over(x, n, [](Vector v) { return magnitude(v); });
}
inline float sum_square(const float* x, std::size_t n) {
  return sum_over(x, n, [](Vector v) { return v * v; });
}
inline float l2(const float* x, std::size_t n) { return __builtin_sqrtf(sum_square(x, n)); }
inline float logsumexp(const float* x, std::size_t n) {
  const float top = row_maximum(x, n);
  // All elements minus infinity, or one of them infinite: the largest one is the answer.
  if (!(__builtin_fabsf(top) < __builtin_inff())) return top;
  return top + log_of(row_exp_sum(x, n, top));
}

}  // namespace of_row

#define GANGLION_REDUCE(id)                                                                     \
  struct Reduce_##id {                                                                          \
    GANGLION_INLINE static float of(const float* x, std::size_t n) { return of_row::id(x, n); } \
  };
#include "native/vocabulary.def"

template <class Function>
void reduce(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* x = step.in[0].data + row * step.in[0].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.rows; ++i) out[i] = Function::of(x + i * step.columns, step.columns);
  }
}

constexpr Kernel reduce_kernels[] = {
#define GANGLION_REDUCE(id) reduce<Reduce_##id>,
#include "native/vocabulary.def"
};

template <bool Logarithm>
inline void softmax_of_rows(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t n = step.columns;
  for (std::size_t i = 0; i < step.batch * step.rows; ++i) {
    const float* x = step.in[0].data + i / step.rows * step.in[0].stride + i % step.rows * n;
    float* y = step.out[0].data + i / step.rows * step.out[0].stride + i % step.rows * n;
    const float top = row_maximum(x, n);
    const float sum = row_exp_sum(x, n, top);
    const Vector logarithm = set(Logarithm ? log_of(sum) : 0.0F);
    const Vector factor = set(1.0F / sum);
    for (std::size_t j = 0; j < n; j += lanes) {
      // First the top: it may be so large that adding the logarithm to it would lose most of that.
      const Vector v = load_up_to(x + j, n - j) - set(top);
      store_up_to(y + j, Logarithm ? v - logarithm : exp(v) * factor, n - j);
    }
  }
}

void softmax(const Step& step) noexcept GANGLION_NONBLOCKING { softmax_of_rows<false>(step); }
void log_softmax(const Step& step) noexcept GANGLION_NONBLOCKING { softmax_of_rows<true>(step); }

void argmax(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t n = step.columns;
  for (std::size_t i = 0; i < step.batch * step.rows; ++i) {
    const float* x = step.in[0].data + i / step.rows * step.in[0].stride + i % step.rows * n;
    std::size_t best = 0;
    for (std::size_t j = 1; j < n; ++j) best = x[j] > x[best] ? j : best;
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
    const float variance =
        sum_of(fold(x, n, 0.0F, square, [](Vector a, Vector b) { return a + b; })) / static_cast<float>(n);
    const Vector factor = set(1.0F / __builtin_sqrtf(variance + step.alpha));
    for (std::size_t j = 0; j < n; j += lanes) {
      Vector v = (load_up_to(x + j, n - j) - set(mean)) * factor;
      if (weight != nullptr) v = v * load_up_to(weight + j, n - j);
      if (step.bias != nullptr) v = v + load_up_to(step.bias + j, n - j);
      store_up_to(y + j, v, n - j);
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
        store_up_to(out + i * step.columns + j, sum, step.columns - j);
      }
    }
  }
}

/// The row of one channel with its padding on both sides.
inline void pad_channel(const Conv1d& conv, const float* x, float* padded) {
  const std::size_t size = conv.pad_left + conv.length + conv.pad_right;
  __builtin_memcpy(padded + conv.pad_left, x, conv.length * sizeof(float));
  for (std::size_t i = 0; i < conv.pad_left; ++i) {
    padded[i] = conv.circular ? x[conv.length - conv.pad_left + i] : 0.0F;
  }
  for (std::size_t i = conv.pad_left + conv.length; i < size; ++i) {
    padded[i] = conv.circular ? x[i - conv.pad_left - conv.length] : 0.0F;
  }
}

/// y[t] += weight * x[t * stride].
inline void add_scaled(float* y, const float* x, float weight, std::size_t size, std::size_t stride) {
  if (stride != 1) {
    for (std::size_t t = 0; t < size; ++t) y[t] += weight * x[t * stride];
    return;
  }
  for (std::size_t t = 0; t < size; t += lanes) {
    const std::size_t n = size - t;
    store_up_to(y + t, fma(set(weight), load_up_to(x + t, n), load_up_to(y + t, n)), n);
  }
}

/// out[channel, t] = bias + sum over the group's channels and the kernel of weight * x[channel, t * stride + ...].
void conv1d(const Step& step) noexcept GANGLION_NONBLOCKING {
  const Conv1d& conv = *static_cast<const Conv1d*>(step.extra);
  const std::size_t in_group = conv.in_channels / conv.groups;
  const std::size_t out_group = conv.out_channels / conv.groups;
  const std::size_t padded = conv.pad_left + conv.length + conv.pad_right;
  auto* const input = static_cast<float*>(step.scratch);
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* x = step.in[0].data + row * step.in[0].stride;
    for (std::size_t c = 0; c < conv.in_channels; ++c) pad_channel(conv, x + c * conv.length, input + c * padded);
    const float* weight = static_cast<const float*>(step.weights);
    for (std::size_t o = 0; o < conv.out_channels; ++o) {
      float* y = step.out[0].data + row * step.out[0].stride + o * conv.out_length;
      for (std::size_t t = 0; t < conv.out_length; ++t) y[t] = step.bias != nullptr ? step.bias[o] : 0.0F;
      for (std::size_t c = 0; c < in_group; ++c) {
        const float* channel = input + (o / out_group * in_group + c) * padded;
        for (std::size_t k = 0; k < conv.kernel; ++k, ++weight) {
          add_scaled(y, channel + k * conv.dilation, *weight, conv.out_length, conv.stride);
        }
      }
    }
  }
}
