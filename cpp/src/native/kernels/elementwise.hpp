// Elementwise operations. Included inside an anonymous namespace.

template <Unary F>
GANGLION_INLINE Vector apply(Vector x, Vector alpha, Vector beta) {
  const Vector zero = set(0.0F);
  const Vector one = set(1.0F);
  if constexpr (F == Unary::relu) return greater(zero, x);
  if constexpr (F == Unary::leaky_relu) return select(x < zero, alpha * x, x);
  if constexpr (F == Unary::elu) return select(x < zero, alpha * expm1_of_negative(lesser(zero, x)), x);
  if constexpr (F == Unary::celu) {
    // With a negative alpha the exponent of a positive x counts, so the range is open on both sides.
    return greater(zero, x) + lesser(zero, alpha * expm1_in_range(limit(x / alpha, -87.0F, 88.0F)));
  }
  if constexpr (F == Unary::selu) {
    const Vector scale = set(1.05070098735548049F);
    return scale * select(x < zero, set(1.67326324235437728F) * expm1_of_negative(lesser(zero, x)), x);
  }
  if constexpr (F == Unary::gelu) return set(0.5F) * x * (one + erf(x * set(0.70710678118654752F)));
  if constexpr (F == Unary::gelu_tanh) {
    const Vector inner = set(0.79788456080286536F) * fma(set(0.044715F) * x, x * x, x);
    return set(0.5F) * x * (one + tanh(inner));
  }
  if constexpr (F == Unary::silu) return x * sigmoid(x);
  if constexpr (F == Unary::softplus) return softplus(x);
  if constexpr (F == Unary::mish) {
    // tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) with e = exp(x); 1 from x = 20 on.
    const Vector e = exp_in_range(limit(x, -87.0F, 20.0F));
    const Vector n = e * (e + set(2.0F));
    return x * (n / (n + set(2.0F)));
  }
  if constexpr (F == Unary::tanh) return tanh(x);
  if constexpr (F == Unary::sigmoid) return sigmoid(x);
  if constexpr (F == Unary::hard_sigmoid) return limit(fma(alpha, x, beta), 0.0F, 1.0F);
  if constexpr (F == Unary::hard_swish) return x * limit(fma(set(1.0F / 6.0F), x, set(0.5F)), 0.0F, 1.0F);
  if constexpr (F == Unary::softsign) return x / (one + magnitude(x));
  if constexpr (F == Unary::exp) return exp(x);
  if constexpr (F == Unary::log) return log(x);
  if constexpr (F == Unary::sqrt) return root(x);
  if constexpr (F == Unary::rsqrt) return one / root(x);
  if constexpr (F == Unary::reciprocal) return one / x;
  if constexpr (F == Unary::neg) return zero - x;
  if constexpr (F == Unary::abs) return magnitude(x);
  if constexpr (F == Unary::sign) {
    return select(x == zero, zero, select(x == x, with_sign(one, x), x));
  }
  if constexpr (F == Unary::floor) return down(x);
  if constexpr (F == Unary::ceil) return zero - down(zero - x);
  if constexpr (F == Unary::round) return nearest(x);
  if constexpr (F == Unary::erf) return erf(x);
  if constexpr (F == Unary::logical_not) return select(x == zero, one, zero);
  if constexpr (F == Unary::clip) return lesser(beta, greater(alpha, x));
  return x;
}

template <Unary F>
void unary(const float* x, float* y, std::size_t size, float alpha, float beta) noexcept GANGLION_NONBLOCKING {
  const Vector a = set(alpha);
  const Vector b = set(beta);
  std::size_t i = 0;
  for (; i + lanes <= size; i += lanes) store(y + i, apply<F>(load(x + i), a, b));
  if (i < size) store_first(y + i, apply<F>(load_first(x + i, size - i), a, b), size - i);
}

void unary_rows(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    step.unary(step.in[0].data + row * step.in[0].stride, step.out[0].data + row * step.out[0].stride, step.size,
               step.alpha, step.beta);
  }
}

template <Binary F>
GANGLION_INLINE Vector apply(Vector a, Vector b) {
  const Vector zero = set(0.0F);
  const Vector one = set(1.0F);
  const auto flag = [&](Mask m) { return select(m, one, zero); };
  const auto truth = [&](Vector v) { return select(v == zero, zero, one); };
  if constexpr (F == Binary::add) return a + b;
  if constexpr (F == Binary::sub) return a - b;
  if constexpr (F == Binary::mul) return a * b;
  if constexpr (F == Binary::div) return a / b;
  if constexpr (F == Binary::min) return minimum(a, b);
  if constexpr (F == Binary::max) return maximum(a, b);
  if constexpr (F == Binary::less) return flag(a < b);
  if constexpr (F == Binary::less_equal) return flag(a <= b);
  if constexpr (F == Binary::greater) return flag(b < a);
  if constexpr (F == Binary::greater_equal) return flag(b <= a);
  if constexpr (F == Binary::equal) return flag(a == b);
  if constexpr (F == Binary::logical_and) return truth(a) * truth(b);
  if constexpr (F == Binary::logical_or) return greater(truth(a), truth(b));
  if constexpr (F == Binary::logical_xor) return flag(truth(a) == (one - truth(b)));
  return a;
}

/// An operand of size 1 stands for a whole row.
GANGLION_INLINE Vector at(const float* p, bool single, std::size_t i, std::size_t n) {
  return single ? set(*p) : load_up_to(p + i, n);
}

template <Binary F>
void binary(const Step& step) noexcept GANGLION_NONBLOCKING {
  const bool single_a = step.in_size[0] == 1;
  const bool single_b = step.in_size[1] == 1;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* a = step.in[0].data + row * step.in[0].stride;
    const float* b = step.in[1].data + row * step.in[1].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.size; i += lanes) {
      const std::size_t n = step.size - i;
      store_up_to(out + i, apply<F>(at(a, single_a, i, n), at(b, single_b, i, n)), n);
    }
  }
}

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
