// Operations of the header target. Not a header of its own: every section goes into a written policy.hpp if that policy
// needs it, behind the arithmetic of vectors.hpp and the engine's own functions (cpp/src/native/kernels/math.hpp and
// numbers.hpp). A section starts with a line of dashes and its name, and brings along those whose names it mentions.
// What each function computes is defined in cpp/FORMAT.md, and in which operations in cpp/NUMERICS.md: with the very
// bits of the engine. A NaN that goes in comes out, so that step() sees it.
//
// The C header gets the same sections, in the C99 that c99.py makes of them, which says what they may be written with;
// `affine`, whose sums have to be kept in registers, it takes from one_lane.hpp.

// --- copy
inline void copy(const float* from, float* to, std::size_t size) noexcept {
  for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

// --- take
/// What comes from outside: numbers below 2^-100 are 0.
inline void take(const float* from, float* to, std::size_t size) noexcept {
  for (std::size_t i = 0; i < size; i += lanes) {
    store_up_to(to + i, flushed(load_up_to(from + i, size - i)), size - i);
  }
}

// --- all_finite
inline bool all_finite(const float* values, std::size_t size) noexcept {
  bool finite = true;
  for (std::size_t i = 0; i < size; ++i) finite = finite && size_bits(values[i]) < 0x7F800000U;
  return finite;
}

// --- inputs
constexpr std::size_t panel_rows = 32;

/// Some numbers side by side.
struct Inputs {
  const float* x;
  std::size_t size;
};

inline Inputs inputs_of(const float* x, std::size_t size) noexcept { return {x, size}; }

/// The numbers that make a row's value of its sum of products; null where there are none.
struct RowNumbers {
  const float* scale;
  const float* bias;
};

inline RowNumbers row_numbers(const float* scale, const float* bias) noexcept { return {scale, bias}; }

// --- affine
template <std::size_t Value>
struct Constant {
  static constexpr std::size_t value = Value;
};

/// Calls `turn` with the constants 0, 1, ... Count - 1: an array that is only indexed by constants is kept in
/// registers.
template <std::size_t Count, typename Turn>
GANGLION_INLINE void unrolled(Turn turn) noexcept {
  if constexpr (Count > 0) {
    unrolled<Count - 1>(turn);
    turn(Constant<Count - 1>{});
  }
}

/// Of the numbers of a vector's rows all or the first n.
template <bool Whole>
GANGLION_INLINE Vector weights_at(const float* p, std::size_t n) noexcept {
  if constexpr (Whole) return load(p);
  return load_first(p, n);
}

template <bool Whole>
GANGLION_INLINE Vector weights_at(const std::int8_t* p, std::size_t n) noexcept {
  return load_int8(p, Whole ? lanes : n);
}

template <bool Whole>
GANGLION_INLINE Vector weights_at(const std::uint16_t* p, std::size_t n) noexcept {
  return load_half(p, Whole ? lanes : n);
}

/// The sums of products of rows of a panel, `Vectors` vectors of them, the last of which may be cut; `Chains` sums for
/// each row, as cpp/NUMERICS.md has it.
template <std::size_t Vectors, std::size_t Chains, bool IsValue, bool Whole, typename Weight>
inline void rows_of_panel(const Weight* weight, std::size_t stride, std::size_t rows, RowNumbers numbers,
                          const Inputs (&inputs)[2], float* y) noexcept {
  constexpr std::size_t last = Vectors - 1;
  Vector sums[Chains][Vectors];
  unrolled<Chains * Vectors>([&](auto i) GANGLION_LAMBDA { sums[i.value / Vectors][i.value % Vectors] = set(0.0F); });
  for (const Inputs& in : inputs) {
    const std::size_t length = (in.size + Chains - 1) / Chains;
    const std::size_t shortest = in.size > (Chains - 1) * length ? in.size - (Chains - 1) * length : 0;
    const auto add = [&](auto chain, std::size_t k) GANGLION_LAMBDA {
      constexpr std::size_t c = decltype(chain)::value;
      const Vector input = set(in.x[c * length + k]);
      const Weight* const w = weight + (c * length + k) * stride;
      unrolled<last>([&](auto v) GANGLION_LAMBDA {
        sums[c][v.value] = fma(weights_at<true>(w + v.value * lanes, lanes), input, sums[c][v.value]);
      });
      sums[c][last] = fma(weights_at<Whole>(w + last * lanes, rows - last * lanes), input, sums[c][last]);
    };
    for (std::size_t k = 0; k < shortest; ++k) {
      unrolled<Chains>([&](auto c) GANGLION_LAMBDA { add(c, k); });
    }
    for (std::size_t k = shortest; k < length; ++k) {
      unrolled<Chains>([&](auto c) GANGLION_LAMBDA {
        if (c.value * length + k < in.size) add(c, k);
      });
    }
    weight += in.size * stride;
  }
  unrolled<Vectors>([&](auto v) GANGLION_LAMBDA {
    constexpr std::size_t at = decltype(v)::value * lanes;
    constexpr bool is_whole = Whole || decltype(v)::value != last;
    Vector sum = sums[0][v.value] + sums[1][v.value];
    if constexpr (Chains == 4) sum = sum + (sums[2][v.value] + sums[3][v.value]);
    const std::size_t n = rows - at;
    const Vector bias = numbers.bias == nullptr ? set(0.0F) : weights_at<is_whole>(numbers.bias + at, n);
    sum = numbers.scale == nullptr ? sum + bias : fma(sum, weights_at<is_whole>(numbers.scale + at, n), bias);
    if constexpr (IsValue) sum = flushed(sum);
    if constexpr (is_whole) {
      store(y + at, sum);
    } else {
      store_up_to(y + at, sum, n);
    }
  });
}

/// `count` vectors of rows, at most `Most` of them.
template <std::size_t Most, std::size_t Chains, bool IsValue, typename Weight>
inline void some_rows(std::size_t count, const Weight* weight, std::size_t stride, std::size_t rows, RowNumbers numbers,
                      const Inputs (&inputs)[2], float* y) noexcept {
  if constexpr (Most > 1) {
    if (count < Most) return some_rows<Most - 1, Chains, IsValue>(count, weight, stride, rows, numbers, inputs, y);
  }
  if (rows == Most * lanes) {
    rows_of_panel<Most, Chains, IsValue, true>(weight, stride, rows, numbers, inputs, y);
  } else {
    rows_of_panel<Most, Chains, IsValue, false>(weight, stride, rows, numbers, inputs, y);
  }
}

/// y = W [x more] + bias. The rows of W are stored in panels of `panel_rows`, the last panel narrower; each panel lies
/// column by column. Integer weights come with a scale for each row; scale and bias may be null. IsValue: no number of
/// y is below 2^-100.
template <std::size_t Chains, bool IsValue, typename Weight>
inline void affine(std::size_t rows, const Weight* weight, RowNumbers numbers, Inputs x, Inputs more,
                   float* y) noexcept {
  constexpr std::size_t at_once = Chains == 2 ? 4 : 2;
  const Inputs inputs[2] = {x, more};
  for (std::size_t first = 0; first < rows; first += panel_rows) {
    const std::size_t stride = rows - first < panel_rows ? rows - first : panel_rows;
    for (std::size_t r = 0; r < stride; r += at_once * lanes) {
      const std::size_t left = stride - r < at_once * lanes ? stride - r : at_once * lanes;
      const std::size_t at = first + r;
      const RowNumbers own{numbers.scale == nullptr ? nullptr : numbers.scale + at,
                           numbers.bias == nullptr ? nullptr : numbers.bias + at};
      some_rows<at_once, Chains, IsValue>((left + lanes - 1) / lanes, weight + r, stride, left, own, inputs, y + at);
    }
    weight += stride * (x.size + more.size);
  }
}

// --- integer_affine
/// Whole numbers that stand for some inputs, and what one of them is worth.
struct WholeInputs {
  const float* room;
  std::size_t size;
  float worth;
};

inline WholeInputs no_whole_inputs() noexcept { return {nullptr, 0, 0.0F}; }

inline std::int32_t whole_at(WholeInputs in, std::size_t i) noexcept {
  std::int16_t whole = 0;
  std::memcpy(&whole, reinterpret_cast<const unsigned char*>(in.room) + i * sizeof whole, sizeof whole);
  return whole;
}

/// The scale of integer products: a step of the largest size among inputs, and how many there are to 1.
struct Steps {
  float worth;
  float in_one;
};

inline Steps steps_of(Inputs x, Inputs more, float most) noexcept {
  const Inputs inputs[2] = {x, more};
  float largest = 0.0F;
  for (std::size_t s = 0; s < 2; ++s) {
    for (std::size_t i = 0; i < inputs[s].size; ++i) {
      const float size = float_of(size_bits(inputs[s].x[i]));
      largest = size > largest || size != size ? size : largest;
      if (size != size) return {size, size};
    }
  }
  return {largest / most, largest > 1e-30F ? most / largest : 0.0F};
}

/// `room` is for half as many floats: the integers lie in them.
inline WholeInputs whole_inputs(Inputs in, Steps steps, float* room) noexcept {
  for (std::size_t i = 0; i < in.size; ++i) {
    float value[lanes];
    store(value, nearest(set(in.x[i]) * set(steps.in_one)));
    const auto whole = static_cast<std::int16_t>(value[0] == value[0] ? value[0] : 0.0F);
    std::memcpy(reinterpret_cast<unsigned char*>(room) + i * sizeof whole, &whole, sizeof whole);
  }
  return {room, in.size, steps.worth};
}

/// As affine, with exact sums of whole numbers.
template <bool IsValue>
inline void integer_affine(std::size_t rows, const std::int8_t* weight, RowNumbers numbers, WholeInputs x,
                           WholeInputs more, float* y) noexcept {
  constexpr std::size_t exact = 512;  // so many products fit into 32 bits
  for (std::size_t first = 0; first < rows; first += panel_rows) {
    const std::size_t stride = rows - first < panel_rows ? rows - first : panel_rows;
    std::int64_t sums[panel_rows] = {0};
    const WholeInputs inputs[2] = {x, more};
    for (std::size_t s = 0; s < 2; ++s) {
      const std::size_t size = inputs[s].size;
      for (std::size_t begin = 0; begin < size; begin += exact) {
        const std::size_t end = size - begin < exact ? size : begin + exact;
        std::int32_t part[panel_rows] = {0};
        for (std::size_t k = begin; k < end; ++k) {
          const std::int32_t input = whole_at(inputs[s], k);
          for (std::size_t r = 0; r < stride; ++r) part[r] += weight[k * stride + r] * input;
        }
        for (std::size_t r = 0; r < stride; ++r) sums[r] += part[r];
      }
      weight += size * stride;
    }
    for (std::size_t r = 0; r < stride; ++r) {
      const Vector scale = set(numbers.scale[first + r]) * set(x.worth);
      const Vector bias = set(numbers.bias == nullptr ? 0.0F : numbers.bias[first + r]);
      float value[lanes];
      const Vector total = set(static_cast<float>(sums[r])) * scale + bias;
      store(value, IsValue ? flushed(total) : total);
      y[first + r] = value[0];
    }
  }
}

// --- map
template <std::size_t Size, typename OfOne>
inline void map(const float* x, float* y, OfOne function) noexcept {
  for (std::size_t i = 0; i < Size; i += lanes) {
    store_up_to(y + i, flushed(function(load_up_to(x + i, Size - i))), Size - i);
  }
}

// --- combine
/// The operand of a function of two or three elements: a step of 0 repeats its only element.
template <std::size_t Step>
GANGLION_INLINE Vector operand(const float* p, std::size_t i, std::size_t n) noexcept {
  return Step == 0 ? set(*p) : load_up_to(p + i, n);
}

template <std::size_t Size, std::size_t StepA, std::size_t StepB, typename OfTwo>
inline void combine(const float* a, const float* b, float* y, OfTwo function) noexcept {
  for (std::size_t i = 0; i < Size; i += lanes) {
    const Vector value = function(operand<StepA>(a, i, Size - i), operand<StepB>(b, i, Size - i));
    store_up_to(y + i, flushed(value), Size - i);
  }
}

// --- where
template <std::size_t Size, std::size_t StepCondition, std::size_t StepA, std::size_t StepB>
inline void where(const float* condition, const float* a, const float* b, float* y) noexcept {
  for (std::size_t i = 0; i < Size; ++i) y[i] = condition[i * StepCondition] != 0.0F ? a[i * StepA] : b[i * StepB];
}

// --- lstm
/// From the values of the gates i, f, g, o, [4 * Hidden].
template <std::size_t Hidden>
inline void lstm(const float* gates, const float* c, float* next_h, float* next_c) noexcept {
  for (std::size_t i = 0; i < Hidden; i += lanes) {
    const std::size_t n = Hidden - i;
    const float* const gate = gates + i;
    const Vector in = sigmoid(load_up_to(gate, n)) * tanh(load_up_to(gate + 2 * Hidden, n));
    const Vector kept = sigmoid(load_up_to(gate + Hidden, n));
    const Vector next = flushed(fma(kept, load_up_to(c + i, n), in));
    store_up_to(next_c + i, next, n);
    store_up_to(next_h + i, flushed(sigmoid(load_up_to(gate + 3 * Hidden, n)) * tanh(next)), n);
  }
}

// --- gru
/// From the values of r and z, and of the candidate's part of x and that of h, [Hidden] each.
template <std::size_t Hidden>
inline void gru(const float* values, const float* h, float* next_h) noexcept {
  for (std::size_t i = 0; i < Hidden; i += lanes) {
    const std::size_t n = Hidden - i;
    const float* const value = values + i;
    const Vector of_h = load_up_to(value + 3 * Hidden, n);
    const Vector of_x = load_up_to(value + 2 * Hidden, n);
    const Vector candidate = tanh(fma(sigmoid(load_up_to(value, n)), of_h, of_x));
    const Vector difference = load_up_to(h + i, n) - candidate;
    const Vector update = sigmoid(load_up_to(value + Hidden, n));
    store_up_to(next_h + i, flushed(fma(update, difference, candidate)), n);
  }
}

// --- blend
/// y = (1 - z) n + z h.
template <std::size_t Size>
inline void blend(const float* z, const float* candidate, const float* h, float* y) noexcept {
  for (std::size_t i = 0; i < Size; i += lanes) {
    const std::size_t left = Size - i;
    const Vector n = load_up_to(candidate + i, left);
    store_up_to(y + i, flushed(fma(load_up_to(z + i, left), load_up_to(h + i, left) - n, n)), left);
  }
}

// --- fold
/// A function of each element of a row less an offset (0 changes nothing), folded into 16 sums, and these into one.
template <typename OfOne, typename OfTwo>
inline float fold(const float* x, std::size_t size, float offset, float neutral, OfOne transform,
                  OfTwo combine_two) noexcept {
  constexpr std::size_t folded = 16;
  float sums[folded + lanes];
  for (std::size_t i = 0; i < folded + lanes; i += lanes) store(sums + i, set(neutral));
  for (std::size_t i = 0; i < size; i += folded) {
    for (std::size_t j = 0; j < folded && i + j < size; j += lanes) {
      const std::size_t n = size - i - j;
      float values[lanes];
      store(values, set(neutral));
      store_up_to(values, transform(load_up_to(x + i + j, n) - set(offset)), n);
      store(sums + j, combine_two(load(sums + j), load(values)));
    }
  }
  for (std::size_t half = folded / 2; half != 0; half /= 2) {
    for (std::size_t i = 0; i < half; i += lanes) {
      store(sums + i, combine_two(load(sums + i), load(sums + i + half)));
    }
  }
  return sums[0];
}

// --- added_up
/// The sum of a function of the elements less an offset.
template <typename OfOne>
inline float added_up(const float* x, std::size_t size, float offset, OfOne transform) noexcept {
  return fold(x, size, offset, 0.0F, transform, [](Vector a, Vector b) { return a + b; });
}

// --- number_of
/// A function of one number.
template <typename OfOne>
inline float number_of(float x, OfOne function) noexcept {
  float values[lanes];
  store(values, function(set(x)));
  return values[0];
}

// --- reduce
template <std::size_t Rows, std::size_t Columns, typename OfRow>
inline void reduce(const float* x, float* y, OfRow function) noexcept {
  for (std::size_t r = 0; r < Rows; ++r) {
    y[r] = number_of(function(x + r * Columns), [](Vector v) { return flushed(v); });
  }
}

// --- row_sum
template <std::size_t Size>
inline float row_sum(const float* x) noexcept {
  return added_up(x, Size, 0.0F, [](Vector v) { return v; });
}

// --- row_mean
template <std::size_t Size>
inline float row_mean(const float* x) noexcept {
  return row_sum<Size>(x) / static_cast<float>(Size);
}

// --- row_max
template <std::size_t Size>
inline float row_max(const float* x) noexcept {
  return fold(x, Size, 0.0F, -INFINITY, [](Vector v) { return v; }, [](Vector a, Vector b) { return maximum(a, b); });
}

// --- row_min
template <std::size_t Size>
inline float row_min(const float* x) noexcept {
  return fold(x, Size, 0.0F, INFINITY, [](Vector v) { return v; }, [](Vector a, Vector b) { return minimum(a, b); });
}

// --- row_prod
template <std::size_t Size>
inline float row_prod(const float* x) noexcept {
  return fold(x, Size, 0.0F, 1.0F, [](Vector v) { return v; }, [](Vector a, Vector b) { return a * b; });
}

// --- row_l1
template <std::size_t Size>
inline float row_l1(const float* x) noexcept {
  return added_up(x, Size, 0.0F, [](Vector v) { return magnitude(v); });
}

// --- row_sum_square
template <std::size_t Size>
inline float row_sum_square(const float* x) noexcept {
  return added_up(x, Size, 0.0F, [](Vector v) { return v * v; });
}

// --- row_l2
template <std::size_t Size>
inline float row_l2(const float* x) noexcept {
  return number_of(row_sum_square<Size>(x), [](Vector v) { return root(v); });
}

// --- exp_sum
template <std::size_t Size>
inline float exp_sum(const float* x, float offset) noexcept {
  return added_up(x, Size, offset, [](Vector v) { return exp(v); });
}

// --- row_logsumexp
template <std::size_t Size>
inline float row_logsumexp(const float* x) noexcept {
  const float largest = row_max<Size>(x);
  if (size_bits(largest) == 0x7F800000U) return largest;
  return largest + number_of(exp_sum<Size>(x, largest), [](Vector v) { return log(v); });
}

// --- softmax
template <std::size_t Rows, std::size_t Columns>
inline void softmax(const float* x, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r) {
    const float largest = row_max<Columns>(x);
    const float factor = 1.0F / exp_sum<Columns>(x, largest);
    for (std::size_t i = 0; i < Columns; i += lanes) {
      const std::size_t n = Columns - i;
      store_up_to(y + i, flushed(exp(load_up_to(x + i, n) - set(largest)) * set(factor)), n);
    }
    x += Columns;
    y += Columns;
  }
}

// --- log_softmax
template <std::size_t Rows, std::size_t Columns>
inline void log_softmax(const float* x, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r) {
    const float largest = row_max<Columns>(x);
    const float shift = number_of(exp_sum<Columns>(x, largest), [](Vector v) { return log(v); });
    for (std::size_t i = 0; i < Columns; i += lanes) {
      const std::size_t n = Columns - i;
      store_up_to(y + i, flushed((load_up_to(x + i, n) - set(largest)) - set(shift)), n);
    }
    x += Columns;
    y += Columns;
  }
}

// --- row_argmax
/// The first of equal ones; a NaN counts as the largest.
template <std::size_t Size>
inline float row_argmax(const float* x) noexcept {
  std::size_t best = 0;
  for (std::size_t i = 1; i < Size; ++i) {
    if (x[i] > x[best] || (x[i] != x[i] && x[best] == x[best])) best = i;
  }
  return static_cast<float>(best);
}

// --- layer_norm
/// Weight and bias may be null.
template <std::size_t Rows, std::size_t Columns>
inline void layer_norm(const float* weight, const float* bias, float epsilon, const float* x, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r) {
    const float middle = row_mean<Columns>(x);
    const float squares = added_up(x, Columns, middle, [](Vector v) { return v * v; });
    const Vector factor = set(1.0F) / root(set(squares / static_cast<float>(Columns) + epsilon));
    for (std::size_t i = 0; i < Columns; i += lanes) {
      const std::size_t n = Columns - i;
      Vector value = (load_up_to(x + i, n) - set(middle)) * factor;
      if (weight != nullptr) value = value * load_up_to(weight + i, n);
      if (bias != nullptr) value = value + load_up_to(bias + i, n);
      store_up_to(y + i, flushed(value), n);
    }
    x += Columns;
    y += Columns;
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

// --- every
/// n elements, every Stride-th.
template <std::size_t Stride>
GANGLION_INLINE Vector every(const float* p, std::size_t n) noexcept {
  if constexpr (Stride == 1 || lanes == 1) return load_up_to(p, n);
  float values[lanes] = {0.0F};
  for (std::size_t i = 0; i < lanes && i < n; ++i) values[i] = p[i * Stride];
  return load(values);
}

// --- conv1d
/// x: [in channels, Length], padded already; weight: [OutChannels, GroupChannels, Kernel]; bias may be null.
template <std::size_t Groups, std::size_t GroupChannels, std::size_t Length, std::size_t OutChannels,
          std::size_t OutLength, std::size_t Kernel, std::size_t Stride, std::size_t Dilation>
inline void conv1d(const float* weight, const float* bias, const float* x, float* y) noexcept {
  for (std::size_t o = 0; o < OutChannels; ++o, y += OutLength, weight += GroupChannels * Kernel) {
    const float* const channels = x + o / (OutChannels / Groups) * GroupChannels * Length;
    for (std::size_t t = 0; t < OutLength; t += lanes) {
      const std::size_t n = OutLength - t;
      Vector sum = set(bias == nullptr ? 0.0F : bias[o]);
      for (std::size_t i = 0; i < GroupChannels * Kernel; ++i) {
        const float* const from = channels + i / Kernel * Length + i % Kernel * Dilation + t * Stride;
        sum = fma(set(weight[i]), every<Stride>(from, n), sum);
      }
      store_up_to(y + t, flushed(sum), n);
    }
  }
}

// --- pad_image
/// Channels [Channels, Height, Width] with zeros around them.
template <std::size_t Channels, std::size_t Height, std::size_t Width, std::size_t Top, std::size_t Bottom,
          std::size_t Left, std::size_t Right>
inline void pad_image(const float* x, float* y) noexcept {
  for (std::size_t c = 0; c < Channels; ++c) {
    for (std::size_t i = 0; i < Top + Height + Bottom; ++i) {
      const bool is_inside = i >= Top && i < Top + Height;
      for (std::size_t j = 0; j < Left; ++j) *y++ = 0.0F;
      for (std::size_t j = 0; j < Width; ++j) *y++ = is_inside ? *x++ : 0.0F;
      for (std::size_t j = 0; j < Right; ++j) *y++ = 0.0F;
    }
  }
}

// --- conv2d
/// x: [in channels, Height, Width], padded already; weight: [OutChannels, GroupChannels, KernelHeight, KernelWidth];
/// bias may be null.
template <std::size_t Groups, std::size_t GroupChannels, std::size_t Height, std::size_t Width, std::size_t OutChannels,
          std::size_t OutHeight, std::size_t OutWidth, std::size_t KernelHeight, std::size_t KernelWidth,
          std::size_t StrideHeight, std::size_t StrideWidth, std::size_t DilationHeight, std::size_t DilationWidth>
inline void conv2d(const float* weight, const float* bias, const float* x, float* y) noexcept {
  for (std::size_t o = 0; o < OutChannels; ++o, weight += GroupChannels * KernelHeight * KernelWidth) {
    const float* const channels = x + o / (OutChannels / Groups) * GroupChannels * Height * Width;
    for (std::size_t i = 0; i < OutHeight; ++i, y += OutWidth) {
      for (std::size_t j = 0; j < OutWidth; j += lanes) {
        const std::size_t n = OutWidth - j;
        const float* w = weight;
        Vector sum = set(bias == nullptr ? 0.0F : bias[o]);
        for (std::size_t line = 0; line < GroupChannels * KernelHeight; ++line) {
          const std::size_t row = i * StrideHeight + line % KernelHeight * DilationHeight;
          const float* const from = channels + (line / KernelHeight * Height + row) * Width + j * StrideWidth;
          for (std::size_t k = 0; k < KernelWidth; ++k) {
            sum = fma(set(*w++), every<StrideWidth>(from + k * DilationWidth, n), sum);
          }
        }
        store_up_to(y + j, flushed(sum), n);
      }
    }
  }
}

// --- matmul
template <std::size_t Rows, std::size_t Inner, std::size_t Columns>
inline void matmul(const float* a, const float* b, float* y) noexcept {
  for (std::size_t r = 0; r < Rows; ++r, y += Columns) {
    for (std::size_t c = 0; c < Columns; c += lanes) {
      const std::size_t n = Columns - c;
      Vector sum = set(0.0F);
      for (std::size_t k = 0; k < Inner; ++k) {
        sum = fma(set(a[r * Inner + k]), load_up_to(b + k * Columns + c, n), sum);
      }
      store_up_to(y + c, flushed(sum), n);
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

// --- squashed
/// tanh in double, as the C++ runtime maps actions (cpp/src/realtime/elementary.cpp).
inline double squashed(double x) noexcept {
  const double size = x < 0.0 ? -x : x;
  if (size < 0.01) {
    const double square = product(x, x);
    const double inner = 2.0 / 15.0 - product(square, 17.0 / 315.0);
    return product(x, 1.0 - product(square, 1.0 / 3.0 - product(square, inner)));
  }
  constexpr double ln2_high = 6.93147180369123816490e-01;
  constexpr double ln2_low = 1.90821492927058770002e-10;
  const double inside = product(-2.0, size) > -700.0 ? product(-2.0, size) : -700.0;
  constexpr double large = 6755399441055744.0;  // adding and taking away 3 * 2^51 rounds to a whole number
  const double n = rounded(product(inside, 1.4426950408889634074) + large) - large;
  const double r = (inside - product(n, ln2_high)) - product(n, ln2_low);
  double series = 1.0;
  for (int k = 13; k > 0; --k) series = product(series, r) / k + 1.0;
  const double e = product(series, two_to(static_cast<int>(n)));
  const double result = (1.0 - e) / (1.0 + e);
  return x < 0.0 ? -result : result;
}
