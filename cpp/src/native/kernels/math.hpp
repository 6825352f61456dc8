// Elementary functions of a Vector. Included inside an anonymous namespace, after the Vector of an instruction set.
//
// Errors against the exact function of the float argument, in units in the last place of the result (ulp), as
// tests/cpp/native/math_test.cpp measures them over dense grids: exp 2, log 2, expm1 3, tanh 4, sigmoid 3, erf 3,
// log1p(exp) 3. What is below the smallest normal number is 0, of intermediate results too. NaN goes through.
// Polynomials of exp and log: S. Moshier, Cephes (expf, logf); of erf: N. Juffa, "Hacking up a better erff" (2017).

inline Vector operator-(Vector a) { return set(0.0F) - a; }
inline Vector limit(Vector a, float low, float high) { return lesser(set(high), greater(set(low), a)); }

/// exp(x) = 2^n (1 + q) with a whole n and q = r + r^2 p(r), |r| <= log(2) / 2.
struct Reduced {
  Vector n;
  Vector q;
};

inline Reduced reduce_exponent(Vector x) {
  const Vector n = nearest(x * set(1.44269504F));
  // log(2) in two parts; the products with the first one are exact.
  const Vector r = fma(n, set(2.12194440e-4F), fma(n, set(-0.693359375F), x));
  const Vector square = r * r;
  // Estrin's scheme: short chains hide the latency of a multiplication.
  const Vector low = fma(set(1.6666665459e-1F), r, set(5.0000001201e-1F));
  const Vector middle = fma(set(8.3334519073e-3F), r, set(4.1665795894e-2F));
  const Vector high = fma(set(1.9875691500e-4F), r, set(1.3981999507e-3F));
  const Vector p = fma(fma(high, square, middle), square, low);
  return {n, fma(p, square, r)};
}

inline Vector exp(Vector x) {
  const Reduced e = reduce_exponent(limit(x, -104.0F, 89.0F));
  // In two factors: 2^128 and 2^-140 are no floats, but results near them are.
  const Vector half = nearest(e.n * set(0.5F));
  const Vector factor = power_of_two(half);
  return fma(e.q, factor, factor) * power_of_two(e.n - half);
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

inline Vector sigmoid(Vector x) { return set(1.0F) / (set(1.0F) + exp_in_range(limit(-x, -87.0F, 88.0F))); }

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
  result = select(x < set(1.17549435e-38F), set(-__builtin_inff()), result);
  result = select(set(0.0F) <= x, result, set(__builtin_nanf("")));
  return select(x < set(__builtin_inff()), result, x + result);
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
  const Vector s = x * x;
  const Vector c = lesser(set(4.0F), t);  // beyond 3.92 the nearest float is 1
  const Vector d = c * c;
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

// Sums and extremes of the lanes; once per row, so plain loops do.
inline float sum_of(Vector a) {
  float values[lanes];
  store(values, a);
  for (std::size_t width = lanes / 2; width != 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) values[i] += values[i + width];
  }
  return values[0];
}

inline float maximum_of(Vector a) {
  float values[lanes];
  store(values, a);
  float best = values[0];
  for (std::size_t i = 1; i < lanes; ++i) best = values[i] > best || values[i] != values[i] ? values[i] : best;
  return best;
}
