// Functions of one and of two elements, over a Vector. Included inside an anonymous namespace, after the Vector of an
// instruction set; the header target pastes what a policy needs of it behind a Vector of its own
// (python/ganglion/export/header/kernels.py), which therefore reads it: C++17, and each definition with its comment a
// block of its own between empty lines.
//
// Which operations in which order: cpp/NUMERICS.md, which is to be changed with this file. Nothing here depends on the
// number of lanes, on what a compiler joins or on a C library.
//
// Errors against the exact function of the float argument, in units in the last place of the result (ulp), as
// tests/cpp/native/math_test.cpp measures them over dense grids: exp 2, log 2, expm1 3, tanh 4, sigmoid 3, erf 3,
// log1p(exp) 3, sin, cos, atan and pow 1. What is below 2^-100 is 0. NaN goes through.
// Polynomials of exp and log: S. Moshier, Cephes (expf, logf); of erf: N. Juffa, "Hacking up a better erff" (2017).

inline Vector operator-(Vector a) { return set(0.0F) - a; }

inline Vector limit(Vector a, float low, float high) { return lesser(set(high), greater(set(low), a)); }

/// F of NUMERICS.md.
inline Vector flushed(Vector a) { return unless_below(a, 7.88860905e-31F); }

/// A number's size for squares, which would be denormal numbers where it is tiny, and slow.
inline Vector for_square(Vector size) { return greater(set(9.09494702e-13F), size); }

/// exp(x) = 2^n (1 + q) with a whole n and q = r + r^2 p(r), |r| <= log(2) / 2.
struct Reduced {
  Vector n;
  Vector q;
};

inline Reduced reduce_exponent(Vector x) {
  const Vector n = nearest(x * set(1.44269504F));
  // log(2) in two parts; the products with the first one are exact.
  const Vector r = fma(n, set(2.12194440e-4F), fma(n, set(-0.693359375F), x));
  // The square of a tiny r would be a denormal number; 2^-26 more are less than a rounding of the result.
  const Vector square = r * (r + set(1.49011612e-8F));
  // Estrin's scheme: short chains hide the latency of a multiplication.
  const Vector low = fma(set(1.6666665459e-1F), r, set(5.0000001201e-1F));
  const Vector middle = fma(set(8.3334519073e-3F), r, set(4.1665795894e-2F));
  const Vector high = fma(set(1.9875691500e-4F), r, set(1.3981999507e-3F));
  const Vector p = fma(fma(high, square, middle), square, low);
  return {n, fma(p, square, r)};
}

inline Vector exp(Vector x) {
  const Reduced e = reduce_exponent(limit(x, -87.0F, 89.0F));
  // In two factors: 2^128 is no float, but results near it are.
  const Vector half = nearest(e.n * set(0.5F));
  const Vector factor = power_of_two(half);
  return flushed(fma(e.q, factor, factor) * power_of_two(e.n - half));
}

/// exp(x) for x in [-87, 88], NaN passed on.
inline Vector exp_in_range(Vector x) {
  const Reduced e = reduce_exponent(x);
  const Vector factor = power_of_two(e.n);
  return fma(e.q, factor, factor);
}

/// exp(x) - 1 for x in [-87, 88], accurate near 0.
inline Vector expm1_in_range(Vector x) {
  const Reduced e = reduce_exponent(x);
  const Vector factor = power_of_two(e.n);
  return fma(e.q, factor, factor - set(1.0F));
}

inline Vector expm1_of_negative(Vector x) { return expm1_in_range(greater(set(-40.0F), x)); }

/// Behind exp(69.5) the quotient is below 2^-100.
inline Vector sigmoid(Vector x) { return set(1.0F) / (set(1.0F) + exp_in_range(limit(-x, -87.0F, 69.5F))); }

inline Vector tanh(Vector x) {
  // tanh(x) = e / (e + 2) with e = exp(2x) - 1; beyond 9.1 the nearest float is 1.
  const Vector e = expm1_in_range(lesser(set(18.2F), magnitude(x + x)));
  return with_sign(e / (e + set(2.0F)), x);
}

inline Vector log(Vector x) {
  const Vector scaled = mantissa(x);
  const Mask large = set(1.41421356F) < scaled;
  const Vector n = exponent(x) + select(large, set(1.0F), set(0.0F));
  const Vector z = select(large, scaled * set(0.5F), scaled) - set(1.0F);
  const Vector square = z * z;
  Vector p = set(7.0376836292e-2F);
  p = fma(p, z, set(-1.1514610310e-1F));
  p = fma(p, z, set(1.1676998740e-1F));
  p = fma(p, z, set(-1.2420140846e-1F));
  p = fma(p, z, set(1.4249322787e-1F));
  p = fma(p, z, set(-1.6668057665e-1F));
  p = fma(p, z, set(2.0000714765e-1F));
  p = fma(p, z, set(-2.4999993993e-1F));
  p = fma(p, z, set(3.3333331174e-1F));
  Vector result = fma(p * z, square, n * set(-2.12194440e-4F));
  result = z + fma(square, set(-0.5F), result);
  result = fma(n, set(0.693359375F), result);
  // 0 and what is below the smallest normal number, negative numbers and NaN, infinity.
  result = select(x < set(1.17549435e-38F), set(-__builtin_huge_valf()), result);
  result = select(set(0.0F) <= x, result, set(__builtin_nanf("")));
  return select(x < set(__builtin_huge_valf()), result, x + result);
}

/// log(1 + u) for u in [0, 1], accurate near 0.
inline Vector log1p_of_fraction(Vector u) {
  const Vector one = set(1.0F);
  const Vector sum = one + u;
  return log(sum) + (u - (sum - one)) / sum;
}

inline Vector softplus(Vector x) {
  const Vector tail = log1p_of_fraction(exp_in_range(greater(set(-87.0F), -magnitude(x))));
  return greater(set(0.0F), x) + tail;
}

inline Vector erf(Vector x) {
  const Vector t = magnitude(x);
  const Vector s = for_square(t) * for_square(t);
  const Vector c = lesser(set(4.0F), t);  // beyond 3.92 the nearest float is 1
  const Vector d = for_square(c) * for_square(c);
  Vector far = fma(set(-1.72853470e-5F), c, set(3.83197126e-4F));
  far = fma(far, d, fma(set(-3.88396438e-3F), c, set(2.42546219e-2F)));
  far = fma(far, c, set(-1.06777877e-1F));
  far = fma(far, c, set(-6.34846687e-1F));
  far = fma(far, c, set(-1.28717512e-1F));
  far = fma(far, c, -c);
  far = with_sign(set(1.0F) - exp_in_range(far), x);
  Vector near = set(-5.96761703e-4F);
  near = fma(near, s, set(4.99119423e-3F));
  near = fma(near, s, set(-2.67681349e-2F));
  near = fma(near, s, set(1.12819925e-1F));
  near = fma(near, s, set(-3.76125336e-1F));
  near = fma(near, s, set(1.28379166e-1F));
  near = fma(near, x, x);
  return select(set(0.927734375F) < t, far, near);
}

/// A function of numbers of every lane: for what has no vector form here.
template <class Function, class... Vectors>
inline Vector each(Function function, Vectors... arguments) {
  float values[sizeof...(arguments)][lanes];
  std::size_t next = 0;
  (store(values[next++], arguments), ...);
  float results[lanes];
  for (std::size_t i = 0; i < lanes; ++i) {
    if constexpr (sizeof...(arguments) == 1) results[i] = function(values[0][i]);
    if constexpr (sizeof...(arguments) == 2) results[i] = function(values[0][i], values[1][i]);
  }
  return load(results);
}

/// NaN from either side, as torch.minimum and torch.maximum have it.
inline Vector minimum(Vector a, Vector b) { return select(a == a, lesser(a, b), a); }

inline Vector maximum(Vector a, Vector b) { return select(a == a, greater(a, b), a); }

// ---- functions of one element: one for each GANGLION_UNARY, by its identifier, with its parameters ----
// exp, log, tanh, sigmoid, softplus and erf are above.

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
  const Vector size = for_square(magnitude(x));
  const Vector inner = set(0.79788456080286536F) * x * fma(set(0.044715F) * size, size, set(1.0F));
  return set(0.5F) * x * (set(1.0F) + tanh(inner));
}

/// x / (1 + exp(-x)); below -80 it is smaller than 2^-100.
inline Vector silu(Vector x) {
  const Vector a = greater(set(-80.0F), x);
  return a / (set(1.0F) + exp_in_range(greater(set(-87.0F), -a)));
}

inline Vector mish(Vector x) {
  // tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) with e = exp(x); 1 from x = 20 on.
  const Vector a = greater(set(-80.0F), x);
  const Vector e = exp_in_range(lesser(set(20.0F), a));
  const Vector n = e * (e + set(2.0F));
  return a * (n / (n + set(2.0F)));
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
  const Vector z = select(is_far, rest, for_square(a) * for_square(a));
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

// ---- functions of two elements: binary_ and the identifier of each GANGLION_BINARY ----

inline Vector flag(Mask mask) { return select(mask, set(1.0F), set(0.0F)); }

inline Vector truth(Vector a) { return select(a == set(0.0F), set(0.0F), set(1.0F)); }

inline Vector binary_add(Vector a, Vector b) { return a + b; }

inline Vector binary_sub(Vector a, Vector b) { return a - b; }

inline Vector binary_mul(Vector a, Vector b) { return a * b; }

inline Vector binary_div(Vector a, Vector b) { return a / b; }

inline Vector binary_pow(Vector a, Vector b) { return each(pow_of, a, b); }

inline Vector binary_min(Vector a, Vector b) { return minimum(a, b); }

inline Vector binary_max(Vector a, Vector b) { return maximum(a, b); }

inline Vector binary_mod(Vector a, Vector b) { return each(mod_of, a, b); }

inline Vector binary_less(Vector a, Vector b) { return flag(a < b); }

inline Vector binary_less_equal(Vector a, Vector b) { return flag(a <= b); }

inline Vector binary_greater(Vector a, Vector b) { return flag(b < a); }

inline Vector binary_greater_equal(Vector a, Vector b) { return flag(b <= a); }

inline Vector binary_equal(Vector a, Vector b) { return flag(a == b); }

inline Vector binary_logical_and(Vector a, Vector b) { return truth(a) * truth(b); }

inline Vector binary_logical_or(Vector a, Vector b) { return truth(truth(a) + truth(b)); }

inline Vector binary_logical_xor(Vector a, Vector b) { return flag(truth(a) == (set(1.0F) - truth(b))); }
