#pragma once

// Weights in the order in which kernels read them. A panel is a few vectors of rows; for every input in turn it holds
// one weight of each of its rows. Rows that are there only to fill a vector are zero.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/kernels/table.hpp"
#include "native/program.hpp"

namespace ganglion::native {

/// A matrix [rows, columns] of the file, with what turns its elements into floats. Of a weight of more axes, all but
/// the first are its columns.
struct MatrixSource {
  const Tensor* weight = nullptr;
  const Tensor* scale = nullptr;  ///< of an int8 weight

  [[nodiscard]] std::size_t columns() const {
    std::size_t product = 1;
    for (std::size_t axis = 1; axis < weight->shape.size(); ++axis) product *= weight->shape[axis];
    return product;
  }
};

/// Which rows go where: `panels` counts the vectors of each panel, `rows` names the source row of every lane.
struct RowOrder {
  std::vector<std::uint8_t> panels;
  std::vector<Index> rows;  ///< `none`: padding
};

/// Rows first .. first + count in panels of up to `panel_vectors` vectors.
[[nodiscard]] RowOrder affine_rows(std::size_t first, std::size_t count, const KernelTable& kernels);
/// One panel for `lanes` units, a vector for each of their gates.
[[nodiscard]] RowOrder cell_rows(std::size_t units, std::size_t gates, const KernelTable& kernels);

/// The packing of a weight: as it is stored.
[[nodiscard]] Packing packing_of(const Tensor& weight, Activations activations);
/// Inputs whose weights stand together.
[[nodiscard]] std::size_t group_of(Packing packing, const KernelTable& kernels);

/// Bytes of the packed weight; `split` inputs come from the first operand, the others from the second one.
[[nodiscard]] std::size_t packed_size(const MatrixSource& source, const RowOrder& order, Packing packing,
                                      std::size_t group, std::size_t split);
void pack(const MatrixSource& source, const RowOrder& order, Packing packing, std::size_t group, std::size_t split,
          std::byte* to);

/// Element i of a tensor; what is smaller than `smallest_value` is 0.
[[nodiscard]] float float_at(const Tensor& tensor, std::size_t i);

}  // namespace ganglion::native
