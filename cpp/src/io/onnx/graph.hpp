#pragma once

// The structure of an ONNX model: what goes in and out, which node feeds which, and the small tensors.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::detail {

/// Values of onnx.TensorProto.DataType that matter here.
enum class OnnxType : std::uint8_t {
  unknown = 0,
  float32 = 1,
  uint8 = 2,
  int32 = 6,
  int64 = 7,
  boolean = 9,
  float64 = 11
};

/// Whether a value of that type can be the index of an action.
[[nodiscard]] constexpr bool is_index(OnnxType type) { return type == OnnxType::int32 || type == OnnxType::int64; }

/// "float32", "int64", ...; "type 99" for what ONNX has not.
[[nodiscard]] std::string to_string(OnnxType type);

/// An input or output of the graph.
struct OnnxPort {
  std::string name;
  OnnxType type = OnnxType::unknown;
  bool has_shape = false;                   ///< false where the file does not say
  std::vector<std::int64_t> shape{};        ///< -1 where dynamic
  std::vector<std::string> symbols{};       ///< one per axis: what the file calls its size; empty where it says nothing
  std::optional<std::size_t> batch_axis{};  ///< where more than the shape tells, see `find_batch_axes`
};

struct OnnxTensor {
  OnnxType type = OnnxType::unknown;
  std::vector<std::int64_t> dims;
  std::span<const std::byte> data;    ///< little-endian elements; empty where they lie elsewhere
  std::optional<std::string> file{};  ///< name of the file with the elements, where they are not in the model

  /// The elements of a float tensor; none for other types, for damaged ones, and where they lie elsewhere.
  [[nodiscard]] std::optional<std::vector<double>> values() const;
  /// Whether all elements are here, and zero.
  [[nodiscard]] bool is_zero() const;
  /// Whether it is a boolean that is true.
  [[nodiscard]] bool is_true() const;
};

struct OnnxNode {
  std::string_view op;
  std::string_view name;
  std::vector<std::string_view> inputs;  ///< with the names that inner graphs take from outside
  std::vector<std::string_view> outputs;
  std::map<std::string_view, std::int64_t> integers;
  std::optional<OnnxTensor> value;  ///< of a Constant
  std::vector<OnnxNode> inner;      ///< nodes of its inner graphs

  /// Its name, or that of its result where it has none.
  [[nodiscard]] std::string_view label() const { return name.empty() && !outputs.empty() ? outputs.front() : name; }
};

/// A node that keeps a state from one item of a sequence to the next. Operand 5 is its first hidden state, 6 its first
/// cell state; result 1 is the last hidden state, 2 the last cell state.
[[nodiscard]] constexpr bool is_recurrent(std::string_view op) {
  return op == "LSTM" || op == "GRU" || op == "RNN" || op == "DynamicQuantizeLSTM";
}

/// Points into the bytes of the file.
struct OnnxGraph {
  std::vector<OnnxPort> inputs;  ///< without those that have an initialiser
  std::vector<OnnxPort> outputs;
  std::vector<OnnxNode> nodes;
  std::vector<OnnxNode> function_nodes;  ///< of model-local functions
  std::set<std::string_view> functions;  ///< and the names of these
  std::map<std::string_view, OnnxTensor> initializers;
  std::map<std::string, std::vector<std::int64_t>, std::less<>> shapes;  ///< stated for values inside
  std::map<std::string, std::string> metadata;
  std::string producer;
};

/// Throws `Error` (bad_artifact) where the bytes are damaged.
[[nodiscard]] OnnxGraph read_onnx_graph(std::span<const std::byte> bytes);

/// `start` and everything that is found from it; `push_neighbours(value, push)` calls `push` for each next value.
template <class PushNeighbours>
[[nodiscard]] std::set<std::string_view> reached(std::string_view start, const PushNeighbours& push_neighbours) {
  std::set<std::string_view> seen;
  std::vector<std::string_view> open;
  const auto push = [&](std::string_view value) {
    // An operand that is left out has an empty name.
    if (!value.empty() && seen.insert(value).second) open.push_back(value);
  };
  push(start);
  while (!open.empty()) {
    const std::string_view here = open.back();
    open.pop_back();
    push_neighbours(here, push);
  }
  return seen;
}

/// Which node makes a value, and who uses it.
class OnnxFlow {
 public:
  explicit OnnxFlow(const OnnxGraph& graph);
  [[nodiscard]] const OnnxNode* maker(std::string_view value) const;
  [[nodiscard]] const std::vector<const OnnxNode*>& users(std::string_view value) const;
  /// The nodes of the graph, each behind those that it needs.
  [[nodiscard]] const std::vector<const OnnxNode*>& order() const { return order_; }
  /// The value that `value` is a copy of, by way of Identity; itself where it is none.
  [[nodiscard]] std::string_view origin(std::string_view value) const;
  /// The tensor of that name, in an initialiser or a Constant node, also through Identity; null for anything else.
  [[nodiscard]] const OnnxTensor* constant(const OnnxGraph& graph, std::string_view name) const;
  /// Size of the last axis of `value`, from the weights that it is computed with, where the file does not state it.
  [[nodiscard]] std::optional<std::int64_t> last_axis(const OnnxGraph& graph, std::string_view value) const;

 private:
  std::map<std::string_view, const OnnxNode*> makers_;
  std::map<std::string_view, std::vector<const OnnxNode*>> users_;
  std::vector<const OnnxNode*> order_;
};

}  // namespace ganglion::detail
