// Elementwise operations. Included inside an anonymous namespace.

// ---- functions of one element ----

// A line of the table without a function in math.hpp does not compile: "<identifier> was not declared".
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
  for (std::size_t i = 0; i < size; i += lanes) {
    store_up_to(y + i, flushed(Function::of(load_up_to(x + i, size - i), a, b)), size - i);
  }
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

// ---- functions of two elements ----

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
      store_up_to(out + i, flushed(Function::of(at(a, single_a, i, n), at(b, single_b, i, n))), n);
    }
  }
}

#define GANGLION_BINARY(id, ...)                                                       \
  struct Binary_##id {                                                                 \
    GANGLION_INLINE static Vector of(Vector a, Vector b) { return binary_##id(a, b); } \
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
      store_up_to(out + i, flushed(fma(load_up_to(z + i, n), load_up_to(h + i, n) - c, c)), n);
    }
  }
}

void copy(const Step& step) noexcept GANGLION_NONBLOCKING {
  for (std::size_t row = 0; row < step.batch; ++row) {
    __builtin_memcpy(step.out[0].data + row * step.out[0].stride, step.in[0].data + row * step.in[0].stride,
                     step.size * sizeof(float));
  }
}

// A difference of a number with itself is 0, and NaN where the number is infinite or NaN; the bits of a NaN stay under
// any others. Nothing of it is slow with denormal numbers.

bool all_finite(const float* values, std::size_t size) noexcept GANGLION_NONBLOCKING {
  Vector bad = set(0.0F);
  for (std::size_t i = 0; i < size; i += lanes) {
    const Vector v = load_up_to(values + i, size - i);
    bad = either_bits(bad, v - v);
  }
  return all(bad == set(0.0F));
}

template <bool Flushed>
bool take(const float* from, float* to, std::size_t size) noexcept GANGLION_NONBLOCKING {
  Vector bad = set(0.0F);
  for (std::size_t i = 0; i < size; i += lanes) {
    const Vector v = load_up_to(from + i, size - i);
    bad = either_bits(bad, v - v);
    store_up_to(to + i, Flushed ? flushed(v) : v, size - i);
  }
  return all(bad == set(0.0F));
}
