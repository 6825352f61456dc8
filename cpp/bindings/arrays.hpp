#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ganglion::bindings {

/// float32 in C order.
using Floats = pybind11::array_t<float, pybind11::array::c_style>;

/// One byte for each row, in C order.
using Flags = pybind11::array_t<std::uint8_t, pybind11::array::c_style>;

inline Floats copy(std::span<const float> values) {
  return Floats(static_cast<pybind11::ssize_t>(values.size()), values.data());
}

inline std::span<const float> view(const Floats& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

inline std::span<float> written(Floats& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

}  // namespace ganglion::bindings
