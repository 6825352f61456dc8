#pragma once

// The program of a .ganglion file as plain data: a straight line of operations on flat float32 vectors (cpp/FORMAT.md).
// The io room fills it and checks it; everything behind this header believes it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/vocabulary.hpp"

namespace ganglion::native {

using Index = std::uint32_t;

/// No value, no tensor.
inline constexpr Index none = UINT32_MAX;

enum class Dtype : std::uint8_t { f32, f16, i8, i32 };

/// A tensor of the file. The bytes may lie at any address and stay with their owner.
struct Tensor {
  Dtype dtype = Dtype::f32;
  std::vector<std::size_t> shape;
  std::span<const std::byte> bytes;
};

/// A flat vector of `size` floats in every batch row; with `constant` (a tensor) the same in all rows.
struct Value {
  std::size_t size = 0;
  Index constant = none;
};

/// How int8 weights meet their input: as floats, or as integers after the input was scaled to 16 or 8 bits.
enum class Activations : std::uint8_t { float32, int16, int8 };

/// An elementwise function with its parameters; clip has its bounds in alpha and beta.
struct Function {
  Unary unary = Unary::identity;
  float alpha = 0.0F;
  float beta = 0.0F;
};

/// One operation; which fields count depends on `kind`.
struct Op {
  OpKind kind = OpKind::affine;
  std::vector<Index> in;
  std::vector<Index> out;
  // Tensors.
  Index weight = none;
  Index bias = none;
  Index scale = none;
  Index recurrent_bias = none;
  Index index = none;
  // Attributes.
  Function function;  ///< of unary; the activation of affine and rnn
  Binary binary = Binary::add;
  Reduce reduce = Reduce::sum;
  Activations activations = Activations::float32;
  bool linear_before_reset = true;
  float epsilon = 0.0F;
  std::size_t rows = 0;     ///< of reduce, softmax, argmax, layer_norm, matmul, lookup
  std::size_t columns = 0;  ///< likewise
  std::size_t inner = 0;    ///< of matmul
  Convolution conv;
};

struct StatePair {
  Index in = none;
  Index out = none;
};

struct Program {
  std::vector<Value> values;
  std::vector<Index> inputs;
  std::vector<StatePair> state;
  std::vector<Index> outputs;
  std::vector<Op> ops;
  std::vector<Tensor> tensors;
};

}  // namespace ganglion::native
