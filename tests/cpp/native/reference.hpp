#pragma once

// Runs a program in double, one row at a time, in the plainest way: what executors are compared with.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "native/pack.hpp"
#include "native/program.hpp"

namespace reference {

using namespace ganglion::native;
using Row = std::vector<double>;

// What native/vocabulary.def says that the functions are.
namespace defined {

inline double at_least(double x, double low) { return x < low ? low : x; }
inline double at_most(double x, double high) { return x > high ? high : x; }

#define GANGLION_UNARY(id, name, first, second, ...)                                                                   \
  inline double id([[maybe_unused]] double x, [[maybe_unused]] double first = 0, [[maybe_unused]] double second = 0) { \
    return __VA_ARGS__;                                                                                                \
  }
#include "native/vocabulary.def"

#define GANGLION_BINARY(id, name, ...) \
  inline double two_##id([[maybe_unused]] double a, double b) { return __VA_ARGS__; }
#include "native/vocabulary.def"

}  // namespace defined

inline double sigmoid(double x) { return defined::sigmoid(x); }

inline double apply(const Function& f, double x) {
  switch (f.unary) {
    case Unary::identity:
      return x;
#define GANGLION_UNARY(id, ...) \
  case Unary::id:               \
    return defined::id(x, double{f.alpha}, double{f.beta});
#include "native/vocabulary.def"
  }
  return 0.0;
}

inline double apply(Binary f, double a, double b) {
  switch (f) {
#define GANGLION_BINARY(id, ...) \
  case Binary::id:               \
    return defined::two_##id(a, b);
#include "native/vocabulary.def"
  }
  return 0.0;
}

inline const char* name_of(Unary function) {
  switch (function) {
    case Unary::identity:
      return "identity";
#define GANGLION_UNARY(id, name, ...) \
  case Unary::id:                     \
    return name;
#include "native/vocabulary.def"
  }
  return "";
}

inline const char* name_of(Binary function) {
  switch (function) {
#define GANGLION_BINARY(id, name, ...) \
  case Binary::id:                     \
    return name;
#include "native/vocabulary.def"
  }
  return "";
}

class Interpreter {
 public:
  explicit Interpreter(const Program& program) : program_(program), values_(program.values.size()) {}

  /// One step of one row; `state` is replaced. Answers the outputs side by side.
  Row step(const std::vector<float>& observation, std::vector<float>& state) {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (program_.values[i].constant != none) values_[i] = floats(program_.values[i].constant);
    }
    std::size_t at = 0;
    for (const Index value : program_.inputs) values_[value] = slice(observation, at, program_.values[value].size);
    at = 0;
    for (const StatePair& pair : program_.state) values_[pair.in] = slice(state, at, program_.values[pair.in].size);
    for (const Op& op : program_.ops) run(op);
    Row outputs;
    for (const Index value : program_.outputs)
      outputs.insert(outputs.end(), values_[value].begin(), values_[value].end());
    at = 0;
    for (const StatePair& pair : program_.state) {
      for (const double x : values_[pair.out]) state[at++] = static_cast<float>(x);
    }
    return outputs;
  }

 private:
  static Row slice(const std::vector<float>& from, std::size_t& at, std::size_t size) {
    Row row;
    for (std::size_t i = 0; i < size; ++i) row.push_back(double{from[at++]});
    return row;
  }

  [[nodiscard]] Row floats(Index tensor) const {
    std::size_t count = 1;
    for (const std::size_t axis : program_.tensors[tensor].shape) count *= axis;
    Row row;
    for (std::size_t i = 0; i < count; ++i) row.push_back(double{float_at(program_.tensors[tensor], i)});
    return row;
  }

  [[nodiscard]] double bias(Index tensor, std::size_t i) const {
    return tensor == none ? 0.0 : double{float_at(program_.tensors[tensor], i)};
  }

  /// Row `row` of W times x[from .. from + size of x), plus nothing.
  [[nodiscard]] double dot(const Op& op, std::size_t row, std::size_t from, const Row& x) const {
    const Tensor& weight = program_.tensors[op.weight];
    double sum = 0.0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      sum += double{float_at(weight, row * weight.shape[1] + from + k)} * x[k];
    }
    return op.scale == none ? sum : sum * double{float_at(program_.tensors[op.scale], row)};
  }

  void run(const Op& op) {
    const Row& x = values_[op.in[0]];
    const std::size_t size = program_.values[op.out[0]].size;
    Row out(size);
    switch (op.kind) {
      case OpKind::affine:
        for (std::size_t i = 0; i < size; ++i) out[i] = apply(op.function, dot(op, i, 0, x) + bias(op.bias, i));
        break;
      case OpKind::rnn:
        for (std::size_t i = 0; i < size; ++i) {
          out[i] = apply(op.function, dot(op, i, 0, x) + dot(op, i, x.size(), values_[op.in[1]]) + bias(op.bias, i));
        }
        break;
      case OpKind::lstm: {
        Row cell(size);
        for (std::size_t i = 0; i < size; ++i) {
          const auto gate = [&](std::size_t g) {
            const std::size_t row = g * size + i;
            return dot(op, row, 0, x) + dot(op, row, x.size(), values_[op.in[1]]) + bias(op.bias, row);
          };
          cell[i] = sigmoid(gate(1)) * values_[op.in[2]][i] + sigmoid(gate(0)) * std::tanh(gate(2));
          out[i] = sigmoid(gate(3)) * std::tanh(cell[i]);
        }
        values_[op.out[1]] = cell;
        break;
      }
      case OpKind::gru: {
        const Row& h = values_[op.in[1]];
        Row r(size);
        Row rh(size);
        for (std::size_t i = 0; i < size; ++i) {
          r[i] = sigmoid(dot(op, i, 0, x) + dot(op, i, x.size(), h) + bias(op.bias, i));
          rh[i] = r[i] * h[i];
        }
        for (std::size_t i = 0; i < size; ++i) {
          const double z = sigmoid(dot(op, size + i, 0, x) + dot(op, size + i, x.size(), h) + bias(op.bias, size + i));
          const std::size_t row = 2 * size + i;
          const double of_x = dot(op, row, 0, x) + bias(op.bias, row);
          const double n = op.linear_before_reset
                               ? std::tanh(of_x + r[i] * (dot(op, row, x.size(), h) + bias(op.recurrent_bias, i)))
                               : std::tanh(of_x + dot(op, row, x.size(), rh) + bias(op.recurrent_bias, i));
          out[i] = (1.0 - z) * n + z * h[i];
        }
        break;
      }
      case OpKind::unary:
        for (std::size_t i = 0; i < size; ++i) out[i] = apply(op.function, x[i]);
        break;
      case OpKind::binary:
        for (std::size_t i = 0; i < size; ++i) out[i] = apply(op.binary, element(op, 0, i), element(op, 1, i));
        break;
      case OpKind::where:
        for (std::size_t i = 0; i < size; ++i)
          out[i] = element(op, 0, i) != 0.0 ? element(op, 1, i) : element(op, 2, i);
        break;
      case OpKind::reduce:
      case OpKind::argmax:
        for (std::size_t row = 0; row < op.rows; ++row) out[row] = reduce(op, row_of(op, x, row));
        break;
      case OpKind::softmax:
      case OpKind::log_softmax:
        for (std::size_t row = 0; row < op.rows; ++row) {
          const Row part = row_of(op, x, row);
          const double top = *std::max_element(part.begin(), part.end());
          double sum = 0.0;
          for (const double v : part) sum += std::exp(v - top);
          for (std::size_t i = 0; i < op.columns; ++i) {
            const double v = part[i] - top;
            out[row * op.columns + i] = op.kind == OpKind::softmax ? std::exp(v) / sum : v - std::log(sum);
          }
        }
        break;
      case OpKind::layer_norm:
        for (std::size_t row = 0; row < op.rows; ++row) {
          const Row part = row_of(op, x, row);
          double mean = 0.0;
          for (const double v : part) mean += v / static_cast<double>(op.columns);
          double variance = 0.0;
          for (const double v : part) variance += (v - mean) * (v - mean) / static_cast<double>(op.columns);
          for (std::size_t i = 0; i < op.columns; ++i) {
            const double v = (part[i] - mean) / std::sqrt(variance + double{op.epsilon});
            out[row * op.columns + i] = v * (op.weight == none ? 1.0 : bias(op.weight, i)) + bias(op.bias, i);
          }
        }
        break;
      case OpKind::conv1d:
      case OpKind::conv2d:
        convolve(op, x, out);
        break;
      case OpKind::matmul:
        for (std::size_t i = 0; i < size; ++i) {
          for (std::size_t k = 0; k < op.inner; ++k) {
            out[i] += x[i / op.columns * op.inner + k] * values_[op.in[1]][k * op.columns + i % op.columns];
          }
        }
        break;
      case OpKind::gather: {
        Row all;
        for (const Index value : op.in) all.insert(all.end(), values_[value].begin(), values_[value].end());
        for (std::size_t i = 0; i < size; ++i) {
          out[i] = all[static_cast<std::size_t>(float_at(program_.tensors[op.index], i))];
        }
        break;
      }
      case OpKind::lookup: {
        const double which = std::clamp(values_[op.in[1]][0], 0.0, static_cast<double>(op.rows - 1));
        out = row_of(op, x, static_cast<std::size_t>(which));
        break;
      }
    }
    values_[op.out[0]] = out;
  }

  [[nodiscard]] double element(const Op& op, std::size_t in, std::size_t i) const {
    const Row& row = values_[op.in[in]];
    return row.size() == 1 ? row[0] : row[i];
  }

  static Row row_of(const Op& op, const Row& x, std::size_t row) {
    const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * op.columns);
    return {begin, begin + static_cast<std::ptrdiff_t>(op.columns)};
  }

  static double reduce(const Op& op, const Row& row) {
    if (op.kind == OpKind::argmax) {
      return static_cast<double>(std::max_element(row.begin(), row.end()) - row.begin());
    }
    double sum = 0.0;
    double absolute = 0.0;
    double square = 0.0;
    double product = 1.0;
    double exponential = 0.0;
    for (const double v : row) {
      sum += v;
      absolute += std::abs(v);
      square += v * v;
      product *= v;
      exponential += std::exp(v);
    }
    switch (op.reduce) {
      case Reduce::sum:
        return sum;
      case Reduce::mean:
        return sum / static_cast<double>(row.size());
      case Reduce::max:
        return *std::max_element(row.begin(), row.end());
      case Reduce::min:
        return *std::min_element(row.begin(), row.end());
      case Reduce::prod:
        return product;
      case Reduce::l1:
        return absolute;
      case Reduce::l2:
        return std::sqrt(square);
      case Reduce::sum_square:
        return square;
      case Reduce::logsumexp:
        return std::log(exponential);
    }
    return 0.0;
  }

  void convolve(const Op& op, const Row& x, Row& out) const {
    const Convolution& c = op.conv;
    for (std::size_t o = 0; o < c.out_channels; ++o) {
      for (std::size_t i = 0; i < c.out_height; ++i) {
        for (std::size_t j = 0; j < c.out_width; ++j) {
          out[(o * c.out_height + i) * c.out_width + j] = bias(op.bias, o) + convolved(op, x, o, i, j);
        }
      }
    }
  }

  [[nodiscard]] double convolved(const Op& op, const Row& x, std::size_t o, std::size_t i, std::size_t j) const {
    const Convolution& c = op.conv;
    const std::size_t in_group = c.in_channels / c.groups;
    double sum = 0.0;
    for (std::size_t n = 0; n < in_group * c.kernel_height * c.kernel_width; ++n) {
      const std::size_t channel = o / (c.out_channels / c.groups) * in_group + n / (c.kernel_height * c.kernel_width);
      const auto row =
          static_cast<std::ptrdiff_t>(i * c.stride_height + n / c.kernel_width % c.kernel_height * c.dilation_height) -
          static_cast<std::ptrdiff_t>(c.pad_top);
      auto column = static_cast<std::ptrdiff_t>(j * c.stride_width + n % c.kernel_width * c.dilation_width) -
                    static_cast<std::ptrdiff_t>(c.pad_left);
      const auto height = static_cast<std::ptrdiff_t>(c.height);
      const auto width = static_cast<std::ptrdiff_t>(c.width);
      if (c.circular) column = (column + width) % width;
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      const std::size_t at = (channel * c.height + static_cast<std::size_t>(row)) * c.width;
      sum += bias(op.weight, o * in_group * c.kernel_height * c.kernel_width + n) *
             x[at + static_cast<std::size_t>(column)];
    }
    return sum;
  }

  const Program& program_;
  std::vector<Row> values_;
};

}  // namespace reference
