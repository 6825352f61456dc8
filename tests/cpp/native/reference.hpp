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

inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

inline double apply(const Function& f, double x) {
  const double a = double{f.alpha};
  const double b = double{f.beta};
  switch (f.unary) {
    case Unary::identity:
      return x;
    case Unary::relu:
      return std::max(x, 0.0);
    case Unary::leaky_relu:
      return x >= 0.0 ? x : a * x;
    case Unary::elu:
      return x > 0.0 ? x : a * std::expm1(x);
    case Unary::celu:
      return std::max(x, 0.0) + std::min(0.0, a * std::expm1(x / a));
    case Unary::selu:
      return 1.0507009873554805 * (x > 0.0 ? x : 1.6732632423543772 * std::expm1(x));
    case Unary::gelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Unary::gelu_tanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Unary::silu:
      return x * sigmoid(x);
    case Unary::softplus:
      return softplus(x);
    case Unary::mish:
      return x * std::tanh(softplus(x));
    case Unary::tanh:
      return std::tanh(x);
    case Unary::sigmoid:
      return sigmoid(x);
    case Unary::hard_sigmoid:
      return std::max(0.0, std::min(1.0, a * x + b));
    case Unary::hard_swish:
      return x * std::max(0.0, std::min(1.0, x / 6.0 + 0.5));
    case Unary::softsign:
      return x / (1.0 + std::abs(x));
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::rsqrt:
      return 1.0 / std::sqrt(x);
    case Unary::reciprocal:
      return 1.0 / x;
    case Unary::neg:
      return -x;
    case Unary::abs:
      return std::abs(x);
    case Unary::sign:
      return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
    case Unary::floor:
      return std::floor(x);
    case Unary::ceil:
      return std::ceil(x);
    case Unary::round:
      return std::nearbyint(x);
    case Unary::sin:
      return std::sin(x);
    case Unary::cos:
      return std::cos(x);
    case Unary::atan:
      return std::atan(x);
    case Unary::erf:
      return std::erf(x);
    case Unary::logical_not:
      return x == 0.0 ? 1.0 : 0.0;
    case Unary::clip:
      return std::min(std::max(x, a), b);
  }
  return 0.0;
}

inline double apply(Binary f, double a, double b) {
  const auto flag = [](bool truth) { return truth ? 1.0 : 0.0; };
  switch (f) {
    case Binary::add:
      return a + b;
    case Binary::sub:
      return a - b;
    case Binary::mul:
      return a * b;
    case Binary::div:
      return a / b;
    case Binary::pow:
      return std::pow(a, b);
    case Binary::min:
      return std::min(a, b);
    case Binary::max:
      return std::max(a, b);
    case Binary::less:
      return flag(a < b);
    case Binary::less_equal:
      return flag(a <= b);
    case Binary::greater:
      return flag(a > b);
    case Binary::greater_equal:
      return flag(a >= b);
    case Binary::equal:
      return flag(a == b);
    case Binary::logical_and:
      return flag(a != 0.0 && b != 0.0);
    case Binary::logical_or:
      return flag(a != 0.0 || b != 0.0);
    case Binary::logical_xor:
      return flag((a != 0.0) != (b != 0.0));
    case Binary::mod:
      return std::fmod(a, b);
  }
  return 0.0;
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
    const Conv1d& c = op.conv;
    const std::size_t in_group = c.in_channels / c.groups;
    for (std::size_t o = 0; o < c.out_channels; ++o) {
      for (std::size_t t = 0; t < c.out_length; ++t) {
        double sum = bias(op.bias, o);
        for (std::size_t i = 0; i < in_group; ++i) {
          for (std::size_t k = 0; k < c.kernel; ++k) {
            auto at =
                static_cast<std::ptrdiff_t>(t * c.stride + k * c.dilation) - static_cast<std::ptrdiff_t>(c.pad_left);
            const auto length = static_cast<std::ptrdiff_t>(c.length);
            if (c.circular) at = (at + length) % length;
            if (at < 0 || at >= length) continue;
            const std::size_t channel = o / (c.out_channels / c.groups) * in_group + i;
            sum += bias(op.weight, (o * in_group + i) * c.kernel + k) *
                   x[channel * c.length + static_cast<std::size_t>(at)];
          }
        }
        out[o * c.out_length + t] = sum;
      }
    }
  }

  const Program& program_;
  std::vector<Row> values_;
};

}  // namespace reference
