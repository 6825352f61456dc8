#pragma once

#include <cstddef>
#include <cstring>
#include <span>

#include "engines/engine.hpp"

namespace ganglion::detail {

/// Where one tensor of a file lies inside the rows of a flat vector.
struct TensorPlace {
  std::size_t outer;
  std::size_t inner;
  std::size_t offset;  ///< of the tensor inside a row
  std::size_t stride;  ///< elements of a whole row
};

/// True where file order and flat order are the same bytes, so that the tensor can be bound in place.
[[nodiscard]] inline bool is_in_place(const TensorPlace& place, std::size_t batch) noexcept {
  return batch == 1 || (place.outer == 1 && place.inner == place.stride);
}

/// rows [batch, stride] -> tensor [outer, batch, inner]
inline void gather(const TensorPlace& place, std::size_t batch, const float* rows, float* tensor) noexcept {
  for (std::size_t o = 0; o < place.outer; ++o) {
    for (std::size_t b = 0; b < batch; ++b, tensor += place.inner) {
      std::memcpy(tensor, rows + b * place.stride + place.offset + o * place.inner, place.inner * sizeof(float));
    }
  }
}

/// tensor [outer, batch, inner] -> rows [batch, stride]
inline void scatter(const TensorPlace& place, std::size_t batch, const float* tensor, float* rows) noexcept {
  for (std::size_t o = 0; o < place.outer; ++o) {
    for (std::size_t b = 0; b < batch; ++b, tensor += place.inner) {
      std::memcpy(rows + b * place.stride + place.offset + o * place.inner, tensor, place.inner * sizeof(float));
    }
  }
}

/// Calls `visit(view, place)` for every tensor of a flat vector, in order.
template <typename Visit>
void for_each_place(std::span<const TensorView> views, const Visit& visit) {
  std::size_t stride = 0;
  for (const TensorView& view : views) stride += view.size();
  std::size_t offset = 0;
  for (const TensorView& view : views) {
    visit(view, TensorPlace{view.outer, view.inner, offset, stride});
    offset += view.size();
  }
}

}  // namespace ganglion::detail
