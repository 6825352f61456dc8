#pragma once

// Arrays of numpy.save (NEP 1), of unknown honesty.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::wiring {

struct Npy {
  char kind = 'f';    ///< of numpy.dtype: f, i, u, b, U, ...
  std::size_t width;  ///< bytes of an element
  bool is_big_endian = false;
  bool is_fortran = false;  ///< the first index runs fastest
  std::vector<std::size_t> shape{};
  std::string text{};     ///< as numpy.save wrote it, header and all
  std::size_t begin = 0;  ///< of the elements in `text`

  [[nodiscard]] bool has_numbers() const;
  /// In the order in which the last index runs fastest; only where it has numbers.
  [[nodiscard]] std::vector<double> numbers() const;
};

/// Throws `Error` (bad_artifact); `what` is what it calls the array.
[[nodiscard]] Npy read_npy(std::string text, const std::string& what);

/// `descr` is that of numpy.dtype, `elements` their bytes.
[[nodiscard]] Npy make_npy(std::string_view descr, std::vector<std::size_t> shape, std::span<const std::byte> elements);

}  // namespace ganglion::wiring
