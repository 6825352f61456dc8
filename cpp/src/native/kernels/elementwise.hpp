// Elementwise operations. Included inside an anonymous namespace.

// ---- functions of one element: one for each GANGLION_UNARY, by its identifier, with its parameters ----
// exp, log, tanh, sigmoid, softplus and erf are in math.hpp.

inline Vector relu(Vector x) { return greater(set(0.0F), x); }
inline Vector leaky_relu(Vector x, Vector alpha) { return select(x < set(0.0F), alpha * x, x); }
inline Vector elu(Vector x, Vector alpha) {
  const Vector zero = set(0.0F);
  return select(x < zero, alpha * expm1_of_negative(lesser(zero, x)), x);
}
inline Vector celu(Vector x, Vector alpha) {
  // With a negative alpha the exponent of a positive x counts, so the range is open on both sides.
  const Vector zero = set(0.0F);
  return greater(zero, x) + lesser(zero, alpha * expm1_in_range(limit(x / alpha, -87.0F, 88.0F)));
}
inline Vector selu(Vector x) { return set(1.05070098735548049F) * elu(x, set(1.67326324235437728F)); }
inline Vector gelu(Vector x) { return set(0.5F) * x * (set(1.0F) + erf(x * set(0.70710678118654752F))); }
inline Vector gelu_tanh(Vector x) {
  const Vector inner = set(0.79788456080286536F) * fma(set(0.044715F) * x, x * x, x);
  return set(0.5F) * x * (set(1.0F) + tanh(inner));
}
inline Vector silu(Vector x) { return x * sigmoid(x); }
inline Vector mish(Vector x) {
  // tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) with e = exp(x); 1 from x = 20 on.
  const Vector e = exp_in_range(limit(x, -87.0F, 20.0F));
  const Vector n = e * (e + set(2.0F));
  return x * (n / (n + set(2.0F)));
}
inline Vector hard_sigmoid(Vector x, Vector alpha, Vector beta) { return limit(fma(alpha, x, beta), 0.0F, 1.0F); }
inline Vector hard_swish(Vector x) { return x * hard_sigmoid(x, set(1.0F / 6.0F), set(0.5F)); }
inline Vector softsign(Vector x) { return x / (set(1.0F) + magnitude(x)); }
inline Vector sqrt(Vector x) { return root(x); }
inline Vector rsqrt(Vector x) { return set(1.0F) / root(x); }
inline Vector reciprocal(Vector x) { return set(1.0F) / x; }
inline Vector neg(Vector x) { return set(0.0F) - x; }
inline Vector abs(Vector x) { return magnitude(x); }
inline Vector sign(Vector x) {
  const Vector zero = set(0.0F);
  return select(x == zero, zero, select(x == x, with_sign(set(1.0F), x), x));
}
inline Vector floor(Vector x) { return down(x); }
inline Vector ceil(Vector x) { return set(0.0F) - down(set(0.0F) - x); }
inline Vector round(Vector x) { return nearest(x); }
inline Vector sin(Vector x) { return each(sin_of, x); }
inline Vector cos(Vector x) { return each(cos_of, x); }
/// asin(a) for a in [0, 1/2]; beyond asin(sqrt((1 - a) / 2)), NaN beyond 1. S. Moshier, Cephes (asinf).
inline Vector asin_of_near(Vector a, Mask is_far) {
  const Vector rest = set(0.5F) * (set(1.0F) - a);
  const Vector s = select(is_far, root(rest), a);
  const Vector z = select(is_far, rest, a * a);
  Vector p = set(4.2163199048e-2F);
  p = fma(p, z, set(2.4181311049e-2F));
  p = fma(p, z, set(4.5470025998e-2F));
  p = fma(p, z, set(7.4953002686e-2F));
  p = fma(p, z, set(1.6666752422e-1F));
  return fma(p * z, s, s);
}
inline Vector asin(Vector x) {
  const Mask is_far = set(0.5F) < magnitude(x);
  const Vector near = asin_of_near(magnitude(x), is_far);
  return with_sign(select(is_far, fma(set(-2.0F), near, set(1.57079632679489662F)), near), x);
}
inline Vector acos(Vector x) {
  const Mask is_far = set(0.5F) < magnitude(x);
  const Vector near = asin_of_near(magnitude(x), is_far);
  const Vector far = select(x < set(0.0F), fma(set(-2.0F), near, set(3.14159265358979324F)), near + near);
  return select(is_far, far, set(1.57079632679489662F) - with_sign(near, x));
}
inline Vector atan(Vector x) { return each(atan_of, x); }
inline Vector logical_not(Vector x) { return select(x == set(0.0F), set(1.0F), set(0.0F)); }
inline Vector clip(Vector x, Vector low, Vector high) { return lesser(high, greater(low, x)); }

// A line of the table without a function above does not compile: "<identifier> was not declared".
#define GANGLION_GIVEN(value, ...) __VA_OPT__(, value)
#define GANGLION_UNARY(id, name, first, second, ...)                                                          \
  struct Unary_##id {                                                                                         \
    GANGLION_INLINE static Vector of(Vector x, [[maybe_unused]] Vector alpha, [[maybe_unused]] Vector beta) { \
      return id(x GANGLION_GIVEN(alpha, first) GANGLION_GIVEN(beta, second));                                 \
    }                                                                                                         \
  };
#include "native/vocabulary.def"
#undef GANGLION_GIVEN

template <class Function>
void unary(const float* x, float* y, std::size_t size, float alpha, float beta) noexcept GANGLION_NONBLOCKING {
  const Vector a = set(alpha);
  const Vector b = set(beta);
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) store(y + i, Function::of(load(x + i), a, b));
  if (i < size) store_first(y + i, Function::of(load_first(x + i, size - i), a, b), size - i);
}

constexpr UnaryKernel unary_kernels[] = {
    nullptr,  // identity
#define GANGLION_UNARY(id, ...) unary<Unary_##id>,
#include "native/vocabulary.def"
};

void unary_rows(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    step.unary(step.in[0].data + row * step.in[0].stride, step.out[0].data + row * step.out[0].stride, step.size,
               step.alpha, step.beta);
  }
}

// ---- functions of two elements: one for each GANGLION_BINARY, by its identifier ----

namespace of_two {

inline Vector flag(Mask mask) { return select(mask, set(1.0F), set(0.0F)); }
inline Vector truth(Vector a) { return select(a == set(0.0F), set(0.0F), set(1.0F)); }

inline Vector add(Vector a, Vector b) { return a + b; }
inline Vector sub(Vector a, Vector b) { return a - b; }
inline Vector mul(Vector a, Vector b) { return a * b; }
inline Vector div(Vector a, Vector b) { return a / b; }
inline Vector pow(Vector a, Vector b) { return each(pow_of, a, b); }
inline Vector min(Vector a, Vector b) { return minimum(a, b); }
inline Vector max(Vector a, Vector b) { return maximum(a, b); }
inline Vector mod(Vector a, Vector b) { return each(mod_of, a, b); }
inline Vector less(Vector a, Vector b) { return flag(a < b); }
inline Vector less_equal(Vector a, Vector b) { return flag(a <= b); }
inline Vector greater(Vector a, Vector b) { return flag(b < a); }
inline Vector greater_equal(Vector a, Vector b) { return flag(b <= a); }
inline Vector equal(Vector a, Vector b) { return flag(a == b); }
inline Vector logical_and(Vector a, Vector b) { return truth(a) * truth(b); }
inline Vector logical_or(Vector a, Vector b) { return truth(truth(a) + truth(b)); }
inline Vector logical_xor(Vector a, Vector b) { return flag(truth(a) == (set(1.0F) - truth(b))); }

}  // namespace of_two

/// An operand of size 1 stands for a whole row.
GANGLION_INLINE Vector at(const float* p, bool single, std::size_t i, std::size_t n) {
  return single ? set(*p) : load_up_to(p + i, n);
}

template <class Function>
void binary(const Step& step) noexcept GANGLION_NONBLOCKING {
  const bool single_a = step.in_size[0] == 1;
  const bool single_b = step.in_size[1] == 1;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* a = step.in[0].data + row * step.in[0].stride;
    const float* b = step.in[1].data + row * step.in[1].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.size; i += lanes) {
      const std::size_t n = step.size - i;
      store_up_to(out + i, Function::of(at(a, single_a, i, n), at(b, single_b, i, n)), n);
    }
  }
}

#define GANGLION_BINARY(id, ...)                                                      \
  struct Binary_##id {                                                                \
    GANGLION_INLINE static Vector of(Vector a, Vector b) { return of_two::id(a, b); } \
  };
#include "native/vocabulary.def"

constexpr Kernel binary_kernels[] = {
#define GANGLION_BINARY(id, ...) binary<Binary_##id>,
#include "native/vocabulary.def"
};

void where(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* condition = step.in[0].data + row * step.in[0].stride;
    const float* a = step.in[1].data + row * step.in[1].stride;
    const float* b = step.in[2].data + row * step.in[2].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.size; i += lanes) {
      const std::size_t n = step.size - i;
      const Vector c = at(condition, step.in_size[0] == 1, i, n);
      store_up_to(out + i, select(c == set(0.0F), at(b, step.in_size[2] == 1, i, n), at(a, step.in_size[1] == 1, i, n)),
                  n);
    }
  }
}

/// out = (1 - z) n + z h, in[0] is z, in[1] is n, in[2] is h.
void blend(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* z = step.in[0].data + row * step.in[0].stride;
    const float* candidate = step.in[1].data + row * step.in[1].stride;
    const float* h = step.in[2].data + row * step.in[2].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.size; i += lanes) {
      const std::size_t n = step.size - i;
      const Vector c = load_up_to(candidate + i, n);
      store_up_to(out + i, fma(load_up_to(z + i, n), load_up_to(h + i, n) - c, c), n);
    }
  }
}

void copy(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    __builtin_memcpy(step.out[0].data + row * step.out[0].stride, step.in[0].data + row * step.in[0].stride,
                     step.size * sizeof(float));
  }
}

bool all_finite(const float* values, std::size_t size) noexcept GANGLION_NONBLOCKING {
  // A comparison and no arithmetic: this runs outside of FlushDenormals, and denormal numbers must not cost here
  // either.
  const Vector infinity = set(__builtin_inff());
  for (std::size_t i = 0; i < size; i += lanes) {
    if (!all(magnitude(load_up_to(values + i, size - i)) < infinity)) return false;
  }
  return true;
}
