#pragma once

// The words of a program that kernels know too: plain enumerations and structs made from vocabulary.def, no inline
// functions (see kernels/table.hpp).

#include <cstddef>
#include <cstdint>

namespace ganglion::native {

#define GANGLION_LIMIT(id, value, what) inline constexpr std::size_t id = value;
#include "native/vocabulary.def"

enum class OpKind : std::uint8_t {
#define GANGLION_OPERATION(id, ...) id,
#include "native/vocabulary.def"
};

enum class Unary : std::uint8_t {
  identity,  // of an affine without activation; no word of the file
#define GANGLION_UNARY(id, ...) id,
#include "native/vocabulary.def"
};

enum class Binary : std::uint8_t {
#define GANGLION_BINARY(id, ...) id,
#include "native/vocabulary.def"
};

enum class Reduce : std::uint8_t {
#define GANGLION_REDUCE(id) id,
#include "native/vocabulary.def"
};

inline constexpr Unary every_unary[] = {
    Unary::identity,
#define GANGLION_UNARY(id, ...) Unary::id,
#include "native/vocabulary.def"
};
inline constexpr Binary every_binary[] = {
#define GANGLION_BINARY(id, ...) Binary::id,
#include "native/vocabulary.def"
};
inline constexpr Reduce every_reduce[] = {
#define GANGLION_REDUCE(id) Reduce::id,
#include "native/vocabulary.def"
};

/// A convolution of an image; a row is an image of height 1.
struct Convolution {
  std::size_t in_channels = 0;
  std::size_t height = 1;
  std::size_t width = 0;
  std::size_t out_channels = 0;
  std::size_t out_height = 1;
  std::size_t out_width = 0;
  std::size_t kernel_height = 1;
  std::size_t kernel_width = 0;
  std::size_t stride_height = 1;
  std::size_t stride_width = 1;
  std::size_t dilation_height = 1;
  std::size_t dilation_width = 1;
  std::size_t groups = 1;
  std::size_t pad_top = 0;
  std::size_t pad_bottom = 0;
  std::size_t pad_left = 0;
  std::size_t pad_right = 0;
  bool circular = false;  ///< of a row: what is outside goes round
};

}  // namespace ganglion::native
