#include "io/onnx/ports.hpp"

#include <algorithm>
#include <utility>

#include "ganglion/error.hpp"
#include "io/json.hpp"

namespace ganglion::detail {

void refuse(const std::string& sentence, const char* code) {
  throw Error(ErrorCode::bad_contract, sentence + " [" + code + "]");
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t axis : shape) text += (text.empty() ? "" : ", ") + (axis < 0 ? "?" : std::to_string(axis));
  return "[" + text + "]";
}

std::string count_of(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + in_quotes(name);
  return text.empty() ? "none" : text;
}

Layout layout_of(const OnnxPort& port, std::optional<std::size_t> batch_axis) {
  constexpr std::int64_t largest = std::int64_t{1} << 24;
  Layout layout;
  layout.batch_axis = batch_axis;
  for (std::size_t axis = 0; axis < port.shape.size(); ++axis) {
    const std::int64_t size = port.shape[axis];
    if (size == 0 || size > largest) {
      refuse("tensor " + in_quotes(port.name) + " has the shape " + shape_text(port.shape), "shape");
    }
    if (axis == batch_axis) {
      layout.batch = size;
      continue;
    }
    std::size_t& product = batch_axis && axis > *batch_axis ? layout.inner : layout.outer;
    product *= static_cast<std::size_t>(std::max<std::int64_t>(size, 1));
    // Of both together: either could be as large.
    if (product > static_cast<std::size_t>(largest) || layout.outer * layout.inner > static_cast<std::size_t>(largest))
      refuse("tensor " + in_quotes(port.name) + " is too large", "shape");
  }
  if (!batch_axis) std::swap(layout.outer, layout.inner);
  return layout;
}

std::optional<std::size_t> batch_axis_of(const OnnxPort& port) {
  const auto& shape = port.shape;
  if (shape.size() < 2) return std::nullopt;
  const auto dynamic = std::find(shape.begin(), shape.end() - 1, -1);
  return dynamic == shape.end() - 1 ? 0 : static_cast<std::size_t>(dynamic - shape.begin());
}

TensorSpec vector_of(const OnnxPort& port) {
  if (!port.shape.empty() && port.shape.back() < 0 && port.shape.size() > 1) {
    refuse("the last axis of tensor " + in_quotes(port.name) + ", " + shape_text(port.shape) +
               ", has no fixed size; only batch and time may be dynamic",
           "shape");
  }
  const Layout layout = layout_of(port, batch_axis_of(port));
  TensorSpec spec;
  spec.name = port.name;
  spec.size = layout.outer * layout.inner;
  return spec;
}

bool same_shape(const OnnxPort& a, const OnnxPort& b) {
  const auto fits = [](std::int64_t x, std::int64_t y) { return x < 0 || y < 0 || x == y; };
  return std::equal(a.shape.begin(), a.shape.end(), b.shape.begin(), b.shape.end(), fits);
}

}  // namespace ganglion::detail
