#include "native/pack.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "realtime/memory.hpp"

namespace ganglion::native {

namespace {

template <class T>
T element(const Tensor& tensor, std::size_t i) {
  T value;
  std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
  return value;
}

/// IEEE 754 binary16 to binary32.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 0x1FU;
  const std::uint32_t fraction = half & 0x3FFU;
  float value = 0.0F;
  if (exponent == 0) {
    value = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t bits = sign | (exponent == 31 ? 0x7F800000U : (exponent + 112U) << 23U) | fraction << 13U;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::size_t slots(std::size_t columns, std::size_t split, std::size_t group) {
  return realtime::round_up(split, group) + realtime::round_up(columns - split, group);
}

/// Where the weights of every input begin inside a panel: those of one input for all lanes stand side by side, or, in
/// groups, those of a few inputs for one lane.
std::vector<std::size_t> places(std::size_t columns, std::size_t split, std::size_t group, std::size_t lanes) {
  std::vector<std::size_t> result(columns);
  for (std::size_t k = 0; k < columns; ++k) {
    const std::size_t slot = k < split ? k : realtime::round_up(split, group) + (k - split);
    result[k] = slot / group * group * lanes + slot % group;
  }
  return result;
}

template <class T, class Read>
void pack_as(const MatrixSource& source, const RowOrder& order, std::size_t group, std::size_t split, T* to,
             Read read) {
  constexpr std::size_t block = 16;  // inputs in turn: what is read and what is written stay in the first cache
  const std::size_t columns = source.columns();
  std::size_t vectors = 0;
  for (const std::uint8_t count : order.panels) vectors += count;
  const std::size_t lanes_of_vector = vectors == 0 ? 1 : order.rows.size() / vectors;
  std::size_t first = 0;
  for (const std::uint8_t count : order.panels) {
    const std::size_t lanes = count * lanes_of_vector;
    const std::vector<std::size_t> place = places(columns, split, group, lanes);
    for (std::size_t begin = 0; begin < columns; begin += block) {
      const std::size_t end = std::min(columns, begin + block);
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const Index row = order.rows[first + lane];
        if (row == none) continue;
        for (std::size_t k = begin; k < end; ++k) to[place[k] + group * lane] = read(row * columns + k);
      }
    }
    first += lanes;
    to += slots(columns, split, group) * lanes;
  }
}

/// A weight as kernels take it.
float without_tiny(float value) { return std::fabs(value) < smallest_value ? 0.0F : value; }

}  // namespace

float float_at(const Tensor& tensor, std::size_t i) {
  switch (tensor.dtype) {
    case Dtype::f32:
      return without_tiny(element<float>(tensor, i));
    case Dtype::f16:
      return half_to_float(element<std::uint16_t>(tensor, i));
    case Dtype::i8:
      return static_cast<float>(element<std::int8_t>(tensor, i));
    case Dtype::i32:
      return static_cast<float>(element<std::int32_t>(tensor, i));
  }
  return 0.0F;
}

RowOrder affine_rows(std::size_t first, std::size_t count, const KernelTable& kernels) {
  RowOrder order;
  for (std::size_t row = 0; row < count; row += kernels.lanes) {
    for (std::size_t lane = 0; lane < kernels.lanes; ++lane) {
      order.rows.push_back(row + lane < count ? static_cast<Index>(first + row + lane) : none);
    }
  }
  for (std::size_t left = order.rows.size() / kernels.lanes; left != 0;) {
    const std::size_t vectors = std::min(left, kernels.panel_vectors);
    order.panels.push_back(static_cast<std::uint8_t>(vectors));
    left -= vectors;
  }
  return order;
}

RowOrder cell_rows(std::size_t units, std::size_t gates, const KernelTable& kernels) {
  RowOrder order;
  for (std::size_t unit = 0; unit < units; unit += kernels.lanes) {
    order.panels.push_back(static_cast<std::uint8_t>(gates));
    for (std::size_t gate = 0; gate < gates; ++gate) {
      for (std::size_t lane = 0; lane < kernels.lanes; ++lane) {
        order.rows.push_back(unit + lane < units ? static_cast<Index>(gate * units + unit + lane) : none);
      }
    }
  }
  return order;
}

Packing packing_of(const Tensor& weight, Activations activations) {
  if (weight.dtype == Dtype::f16) return Packing::f16;
  if (weight.dtype != Dtype::i8) return Packing::f32;
  // So many products of bytes fit into an int32 (kernels/dot_bytes.hpp).
  constexpr std::size_t longest_sum = 65536;
  return activations == Activations::float32 || weight.shape[1] > longest_sum ? Packing::i8 : Packing::i8_dot;
}

std::size_t group_of(Packing packing, const KernelTable& kernels) {
  return packing == Packing::i8_dot ? kernels.group : 1;
}

std::size_t packed_size(const MatrixSource& source, const RowOrder& order, Packing packing, std::size_t group,
                        std::size_t split) {
  constexpr std::size_t width[packing_count] = {4, 2, 1, 1};
  return order.rows.size() * slots(source.columns(), split, group) * width[static_cast<std::size_t>(packing)];
}

void pack(const MatrixSource& source, const RowOrder& order, Packing packing, std::size_t group, std::size_t split,
          std::byte* to) {
  const Tensor& weight = *source.weight;
  const auto fill = [&]<class T>(T* elements, auto read) { pack_as(source, order, group, split, elements, read); };
  switch (packing) {
    case Packing::f32:
      if (weight.dtype == Dtype::f32) {
        return fill(reinterpret_cast<float*>(to),
                    [&](std::size_t i) { return without_tiny(element<float>(weight, i)); });
      }
      return fill(reinterpret_cast<float*>(to), [&](std::size_t i) { return float_at(weight, i); });
    case Packing::f16:
      return fill(reinterpret_cast<std::uint16_t*>(to),
                  [&](std::size_t i) { return element<std::uint16_t>(weight, i); });
    case Packing::i8:
    case Packing::i8_dot:
      return fill(reinterpret_cast<std::int8_t*>(to), [&](std::size_t i) { return element<std::int8_t>(weight, i); });
  }
}

}  // namespace ganglion::native
