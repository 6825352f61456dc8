// Outputs that nothing in a graph makes: ML-Agents leaves their names behind, and ONNX Runtime refuses a file with one.

#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "io/onnx/protobuf.hpp"
#include "io/onnx/reading.hpp"

namespace ganglion::detail {

namespace {

// Field numbers of onnx.GraphProto, NodeProto, ValueInfoProto, TensorProto, SparseTensorProto.
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

struct Range {
  std::size_t begin;
  std::size_t end;
};

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

/// Where the outputs lie in a graph that nothing makes; nowhere where those would be all.
std::vector<Range> outputs_of_nothing(std::span<const std::byte> graph) {
  const std::set<std::string_view> known = values_of(graph);
  std::vector<Range> found;
  bool has_others = false;
  ProtoReader reader(graph, "the ONNX graph");
  for (ProtoField field; reader.next(field);) {
    if (field.number != field_output) continue;
    bool is_made = false;
    each(field.payload, field_value_name,
         [&](std::span<const std::byte> name) { is_made = known.contains(as_text(name)); });
    has_others = has_others || is_made;
    if (!is_made) found.push_back({field.begin, reader.position()});
  }
  return has_others ? found : std::vector<Range>();
}

void append(std::vector<std::byte>& bytes, std::span<const std::byte> more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

void append_varint(std::vector<std::byte>& bytes, std::uint64_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<std::byte>((value & 127) | 128));
  bytes.push_back(static_cast<std::byte>(value));
}

}  // namespace

void drop_outputs_of_nothing(std::vector<std::byte>& model) {
  std::vector<std::byte> changed;
  std::size_t kept = 0;  // so much of the model is in `changed`
  ProtoReader reader(model, "the ONNX model");
  for (ProtoField field; reader.next(field);) {
    if (field.number != field_graph) continue;
    const std::vector<Range> dropped = outputs_of_nothing(field.payload);
    if (dropped.empty()) continue;
    std::size_t size = field.payload.size();
    for (const Range range : dropped) size -= range.end - range.begin;
    append(changed, std::span(model).subspan(kept, field.begin - kept));
    append_varint(changed, (field_graph << 3) | wire_bytes);
    append_varint(changed, size);
    std::size_t at = 0;
    for (const Range range : dropped) {
      append(changed, field.payload.subspan(at, range.begin - at));
      at = range.end;
    }
    append(changed, field.payload.subspan(at));
    kept = reader.position();
  }
  if (kept == 0) return;
  append(changed, std::span(model).subspan(kept));
  model = std::move(changed);
}

}  // namespace ganglion::detail
