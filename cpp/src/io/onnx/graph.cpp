#include "io/onnx/graph.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "ganglion/error.hpp"
#include "io/onnx/protobuf.hpp"

namespace ganglion::detail {

namespace {

// Inner graphs inside inner graphs; deeper nesting is damage.
constexpr int deepest_graph = 16;

/// How much a model may hold beside its weights: a message of two bytes becomes an object of hundreds.
class Budget {
 public:
  void take() {
    if (++taken_ > most) {
      throw Error(ErrorCode::bad_artifact, "the ONNX model has more than " + std::to_string(most) +
                                               " nodes, names, attributes and tensors together; no policy for a robot "
                                               "is that large");
    }
  }

 private:
  static constexpr std::size_t most = std::size_t{1} << 20;
  std::size_t taken_ = 0;
};

// Field numbers of onnx.proto3 are written where they are used, with the message's name before them.

void read_entry(std::span<const std::byte> message, std::string& key, std::string& value) {
  ProtoReader reader(message, "the ONNX model's metadata");
  for (ProtoField field; reader.next(field);) {  // StringStringEntryProto
    if (field.number == 1) key = field.text();
    if (field.number == 2) value = field.text();
  }
}

void read_dims(const ProtoField& field, std::vector<std::int64_t>& dims) {
  if (field.payload.empty()) {
    dims.push_back(static_cast<std::int64_t>(field.value));
    return;
  }
  ByteReader packed(field.payload, "a tensor of the ONNX model");
  while (!packed.at_end()) dims.push_back(static_cast<std::int64_t>(packed.varint()));
}

OnnxTensor read_tensor(std::span<const std::byte> message, std::string_view& name) {
  OnnxTensor tensor;
  bool is_external = false;
  std::string location;
  ProtoReader reader(message, "a tensor of the ONNX model");
  for (ProtoField field; reader.next(field);) {  // TensorProto
    if (field.number == 1) read_dims(field, tensor.dims);
    if (field.number == 2) tensor.type = static_cast<OnnxType>(std::min<std::uint64_t>(field.value, 255));
    // float_data, int32_data, double_data (all packed) or raw_data: of floats, and of one boolean, the same bytes.
    if (field.number == 4 || field.number == 5 || field.number == 9 || field.number == 10) tensor.data = field.payload;
    if (field.number == 8) name = field.text();
    if (field.number == 13) {
      std::string key;
      std::string value;
      read_entry(field.payload, key, value);
      if (key == "location") location = value;
    }
    if (field.number == 14) is_external = field.value == 1;
  }
  if (is_external) tensor.file = location;
  return tensor;
}

OnnxPort read_port(std::span<const std::byte> message) {
  OnnxPort port;
  ProtoReader info(message, "an input or output of the ONNX model");
  for (ProtoField field; info.next(field);) {  // ValueInfoProto
    if (field.number == 1) port.name = field.text();
    if (field.number != 2) continue;
    ProtoReader types(field.payload, "the type of an input or output");
    for (ProtoField type; types.next(type);) {  // TypeProto
      if (type.number != 1) continue;
      ProtoReader tensors(type.payload, "the type of an input or output");
      for (ProtoField part; tensors.next(part);) {  // TypeProto.Tensor
        if (part.number == 1) port.type = static_cast<OnnxType>(std::min<std::uint64_t>(part.value, 255));
        if (part.number != 2) continue;
        port.has_shape = true;
        ProtoReader shape(part.payload, "the shape of an input or output");
        for (ProtoField axis; shape.next(axis);) {  // TensorShapeProto
          if (axis.number != 1) continue;
          std::int64_t size = -1;
          std::string_view symbol;
          ProtoReader dimension(axis.payload, "the shape of an input or output");
          for (ProtoField entry; dimension.next(entry);) {  // TensorShapeProto.Dimension
            if (entry.number == 1) size = static_cast<std::int64_t>(entry.value);
            if (entry.number == 2) symbol = entry.text();
          }
          port.shape.push_back(size);
          port.symbols.emplace_back(symbol);
        }
      }
    }
  }
  return port;
}

// NOLINTBEGIN(misc-no-recursion): graphs nest inside attributes of nodes; `deepest_graph` bounds it.
OnnxNode read_node(std::span<const std::byte> message, int depth, Budget& budget);

/// Adds the nodes of an inner graph, and to the node's own inputs what they take from outside.
void read_inner(std::span<const std::byte> message, int depth, Budget& budget, OnnxNode& node) {
  if (depth > deepest_graph) throw Error(ErrorCode::bad_artifact, "the ONNX model nests its graphs too deeply");
  std::set<std::string_view> made;
  const std::size_t first = node.inner.size();
  ProtoReader reader(message, "an inner graph of the ONNX model");
  for (ProtoField field; reader.next(field);) {  // GraphProto
    if (field.number != 1) continue;
    node.inner.push_back(read_node(field.payload, depth + 1, budget));
    made.insert(node.inner.back().outputs.begin(), node.inner.back().outputs.end());
  }
  for (std::size_t i = first; i < node.inner.size(); ++i) {
    for (const std::string_view input : node.inner[i].inputs) {
      if (!made.contains(input)) node.inputs.push_back(input);
    }
  }
}

void read_attribute(std::span<const std::byte> message, int depth, Budget& budget, OnnxNode& node) {
  budget.take();
  std::string_view name;
  ProtoReader reader(message, "an attribute of the ONNX model");
  for (ProtoField field; reader.next(field);) {  // AttributeProto
    if (field.number == 1) name = field.text();
    if (field.number == 3) node.integers[name] = static_cast<std::int64_t>(field.value);
    if (field.number == 5 && name == "value") {
      std::string_view unused;
      node.value = read_tensor(field.payload, unused);
    }
    if (field.number == 6 || field.number == 11) read_inner(field.payload, depth, budget, node);
  }
}

OnnxNode read_node(std::span<const std::byte> message, int depth, Budget& budget) {
  budget.take();
  OnnxNode node;
  ProtoReader reader(message, "a node of the ONNX model");
  for (ProtoField field; reader.next(field);) {  // NodeProto
    if (field.number == 1 || field.number == 2) budget.take();
    if (field.number == 1) node.inputs.push_back(field.text());
    if (field.number == 2) node.outputs.push_back(field.text());
    if (field.number == 3) node.name = field.text();
    if (field.number == 4) node.op = field.text();
    if (field.number == 5) read_attribute(field.payload, depth, budget, node);
  }
  return node;
}
// NOLINTEND(misc-no-recursion)

void read_graph(std::span<const std::byte> message, Budget& budget, OnnxGraph& graph) {
  ProtoReader reader(message, "the graph of the ONNX model");
  for (ProtoField field; reader.next(field);) {  // GraphProto
    budget.take();
    if (field.number == 1) graph.nodes.push_back(read_node(field.payload, 0, budget));
    if (field.number == 5) {
      std::string_view name;
      OnnxTensor tensor = read_tensor(field.payload, name);
      graph.initializers.insert_or_assign(name, std::move(tensor));
    }
    if (field.number == 11) graph.inputs.push_back(read_port(field.payload));
    if (field.number == 12) graph.outputs.push_back(read_port(field.payload));
    if (field.number == 13) {
      OnnxPort value = read_port(field.payload);
      if (value.has_shape) graph.shapes.insert_or_assign(std::move(value.name), std::move(value.shape));
    }
  }
  // Before IR version 4 every initialiser was listed among the inputs, too.
  std::erase_if(graph.inputs, [&](const OnnxPort& port) { return graph.initializers.contains(port.name); });
}

}  // namespace

std::string to_string(OnnxType type) {
  // The enumeration TensorProto.DataType of onnx.proto, in its order.
  constexpr std::array names{"no type",        "float32",    "uint8",          "int8",       "uint16",   "int16",
                             "int32",          "int64",      "string",         "bool",       "float16",  "float64",
                             "uint32",         "uint64",     "complex64",      "complex128", "bfloat16", "float8e4m3fn",
                             "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4",      "int4",     "float4e2m1"};
  const auto number = static_cast<std::size_t>(type);
  return number < names.size() ? names[number] : "type " + std::to_string(number);
}

std::optional<std::vector<double>> OnnxTensor::values() const {
  std::size_t width = 0;
  if (type == OnnxType::float32) width = sizeof(float);
  if (type == OnnxType::float64) width = sizeof(double);
  if (width == 0 || file || data.size() % width != 0) return std::nullopt;
  std::vector<double> elements(data.size() / width);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (width == sizeof(double)) {
      std::memcpy(&elements[i], data.data() + i * width, width);
    } else {
      float element = 0.0F;
      std::memcpy(&element, data.data() + i * width, width);
      elements[i] = element;
    }
  }
  return elements;
}

bool OnnxTensor::is_zero() const {
  return !file && !data.empty() && std::all_of(data.begin(), data.end(), [](std::byte b) { return b == std::byte{0}; });
}

bool OnnxTensor::is_true() const {
  return type == OnnxType::boolean && !file && !data.empty() && data.front() != std::byte{0};
}

OnnxGraph read_onnx_graph(std::span<const std::byte> bytes) {
  OnnxGraph graph;
  Budget budget;
  ProtoReader reader(bytes, "the ONNX model");
  for (ProtoField field; reader.next(field);) {  // ModelProto
    budget.take();
    if (field.number == 2) graph.producer = field.text();
    if (field.number == 7) read_graph(field.payload, budget, graph);
    if (field.number == 14) {
      std::string key;
      std::string value;
      read_entry(field.payload, key, value);
      graph.metadata[key] = value;
    }
    if (field.number == 25) {
      ProtoReader function(field.payload, "a function of the ONNX model");
      for (ProtoField part; function.next(part);) {  // FunctionProto
        if (part.number == 1) graph.functions.insert(part.text());
        if (part.number == 7) graph.function_nodes.push_back(read_node(part.payload, 0, budget));
      }
    }
  }
  return graph;
}

OnnxFlow::OnnxFlow(const OnnxGraph& graph) {
  for (const OnnxNode& node : graph.nodes) {
    for (const std::string_view output : node.outputs) makers_[output] = &node;
    for (const std::string_view input : node.inputs) {
      if (!input.empty()) users_[input].push_back(&node);
    }
  }
  // A node is ready when all that it waits for is made.
  std::map<const OnnxNode*, std::size_t> waits;
  for (const OnnxNode& node : graph.nodes) {
    const auto is_made = [this](std::string_view input) { return maker(input) != nullptr; };
    waits[&node] = static_cast<std::size_t>(std::count_if(node.inputs.begin(), node.inputs.end(), is_made));
    if (waits[&node] == 0) order_.push_back(&node);
  }
  for (std::size_t next = 0; next < order_.size(); ++next) {
    const OnnxNode* const made = order_[next];
    for (const std::string_view output : made->outputs) {
      if (maker(output) != made) continue;
      for (const OnnxNode* user : users(output)) {
        if (--waits[user] == 0) order_.push_back(user);
      }
    }
  }
  // Those in a circle, which no engine runs.
  for (const OnnxNode& node : graph.nodes) {
    if (waits[&node] != 0) order_.push_back(&node);
  }
}

const OnnxNode* OnnxFlow::maker(std::string_view value) const {
  const auto found = makers_.find(value);
  return found == makers_.end() ? nullptr : found->second;
}

const std::vector<const OnnxNode*>& OnnxFlow::users(std::string_view value) const {
  static const std::vector<const OnnxNode*> none;
  const auto found = users_.find(value);
  return found == users_.end() ? none : found->second;
}

std::string_view OnnxFlow::origin(std::string_view value) const {
  std::set<std::string_view> seen;
  for (const OnnxNode* node = maker(value); node != nullptr && node->op == "Identity" && !node->inputs.empty();) {
    if (!seen.insert(value).second) break;
    value = node->inputs[0];
    node = maker(value);
  }
  return value;
}

const OnnxTensor* OnnxFlow::constant(const OnnxGraph& graph, std::string_view name) const {
  name = origin(name);
  const auto stored = graph.initializers.find(name);
  if (stored != graph.initializers.end()) return &stored->second;
  const OnnxNode* node = maker(name);
  return node != nullptr && node->value ? &*node->value : nullptr;
}

std::optional<std::int64_t> OnnxFlow::last_axis(const OnnxGraph& graph, std::string_view value) const {
  const auto weight = [&](const OnnxNode& node, std::size_t operand) -> const OnnxTensor* {
    if (node.inputs.size() <= operand) return nullptr;
    const auto found = graph.initializers.find(node.inputs[operand]);
    return found == graph.initializers.end() || found->second.dims.empty() ? nullptr : &found->second;
  };
  // Elementwise operations and reshapes in front of a product keep its last axis.
  std::set<std::string_view> seen;
  while (seen.insert(value).second) {
    const OnnxNode* node = maker(value);
    if (node == nullptr || node->inputs.empty()) return std::nullopt;
    const OnnxTensor* second = weight(*node, 1);
    if (node->op == "MatMul" && second != nullptr) return second->dims.back();
    if (node->op == "Gemm" && second != nullptr && second->dims.size() == 2) {
      const auto transposed = node->integers.find("transB");
      return second->dims[transposed != node->integers.end() && transposed->second != 0 ? 0 : 1];
    }
    value = weight(*node, 0) == nullptr ? node->inputs[0] : node->inputs.back();
  }
  return std::nullopt;
}

}  // namespace ganglion::detail
