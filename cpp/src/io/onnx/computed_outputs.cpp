// Outputs that nothing in a graph makes: ML-Agents leaves their names behind, and ONNX Runtime refuses a file with one.

#include <algorithm>
#include <set>

#include "io/onnx/protobuf.hpp"
#include "io/onnx/reading.hpp"

namespace ganglion::detail {

namespace {

// Field numbers of onnx.ModelProto, GraphProto, NodeProto, ValueInfoProto, TensorProto, SparseTensorProto.
constexpr std::uint64_t field_graph = 7;
constexpr std::uint64_t field_node = 1;
constexpr std::uint64_t field_initializer = 5;
constexpr std::uint64_t field_input = 11;
constexpr std::uint64_t field_output = 12;
constexpr std::uint64_t field_sparse_initializer = 15;
constexpr std::uint64_t field_node_output = 2;
constexpr std::uint64_t field_value_name = 1;
constexpr std::uint64_t field_tensor_name = 8;
constexpr std::uint64_t field_sparse_values = 1;
constexpr unsigned wire_bytes = 2;

/// Calls `take` with what stands in the fields of that number.
template <class Take>
void each(std::span<const std::byte> message, std::uint64_t number, const Take& take) {
  ProtoReader reader(message, "the ONNX model");
  for (ProtoField field; reader.next(field);) {
    if (field.number == number) take(field.payload);
  }
}

std::set<std::string_view> values_of(std::span<const std::byte> graph) {
  std::set<std::string_view> names;
  const auto named = [&](std::span<const std::byte> text) { names.insert(as_text(text)); };
  ProtoReader reader(graph, "the ONNX graph");
  for (ProtoField field; reader.next(field);) {
    if (field.number == field_node) each(field.payload, field_node_output, named);
    if (field.number == field_initializer) each(field.payload, field_tensor_name, named);
    if (field.number == field_input) each(field.payload, field_value_name, named);
    if (field.number == field_sparse_initializer) {
      each(field.payload, field_sparse_values,
           [&](std::span<const std::byte> tensor) { each(tensor, field_tensor_name, named); });
    }
  }
  return names;
}

/// A graph without the outputs that nothing makes; unchanged where that would be all of them.
std::vector<std::byte> computed(std::span<const std::byte> graph) {
  const std::set<std::string_view> known = values_of(graph);
  std::vector<std::byte> kept;
  kept.reserve(graph.size());
  std::size_t outputs = 0;
  ProtoReader reader(graph, "the ONNX graph");
  for (ProtoField field; reader.next(field);) {
    bool is_made = true;
    if (field.number == field_output) {
      is_made = false;
      each(field.payload, field_value_name,
           [&](std::span<const std::byte> name) { is_made = known.contains(as_text(name)); });
      outputs += is_made ? 1 : 0;
    }
    const auto bytes = graph.subspan(field.begin, reader.position() - field.begin);
    if (is_made) kept.insert(kept.end(), bytes.begin(), bytes.end());
  }
  return outputs == 0 ? std::vector<std::byte>(graph.begin(), graph.end()) : kept;
}

void append_varint(std::vector<std::byte>& bytes, std::uint64_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<std::byte>((value & 127) | 128));
  bytes.push_back(static_cast<std::byte>(value));
}

}  // namespace

void drop_outputs_of_nothing(std::vector<std::byte>& model) {
  std::vector<std::byte> changed;
  bool is_changed = false;
  ProtoReader reader(model, "the ONNX model");
  for (ProtoField field; reader.next(field);) {
    const std::vector<std::byte> graph =
        field.number == field_graph ? computed(field.payload) : std::vector<std::byte>();
    if (field.number == field_graph && graph.size() != field.payload.size()) {
      is_changed = true;
      append_varint(changed, (field_graph << 3) | wire_bytes);
      append_varint(changed, graph.size());
      changed.insert(changed.end(), graph.begin(), graph.end());
    } else {
      const auto bytes = std::span(model).subspan(field.begin, reader.position() - field.begin);
      changed.insert(changed.end(), bytes.begin(), bytes.end());
    }
  }
  if (is_changed) model = std::move(changed);
}

}  // namespace ganglion::detail
