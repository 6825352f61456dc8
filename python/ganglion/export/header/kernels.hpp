// Operations of the header target. Not a header of its own: every section goes into a written policy.hpp if that policy
// needs it. A section starts with a line of dashes, its name and the names of the sections that it needs. Functions of
// one element are sections too, made from cpp/src/native/vocabulary.def (kernels.py).
// What each function computes is defined in cpp/FORMAT.md; a NaN that goes in comes out, so that step() sees it.
#include <cmath>
#include <cstddef>
#include <cstdint>

// --- copy
inline void copy(const float* from, float* to, std::size_t size) noexcept {
  for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

// --- all_finite
inline std::uint32_t bits_of(const float& value) noexcept {
  std::uint32_t bits = 0;
  const unsigned char* from = reinterpret_cast<const unsigned char*>(&value);
  unsigned char* to = reinterpret_cast<unsigned char*>(&bits);
  for (std::size_t byte = 0; byte < sizeof bits; ++byte) to[byte] = from[byte];
  return bits;
}

/// Looks at the bits, because std::isfinite() is always true under -ffast-math.
inline bool all_finite(const float* values, std::size_t size) noexcept {
  bool finite = true;
  for (std::size_t i = 0; i < size; ++i) finite = finite && (bits_of(values[i]) & 0x7F800000U) != 0x7F800000U;
  return finite;
}

// --- product
constexpr std::size_t panel_rows = 64;

/// sums[Rows] += W x for weights that lie column by column: the inner loop runs over rows, so compilers vectorise it
/// without changing the order of any sum. Four columns at a time load and store the sums four times less often.
template <std::size_t Rows, std::size_t Columns, typename Weight>
inline void accumulate(const Weight* weight, const float* x, float* sums) noexcept {
  constexpr std::size_t fours = Columns / 4;
  for (std::size_t j = 0; j < fours; ++j) {
    const float x0 = x[4 * j], x1 = x[4 * j + 1], x2 = x[4 * j + 2], x3 = x[4 * j + 3];
    const Weight* w = weight + 4 * j * Rows;
    for (std::size_t r = 0; r < Rows; ++r) {
      sums[r] += static_cast<float>(w[r]) * x0 + static_cast<float>(w[Rows + r]) * x1 +
                 static_cast<float>(w[2 * Rows + r]) * x2 + static_cast<float>(w[3 * Rows + r]) * x3;
    }
  }
  if constexpr (Columns % 4 != 0) {
    for (std::size_t j = 4 * fours; j < Columns; ++j) {
      for (std::size_t r = 0; r < Rows; ++r) sums[r] += static_cast<float>(weight[j * Rows + r]) * x[j];
    }
  }
}

template <std::size_t Rows, std::size_t Columns, std::size_t MoreColumns, typename Weight>
inline void panel(const Weight* weight, const float* scale, const float* bias, const float* x, const float* more,
                  float* y) noexcept {
  float sums[Rows] = {};
  accumulate<Rows, Columns>(weight, x, sums);
  if constexpr (MoreColumns != 0) accumulate<Rows, MoreColumns>(weight + Rows * Columns, more, sums);
  for (std::size_t r = 0; r < Rows; ++r) {
    const float total = scale == nullptr ? sums[r] : sums[r] * scale[r];
    y[r] = bias == nullptr ? total : total + bias[r];
  }
}

/// y = W [x more] + bias. The rows of W are stored in panels of `panel_rows`, the last panel narrower; each panel lies
/// column by column. Integer weights come with a scale for each row; scale and bias may be null.
template <std::size_t Rows, std::size_t Columns, std::size_t MoreColumns, typename Weight>
inline void product(const Weight* weight, const float* scale, const float* bias, const float* x, const float* more,
                    float* y) noexcept {
  constexpr std::size_t whole = Rows / panel_rows * panel_rows;
  if constexpr (whole != 0) {
    for (std::size_t r = 0; r < whole; r += panel_rows) {
      panel<panel_rows, Columns, MoreColumns>(weight + r * (Columns + MoreColumns),
                                              scale == nullptr ? scale : scale + r, bias == nullptr ? bias : bias + r,
                                              x, more, y + r);
    }
  }
  if constexpr (Rows != whole) {
    panel<Rows - whole, Columns, MoreColumns>(weight + whole * (Columns + MoreColumns),
                                              scale == nullptr ? scale : scale + whole,
                                              bias == nullptr ? bias : bias + whole, x, more, y + whole);
  }
}

// --- map
template <std::size_t Size, typename Function>
inline void map(const float* x, float* y, Function function) noexcept {
  for (std::size_t i = 0; i < Size; ++i) y[i] = function(x[i]);
}

// --- combine
/// A step of 0 repeats the only element of an input.
template <std::size_t Size, std::size_t StepA, std::size_t StepB, typename Function>
inline void combine(const float* a, const float* b, float* y, Function function) noexcept {
  for (std::size_t i = 0; i < Size; ++i) y[i] = function(a[i * StepA], b[i * StepB]);
}

// --- where
template <std::size_t Size, std::size_t StepCondition, std::size_t StepA, std::size_t StepB>
inline void where(const float* condition, const float* a, const float* b, float* y) noexcept {
  for (std::size_t i = 0; i < Size; ++i) y[i] = condition[i * StepCondition] != 0.0F ? a[i * StepA] : b[i * StepB];
}

// --- maximum
inline float maximum(float a, float b) noexcept { return a > b || a != a ? a : b; }

// --- minimum
inline float minimum(float a, float b) noexcept { return a < b || a != a ? a : b; }

// --- bounds
inline float at_least(float x, float low) noexcept { return x < low ? low : x; }
inline float at_most(float x, float high) noexcept { return x > high ? high : x; }

// --- lstm: product sigmoid
/// Gates i, f, g, o; `gates` is room for 4 * Hidden numbers.
template <std::size_t Features, std::size_t Hidden, typename Weight>
inline void lstm(const Weight* weight, const float* scale, const float* bias, const float* x, const float* h,
                 const float* c, float* next_h, float* next_c, float* gates) noexcept {
  product<4 * Hidden, Features, Hidden>(weight, scale, bias, x, h, gates);
  for (std::size_t i = 0; i < Hidden; ++i) {
    const float kept = sigmoid(gates[Hidden + i]) * c[i];
    next_c[i] = kept + sigmoid(gates[i]) * std::tanh(gates[2 * Hidden + i]);
    next_h[i] = sigmoid(gates[3 * Hidden + i]) * std::tanh(next_c[i]);
  }
}

// --- gru: product sigmoid
/// One matrix of a recurrent cell.
template <typename Weight>
struct Matrix {
  const Weight* weight;
  const float* scale;
  const float* bias;
};

/// Gates r, z from x and h together, the candidate n from x and from h apart; `room` is for 4 * Hidden numbers.
template <std::size_t Features, std::size_t Hidden, bool LinearBeforeReset, typename Weight>
inline void gru(Matrix<Weight> gates, Matrix<Weight> from_x, Matrix<Weight> from_h, const float* x, const float* h,
                float* next_h, float* room) noexcept {
  float* const r = room;
  float* const z = room + Hidden;
  float* const n = room + 2 * Hidden;
  float* const recurrent = room + 3 * Hidden;
  product<2 * Hidden, Features, Hidden>(gates.weight, gates.scale, gates.bias, x, h, r);
  for (std::size_t i = 0; i < 2 * Hidden; ++i) r[i] = sigmoid(r[i]);
  product<Hidden, Features, 0>(from_x.weight, from_x.scale, from_x.bias, x, nullptr, n);
  if constexpr (LinearBeforeReset) {
    product<Hidden, Hidden, 0>(from_h.weight, from_h.scale, from_h.bias, h, nullptr, recurrent);
    for (std::size_t i = 0; i < Hidden; ++i) recurrent[i] *= r[i];
  } else {
    for (std::size_t i = 0; i < Hidden; ++i) r[i] *= h[i];
    product<Hidden, Hidden, 0>(from_h.weight, from_h.scale, from_h.bias, r, nullptr, recurrent);
  }
  for (std::size_t i = 0; i < Hidden; ++i) {
    next_h[i] = (1.0F - z[i]) * std::tanh(n[i] + recurrent[i]) + z[i] * h[i];
  }
}

// --- reduce
template <std::size_t Rows, std::size_t Columns, typename Function>
inline void reduce(const float* x, float* y, Function function) noexcept {
  for (std::size_t r = 0; r < Rows; ++r) y[r] = function(x + r * Columns);
}

// --- sum
template <std::size_t Size>
inline float sum(const float* x) noexcept {
  float result = x[0];
  for (std::size_t i = 1; i < Size; ++i) result += x[i];
  return result;
}

// --- mean: sum
template <std::size_t Size>
inline float mean(const float* x) noexcept {
  return sum<Size>(x) / static_cast<float>(Size);
}

// --- max: maximum
template <std::size_t Size>
inline float max(const float* x) noexcept {
  float result = x[0];
  for (std::size_t i = 1; i < Size; ++i) result = maximum(result, x[i]);
  return result;
}

// --- min: minimum
template <std::size_t Size>
inline float min(const float* x) noexcept {
  float result = x[0];
  for (std::size_t i = 1; i < Size; ++i) result = minimum(result, x[i]);
  return result;
}

// --- prod
template <std::size_t Size>
inline float prod(const float* x) noexcept {
  float result = x[0];
  for (std::size_t i = 1; i < Size; ++i) result *= x[i];
  return result;
}

// --- l1
template <std::size_t Size>
inline float l1(const float* x) noexcept {
  float result = 0.0F;
  for (std::size_t i = 0; i < Size; ++i) result += std::fabs(x[i]);
  return result;
}

// --- sum_square
template <std::size_t Size>
inline float sum_square(const float* x) noexcept {
  float result = 0.0F;
  for (std::size_t i = 0; i < Size; ++i) result += x[i] * x[i];
  return result;
}

// --- l2: sum_square
template <std::size_t Size>
inline float l2(const float* x) noexcept {
  return std::sqrt(sum_square<Size>(x));
}

// --- logsumexp: max all_finite
template <std::size_t Size>
inline float logsumexp(const float* x) noexcept {
  const float largest = max<Size>(x);
  const float shift = all_finite(&largest, 1) ? largest : 0.0F;
  float total = 0.0F;
  for (std::size_t i = 0; i < Size; ++i) total += std::exp(x[i] - shift);
  return std::log(total) + shift;
}

// --- softmax: max
template <std::size_t Rows, std::size_t Columns>
inline void softmax(const float* x, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r, x += Columns, y += Columns) {
    const float largest = max<Columns>(x);
    float total = 0.0F;
    for (std::size_t i = 0; i < Columns; ++i) {
      y[i] = std::exp(x[i] - largest);
      total += y[i];
    }
    for (std::size_t i = 0; i < Columns; ++i) y[i] /= total;
  }
}

// --- log_softmax: max
template <std::size_t Rows, std::size_t Columns>
inline void log_softmax(const float* x, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r, x += Columns, y += Columns) {
    const float largest = max<Columns>(x);
    float total = 0.0F;
    for (std::size_t i = 0; i < Columns; ++i) {
      y[i] = x[i] - largest;
      total += std::exp(y[i]);
    }
    const float shift = std::log(total);
    for (std::size_t i = 0; i < Columns; ++i) y[i] -= shift;
  }
}

// --- argmax
/// The first of equal ones; a NaN counts as the largest.
template <std::size_t Size>
inline float argmax(const float* x) noexcept {
  std::size_t best = 0;
  for (std::size_t i = 1; i < Size; ++i) {
    if (x[i] > x[best] || (x[i] != x[i] && x[best] == x[best])) best = i;
  }
  return static_cast<float>(best);
}

// --- layer_norm: mean sum_square
/// Weight and bias may be null.
template <std::size_t Rows, std::size_t Columns>
inline void layer_norm(const float* weight, const float* bias, float epsilon, const float* x, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r, x += Columns, y += Columns) {
    const float middle = mean<Columns>(x);
    for (std::size_t i = 0; i < Columns; ++i) y[i] = x[i] - middle;
    const float deviation = std::sqrt(sum_square<Columns>(y) / static_cast<float>(Columns) + epsilon);
    for (std::size_t i = 0; i < Columns; ++i) {
      const float normal = weight == nullptr ? y[i] / deviation : y[i] / deviation * weight[i];
      y[i] = bias == nullptr ? normal : normal + bias[i];
    }
  }
}

// --- pad
/// Channels [Channels, Length] with Left and Right more elements at their ends: zeros, or the channel going round.
template <std::size_t Channels, std::size_t Length, std::size_t Left, std::size_t Right, bool Circular>
inline void pad(const float* x, float* y) noexcept {
  for (std::size_t c = 0; c < Channels; ++c, x += Length) {
    for (std::size_t i = 0; i < Left; ++i) *y++ = Circular ? x[Length - Left + i] : 0.0F;
    for (std::size_t i = 0; i < Length; ++i) *y++ = x[i];
    for (std::size_t i = 0; i < Right; ++i) *y++ = Circular ? x[i] : 0.0F;
  }
}

// --- conv1d
/// x: [in channels, Length], padded already; weight: [OutChannels, GroupChannels, Kernel]; bias may be null.
template <std::size_t Groups, std::size_t GroupChannels, std::size_t Length, std::size_t OutChannels,
          std::size_t OutLength, std::size_t Kernel, std::size_t Stride, std::size_t Dilation>
inline void conv1d(const float* weight, const float* bias, const float* x, float* y) noexcept {
  for (std::size_t o = 0; o < OutChannels; ++o, y += OutLength) {
    const float* const channels = x + o / (OutChannels / Groups) * GroupChannels * Length;
    for (std::size_t t = 0; t < OutLength; ++t) y[t] = bias == nullptr ? 0.0F : bias[o];
    for (std::size_t c = 0; c < GroupChannels; ++c) {
      for (std::size_t k = 0; k < Kernel; ++k, ++weight) {
        const float* const from = channels + c * Length + k * Dilation;
        for (std::size_t t = 0; t < OutLength; ++t) y[t] += *weight * from[t * Stride];
      }
    }
  }
}

// --- matmul
template <std::size_t Rows, std::size_t Inner, std::size_t Columns>
inline void matmul(const float* a, const float* b, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r, y += Columns) {
    for (std::size_t c = 0; c < Columns; ++c) y[c] = 0.0F;
    for (std::size_t k = 0; k < Inner; ++k) {
      for (std::size_t c = 0; c < Columns; ++c) y[c] += a[r * Inner + k] * b[k * Columns + c];
    }
  }
}

// --- gather
template <std::size_t Size, typename Index>
inline void gather(const Index* index, const float* x, float* y) noexcept {
  for (std::size_t i = 0; i < Size; ++i) y[i] = x[index[i]];
}

// --- lookup
/// An index outside of the table is taken as the row at that end, a NaN as row 0.
template <std::size_t Rows, std::size_t Columns>
inline void lookup(const float* table, const float* index, float* y) noexcept {
  std::size_t row = 0;
  if (*index > 0.0F) row = *index >= static_cast<float>(Rows - 1) ? Rows - 1 : static_cast<std::size_t>(*index);
  for (std::size_t i = 0; i < Columns; ++i) y[i] = table[row * Columns + i];
}
