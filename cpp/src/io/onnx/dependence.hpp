#pragma once

// What the values of a graph depend on, and where chance comes in.

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "io/onnx/graph.hpp"

namespace ganglion::detail {

/// Of every value: the inputs of the graph that its elements are computed from, and a node that draws on the way.
/// Where only the shape of an input matters (zeros for as many rows as it has), the value does not depend on it.
class Dependence {
 public:
  /// Throws `Error` (bad_contract) where the graph has more inputs than any policy.
  Dependence(const OnnxGraph& graph, const OnnxFlow& flow);

  [[nodiscard]] bool depends(std::string_view value, std::string_view input) const;
  /// On the input at any of these positions among the graph's inputs.
  [[nodiscard]] bool depends_on_any(std::string_view value, const std::vector<bool>& inputs) const;
  /// The first node that makes the value a matter of chance; null where it is none.
  [[nodiscard]] const OnnxNode* draw(std::string_view value) const;

 private:
  using Words = std::vector<std::uint64_t>;
  struct Origins {
    Words inputs;  ///< one bit for each input of the graph
    const OnnxNode* draw = nullptr;
  };

  void merge(Origins& into, std::string_view value) const;

  std::map<std::string_view, std::size_t> positions_;
  std::map<std::string_view, Origins> origins_;
};

}  // namespace ganglion::detail
