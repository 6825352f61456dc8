#pragma once

// The tensors that a graph takes and gives, seen as the vectors of a contract.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ganglion/contract.hpp"
#include "io/onnx/graph.hpp"

namespace ganglion::detail {

/// Throws `Error` (bad_contract) with the sentence and, behind it, the stable code.
[[noreturn]] void refuse(const std::string& sentence, const char* code);

/// "[1, ?, 8]"
[[nodiscard]] std::string shape_text(const std::vector<std::int64_t>& shape);
/// "1 element", "3 elements"
[[nodiscard]] std::string count_of(std::size_t count, const char* what);
/// "'a', 'b'", or "none"
[[nodiscard]] std::string quoted_list(const std::vector<std::string>& names);

/// A shape with the axis of the batch told from the others.
struct Layout {
  std::optional<std::size_t> batch_axis;
  std::int64_t batch = 1;  ///< -1 for any
  std::size_t outer = 1;   ///< elements before the batch axis
  std::size_t inner = 1;   ///< and behind it
};

/// Every dynamic axis but that of the batch stands for time, and is one step long. Refuses what is empty or too large.
[[nodiscard]] Layout layout_of(const OnnxPort& port, std::optional<std::size_t> batch_axis);

/// Tells the batch from the other dynamic axes of a port, such as time: by what the axes are called, else by the axis
/// that is dynamic in a port which has no other, such as a state. Sets `OnnxPort::batch_axis` where that tells.
void find_batch_axes(OnnxGraph& graph);

/// The batch axis of a vector: what `find_batch_axes` found, the first dynamic one, else the first of several.
[[nodiscard]] std::optional<std::size_t> batch_axis_of(const OnnxPort& port);

/// The vector of one row, with its shape where it is more than one axis. Refuses a size that is not fixed.
[[nodiscard]] TensorSpec vector_of(const OnnxPort& port);

/// Whether the two can have one shape.
[[nodiscard]] bool same_shape(const OnnxPort& a, const OnnxPort& b);

}  // namespace ganglion::detail
