#include <cmath>

#include "native/kernels/table.hpp"

namespace ganglion::native {

namespace {

template <float (*Function)(float)>
void each(const float* x, float* y, std::size_t size) noexcept GANGLION_NONBLOCKING {
  for (std::size_t i = 0; i < size; ++i) y[i] = Function(x[i]);
}

template <float (*Function)(float, float)>
void pairs(const Step& step) noexcept GANGLION_NONBLOCKING {
  const std::size_t next_a = step.in_size[0] == 1 ? 0 : 1;
  const std::size_t next_b = step.in_size[1] == 1 ? 0 : 1;
  for (std::size_t row = 0; row < step.batch; ++row) {
    const float* a = step.in[0].data + row * step.in[0].stride;
    const float* b = step.in[1].data + row * step.in[1].stride;
    float* out = step.out[0].data + row * step.out[0].stride;
    for (std::size_t i = 0; i < step.size; ++i) out[i] = Function(a[i * next_a], b[i * next_b]);
  }
}

}  // namespace

void sin_kernel(const float* x, float* y, std::size_t size, float, float) noexcept GANGLION_NONBLOCKING {
  each<sinf>(x, y, size);
}

void cos_kernel(const float* x, float* y, std::size_t size, float, float) noexcept GANGLION_NONBLOCKING {
  each<cosf>(x, y, size);
}

void atan_kernel(const float* x, float* y, std::size_t size, float, float) noexcept GANGLION_NONBLOCKING {
  each<atanf>(x, y, size);
}

void pow_kernel(const Step& step) noexcept GANGLION_NONBLOCKING { pairs<powf>(step); }
void mod_kernel(const Step& step) noexcept GANGLION_NONBLOCKING { pairs<fmodf>(step); }

}  // namespace ganglion::native
