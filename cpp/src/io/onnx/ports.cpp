#include "io/onnx/ports.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "ganglion/error.hpp"
#include "io/json.hpp"
#include "io/words.hpp"

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

namespace {

/// The last axis holds the elements.
std::vector<std::size_t> dynamic_axes(const OnnxPort& port) {
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis + 1 < port.shape.size(); ++axis) {
    if (port.shape[axis] < 0) axes.push_back(axis);
  }
  return axes;
}

bool sounds_like(const std::string& symbol, std::span<const char* const> whole, std::span<const char* const> parts) {
  std::string lower = symbol;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return is_one_of(whole, lower) || std::any_of(parts.begin(), parts.end(), [&lower](const char* part) {
           return lower.find(part) != std::string::npos;
         });
}

bool sounds_like_batch(const std::string& symbol) {
  static constexpr std::array whole{"b", "bs", "n", "rows"};
  static constexpr std::array parts{"batch", "env", "agent"};
  return sounds_like(symbol, whole, parts);
}

bool sounds_like_time(const std::string& symbol) {
  static constexpr std::array whole{"t", "l", "len"};
  static constexpr std::array parts{"time", "seq", "step", "horizon", "window", "length", "frame"};
  return !sounds_like_batch(symbol) && sounds_like(symbol, whole, parts);
}

/// What the ports with one dynamic axis say of the others.
struct Known {
  std::set<std::string> symbols;
  std::map<std::size_t, std::set<std::size_t>> places;  ///< by the number of axes
};

/// The one of `axes` that fits; none where none does, or several.
template <typename Fits>
std::optional<std::size_t> only(const std::vector<std::size_t>& axes, const Fits& fits) {
  std::optional<std::size_t> found;
  for (const std::size_t axis : axes) {
    if (!fits(axis)) continue;
    if (found) return std::nullopt;
    found = axis;
  }
  return found;
}

std::optional<std::size_t> told_batch_axis(const OnnxPort& port, const Known& known) {
  std::vector<std::size_t> axes = dynamic_axes(port);
  const std::size_t count = axes.size();
  const auto is_time = [&port](std::size_t axis) { return sounds_like_time(port.symbols[axis]); };
  std::erase_if(axes, is_time);
  if (axes.empty() && count > 0) {
    // Time alone is dynamic, and the batch is fixed: [time, 1, n], [1, time, n].
    for (std::size_t axis = 0; axis + 1 < port.shape.size(); ++axis) {
      if (port.shape[axis] >= 0) return axis;
    }
    return std::nullopt;
  }
  if (count < 2) return std::nullopt;
  if (axes.size() == 1) return axes[0];
  const auto places = known.places.find(port.shape.size());
  for (const auto& axis : {only(axes, [&](std::size_t a) { return sounds_like_batch(port.symbols[a]); }),
                           only(axes, [&](std::size_t a) { return known.symbols.contains(port.symbols[a]); }),
                           only(axes, [&](std::size_t a) {
                             return places != known.places.end() && places->second == std::set<std::size_t>{a};
                           })}) {
    if (axis) return axis;
  }
  return std::nullopt;
}

}  // namespace

void find_batch_axes(OnnxGraph& graph) {
  Known known;
  for (const auto* ports : {&graph.inputs, &graph.outputs}) {
    for (const OnnxPort& port : *ports) {
      const std::vector<std::size_t> axes = dynamic_axes(port);
      if (axes.size() != 1 || sounds_like_time(port.symbols[axes[0]])) continue;
      if (!port.symbols[axes[0]].empty()) known.symbols.insert(port.symbols[axes[0]]);
      known.places[port.shape.size()].insert(axes[0]);
    }
  }
  for (auto* ports : {&graph.inputs, &graph.outputs}) {
    for (OnnxPort& port : *ports) port.batch_axis = told_batch_axis(port, known);
  }
}

std::optional<std::size_t> batch_axis_of(const OnnxPort& port) {
  const auto& shape = port.shape;
  if (shape.size() < 2) return std::nullopt;
  if (port.batch_axis) return port.batch_axis;
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
  std::vector<std::size_t> shape;
  for (std::size_t axis = 0; axis < port.shape.size(); ++axis) {
    if (axis != layout.batch_axis)
      shape.push_back(static_cast<std::size_t>(std::max<std::int64_t>(port.shape[axis], 1)));
  }
  // [1, n], with a step of time, is a vector.
  if (std::count_if(shape.begin(), shape.end(), [](std::size_t size) { return size > 1; }) > 1)
    spec.shape = std::move(shape);
  return spec;
}

bool same_shape(const OnnxPort& a, const OnnxPort& b) {
  const auto fits = [](std::int64_t x, std::int64_t y) { return x < 0 || y < 0 || x == y; };
  return std::equal(a.shape.begin(), a.shape.end(), b.shape.begin(), b.shape.end(), fits);
}

}  // namespace ganglion::detail
