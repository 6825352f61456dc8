#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <span>

namespace ganglion::bindings {

/// float32 in C order.
using Floats = pybind11::array_t<float, pybind11::array::c_style>;

inline std::span<const float> view(const Floats& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

inline std::span<float> written(Floats& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

}  // namespace ganglion::bindings
