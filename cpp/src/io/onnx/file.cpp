// The top level of an ONNX file: enough protobuf to find the contract and to hash the rest, with no model parsed.

#include "ganglion/error.hpp"
#include "io/artifact.hpp"
#include "io/onnx/protobuf.hpp"
#include "io/sha256.hpp"

namespace ganglion::detail {

namespace {

// Field numbers of onnx.ModelProto and onnx.StringStringEntryProto (onnx.proto3).
constexpr std::uint64_t field_ir_version = 1;
constexpr std::uint64_t field_metadata = 14;
constexpr std::uint64_t field_key = 1;
constexpr std::uint64_t field_value = 2;

}  // namespace

ContractRecord read_onnx(std::span<const std::byte> bytes) {
  ProtoReader reader(bytes, "the ONNX model");
  ContractRecord record;
  Sha256 digest;
  bool has_version = false;
  bool has_graph = false;
  for (ProtoField field; reader.next(field);) {
    has_version |= field.number == field_ir_version;
    has_graph |= field.number == field_graph && !field.payload.empty();
    if (field.number == field_metadata) {
      ProtoReader entry(field.payload, "the ONNX model's metadata");
      std::string_view key;
      std::string_view value;
      for (ProtoField part; entry.next(part);) {
        if (part.number == field_key) key = part.text();
        if (part.number == field_value) value = part.text();
      }
      if (key == "ganglion") {
        if (record.json) {
          throw Error(ErrorCode::bad_artifact,
                      "the ONNX model has two contracts in its metadata; export the policy again");
        }
        record.json = std::string(value);
        continue;
      }
    }
    digest.update(bytes.subspan(field.begin, reader.position() - field.begin));
  }
  if (!has_version || !has_graph) {
    throw Error(ErrorCode::bad_artifact, "the content is not an ONNX model: it has no graph; export the policy again");
  }
  record.sha256 = digest.hex_digest();
  return record;
}

}  // namespace ganglion::detail
