#pragma once

// The words of a program that kernels know too: plain enumerations and structs, no inline functions (see
// kernels/table.hpp).

#include <cstddef>
#include <cstdint>

namespace ganglion::native {

enum class OpKind : std::uint8_t {
  affine,
  lstm,
  gru,
  rnn,
  unary,
  binary,
  where,
  reduce,
  softmax,
  log_softmax,
  argmax,
  layer_norm,
  conv1d,
  matmul,
  gather,
  lookup,
};

enum class Unary : std::uint8_t {
  identity,
  relu,
  leaky_relu,
  elu,
  celu,
  selu,
  gelu,
  gelu_tanh,
  silu,
  softplus,
  mish,
  tanh,
  sigmoid,
  hard_sigmoid,
  hard_swish,
  softsign,
  exp,
  log,
  sqrt,
  rsqrt,
  reciprocal,
  neg,
  abs,
  sign,
  floor,
  ceil,
  round,
  sin,
  cos,
  atan,
  erf,
  logical_not,
  clip,
};
inline constexpr std::size_t unary_count = 33;

enum class Binary : std::uint8_t {
  add,
  sub,
  mul,
  div,
  pow,
  min,
  max,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  logical_and,
  logical_or,
  logical_xor,
  mod,
};
inline constexpr std::size_t binary_count = 16;

enum class Reduce : std::uint8_t { sum, mean, max, min, prod, l1, l2, sum_square, logsumexp };
inline constexpr std::size_t reduce_count = 9;

struct Conv1d {
  std::size_t in_channels = 0;
  std::size_t length = 0;
  std::size_t out_channels = 0;
  std::size_t out_length = 0;
  std::size_t kernel = 0;
  std::size_t stride = 1;
  std::size_t dilation = 1;
  std::size_t groups = 1;
  std::size_t pad_left = 0;
  std::size_t pad_right = 0;
  bool circular = false;
};

}  // namespace ganglion::native
