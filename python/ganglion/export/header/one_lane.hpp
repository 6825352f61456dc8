// One float at a time: the Vector of microcontrollers. Not a header of its own: it goes into a written policy.hpp, for
// processors of which vectors.hpp knows no registers, and into every written policy.h, in the C99 that c99.py makes of
// it. There a Vector is a float.

// --- vectors
constexpr std::size_t lanes = 1;

struct Mask {
  bool bits;
};

struct Vector {
  float v;
};

GANGLION_INLINE Vector set(float x) noexcept { return {x}; }
GANGLION_INLINE Vector load(const float* p) noexcept { return {*p}; }
GANGLION_INLINE void store(float* p, Vector a) noexcept { *p = a.v; }
GANGLION_INLINE Vector load_up_to(const float* p, std::size_t n) noexcept {
  static_cast<void>(n);
  return {*p};
}
GANGLION_INLINE void store_up_to(float* p, Vector a, std::size_t n) noexcept {
  static_cast<void>(n);
  *p = a.v;
}
GANGLION_INLINE Vector operator+(Vector a, Vector b) noexcept { return {a.v + b.v}; }
GANGLION_INLINE Vector operator-(Vector a, Vector b) noexcept { return {a.v - b.v}; }
GANGLION_INLINE Vector operator*(Vector a, Vector b) noexcept { return {rounded_float(a.v * b.v)}; }
GANGLION_INLINE Vector operator/(Vector a, Vector b) noexcept { return {a.v / b.v}; }
GANGLION_INLINE Vector fma(Vector a, Vector b, Vector c) noexcept { return {fused(a.v, b.v, c.v)}; }
/// Not the C library's, which sets errno.
GANGLION_INLINE Vector root(Vector a) noexcept {
#if defined(__SSE2__)
  asm("sqrtss %0, %0" : "+x"(a.v));
  return {a.v};
#elif defined(__aarch64__)
  asm("fsqrt %s0, %s0" : "+w"(a.v));
  return {a.v};
#elif defined(__arm__) && defined(__ARM_FP)
  asm("vsqrt.f32 %0, %0" : "+t"(a.v));
  return {a.v};
#elif defined(__riscv_flen)
  asm("fsqrt.s %0, %0" : "+f"(a.v));
  return {a.v};
#else
  return {std::sqrt(a.v)};
#endif
}
GANGLION_INLINE Vector lesser(Vector a, Vector b) noexcept { return a.v < b.v ? a : b; }
GANGLION_INLINE Vector greater(Vector a, Vector b) noexcept { return a.v > b.v ? a : b; }
GANGLION_INLINE Mask operator<(Vector a, Vector b) noexcept { return {a.v < b.v}; }
GANGLION_INLINE Mask operator<=(Vector a, Vector b) noexcept { return {a.v <= b.v}; }
GANGLION_INLINE Mask operator==(Vector a, Vector b) noexcept { return {a.v == b.v}; }
GANGLION_INLINE std::uint32_t lane_bits(Vector a) noexcept {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &a.v, sizeof bits);
  return bits;
}
GANGLION_INLINE Vector from_bits(std::uint32_t bits) noexcept {
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof bits);
  return {value};
}
GANGLION_INLINE Vector select(Mask m, Vector yes, Vector no) noexcept { return m.bits ? yes : no; }
GANGLION_INLINE Vector magnitude(Vector a) noexcept { return from_bits(lane_bits(a) & 0x7FFFFFFFU); }
GANGLION_INLINE Vector unless_below(Vector a, float bound) noexcept { return magnitude(a).v < bound ? set(0.0F) : a; }
GANGLION_INLINE Vector with_sign(Vector size, Vector sign_from) noexcept {
  return from_bits((lane_bits(size) & 0x7FFFFFFFU) | (lane_bits(sign_from) & 0x80000000U));
}
/// Adding and taking away 2^23 rounds to a whole number, half to even; larger numbers are whole already.
GANGLION_INLINE Vector nearest(Vector a) noexcept {
  const Vector large = with_sign(set(8388608.0F), a);
  if (!(magnitude(a).v < 8388608.0F)) return a;
  return with_sign(set(rounded_float(a.v + large.v) - large.v), a);
}
GANGLION_INLINE Vector down(Vector a) noexcept {
  const Vector n = nearest(a);
  return a.v < n.v ? set(n.v - 1.0F) : n;
}
/// The low bits of 2^23 + 127 + n are those of n + 127.
GANGLION_INLINE Vector power_of_two(Vector n) noexcept { return from_bits(lane_bits(set(n.v + 8388735.0F)) << 23U); }
GANGLION_INLINE Vector exponent(Vector a) noexcept {
  return set(from_bits((lane_bits(a) >> 23U) | 0x4B000000U).v - 8388735.0F);
}
GANGLION_INLINE Vector mantissa(Vector a) noexcept { return from_bits((lane_bits(a) & 0x007FFFFFU) | 0x3F800000U); }

// --- affine
inline float weight_at(const float* p) noexcept { return *p; }

inline float weight_at(const std::int8_t* p) noexcept { return static_cast<float>(*p); }

/// A finite float16: its bits in the place of a float's are a 2^112th of it.
inline float weight_at(const std::uint16_t* p) noexcept {
  const std::uint32_t bits = *p;
  const float size = float_of((bits & 0x7FFFU) << 13U) * 5.19229686e33F;
  return float_of(bits_of(size) | ((bits & 0x8000U) << 16U));
}

/// Four rows of a column times its input.
template <typename Weight>
GANGLION_INLINE void add_four(const Weight* w, float input, float* sums) noexcept {
  sums[0] = fused(weight_at(w), input, sums[0]);
  sums[1] = fused(weight_at(w + 1), input, sums[1]);
  sums[2] = fused(weight_at(w + 2), input, sums[2]);
  sums[3] = fused(weight_at(w + 3), input, sums[3]);
}

/// The value of a row of its chains, which lie so far apart.
template <std::size_t Chains, bool IsValue>
GANGLION_INLINE void finish_row(const float* sums, std::size_t apart, RowNumbers given, std::size_t row,
                                float* y) noexcept {
  float sum = sums[0] + sums[apart];
  if (Chains == 4) sum = sum + (sums[2 * apart] + sums[3 * apart]);
  const float bias = given.bias == nullptr ? 0.0F : given.bias[row];
  sum = given.scale == nullptr ? sum + bias : fused(sum, given.scale[row], bias);
  store(y + row, IsValue ? flushed(set(sum)) : set(sum));
}

/// Four neighbouring rows, so that an input is loaded once for all of them; the sums are indexed by constants alone,
/// which keeps them in registers.
template <std::size_t Chains, bool IsValue, typename Weight>
GANGLION_INLINE void four_rows(const Weight* weight, std::size_t stride, RowNumbers given, const Inputs* inputs,
                               std::size_t row, float* y) noexcept {
  float sums[16] = {0.0F};
  for (std::size_t s = 0; s < 2; ++s) {
    const float* const x = inputs[s].x;
    const std::size_t size = inputs[s].size;
    const std::size_t length = (size + Chains - 1) / Chains;
    for (std::size_t k = 0; k < length; ++k) {
      const Weight* const w = weight + k * stride;
      add_four(w, x[k], sums);
      if (length + k < size) add_four(w + length * stride, x[length + k], sums + 4);
      if (Chains == 4 && 2 * length + k < size) add_four(w + 2 * length * stride, x[2 * length + k], sums + 8);
      if (Chains == 4 && 3 * length + k < size) add_four(w + 3 * length * stride, x[3 * length + k], sums + 12);
    }
    weight += size * stride;
  }
  finish_row<Chains, IsValue>(sums, 4, given, row, y);
  finish_row<Chains, IsValue>(sums + 1, 4, given, row + 1, y);
  finish_row<Chains, IsValue>(sums + 2, 4, given, row + 2, y);
  finish_row<Chains, IsValue>(sums + 3, 4, given, row + 3, y);
}

template <std::size_t Chains, bool IsValue, typename Weight>
inline void one_row(const Weight* weight, std::size_t stride, RowNumbers given, const Inputs* inputs, std::size_t row,
                    float* y) noexcept {
  float sums[4] = {0.0F};
  for (std::size_t s = 0; s < 2; ++s) {
    const std::size_t size = inputs[s].size;
    const std::size_t length = (size + Chains - 1) / Chains;
    for (std::size_t c = 0; c < Chains; ++c) {
      const std::size_t end = (c + 1) * length < size ? (c + 1) * length : size;
      for (std::size_t k = c * length; k < end; ++k) {
        sums[c] = fused(weight_at(weight + k * stride), inputs[s].x[k], sums[c]);
      }
    }
    weight += size * stride;
  }
  finish_row<Chains, IsValue>(sums, 1, given, row, y);
}

/// y = W [x more] + bias. The rows of W are stored in panels of `panel_rows`, the last panel narrower; each panel lies
/// column by column. Integer weights come with a scale for each row; scale and bias may be null. Chains: 2 or 4 sums
/// for each row, as cpp/NUMERICS.md has it. IsValue: no number of y is below 2^-100.
template <std::size_t Chains, bool IsValue, typename Weight>
inline void affine(std::size_t rows, const Weight* weight, RowNumbers given, Inputs x, Inputs more, float* y) noexcept {
  const Inputs inputs[2] = {x, more};
  for (std::size_t first = 0; first < rows; first += panel_rows) {
    const std::size_t stride = rows - first < panel_rows ? rows - first : panel_rows;
    std::size_t r = 0;
    for (; r + 4 <= stride; r += 4) {
      if (Chains == 4) {
        four_rows<4, IsValue>(weight + r, stride, given, inputs, first + r, y);
      } else {
        four_rows<2, IsValue>(weight + r, stride, given, inputs, first + r, y);
      }
    }
    for (; r < stride; ++r) one_row<Chains, IsValue>(weight + r, stride, given, inputs, first + r, y);
    weight += stride * (x.size + more.size);
  }
}
