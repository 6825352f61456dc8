// The top level of an ONNX file: enough protobuf to find the contract and to hash the rest, with no model parsed.

#include "ganglion/error.hpp"
#include "io/artifact.hpp"
#include "io/bytes.hpp"
#include "io/sha256.hpp"

namespace ganglion::detail {

namespace {

// Field numbers of onnx.ModelProto and onnx.StringStringEntryProto (onnx.proto3).
constexpr std::uint64_t field_ir_version = 1;
constexpr std::uint64_t field_graph = 7;
constexpr std::uint64_t field_metadata = 14;
constexpr std::uint64_t field_key = 1;
constexpr std::uint64_t field_value = 2;

struct Field {
  std::uint64_t number = 0;
  std::span<const std::byte> payload;  ///< of a length-delimited field, else empty
};

Field next_field(ByteReader& reader) {
  const std::uint64_t tag = reader.varint();
  Field field{tag >> 3, {}};
  switch (tag & 7U) {
    case 0:
      static_cast<void>(reader.varint());
      break;
    case 1:
      static_cast<void>(reader.take(8));
      break;
    case 2:
      field.payload = reader.take(reader.varint());
      break;
    case 5:
      static_cast<void>(reader.take(4));
      break;
    default:
      throw Error(ErrorCode::bad_artifact,
                  "the content is not an ONNX model: unknown field type at byte " + std::to_string(reader.position()));
  }
  if (field.number == 0) throw Error(ErrorCode::bad_artifact, "the content is not an ONNX model: field number 0");
  return field;
}

}  // namespace

ContractRecord read_onnx(std::span<const std::byte> bytes) {
  ByteReader reader(bytes, "the ONNX model");
  ContractRecord record;
  Sha256 digest;
  bool has_version = false;
  bool has_graph = false;
  while (!reader.at_end()) {
    const std::size_t begin = reader.position();
    const Field field = next_field(reader);
    has_version |= field.number == field_ir_version;
    has_graph |= field.number == field_graph && !field.payload.empty();
    if (field.number == field_metadata) {
      ByteReader entry(field.payload, "the ONNX model's metadata");
      std::string_view key;
      std::string_view value;
      while (!entry.at_end()) {
        const Field part = next_field(entry);
        if (part.number == field_key) key = as_text(part.payload);
        if (part.number == field_value) value = as_text(part.payload);
      }
      if (key == "ganglion") {
        record.json = std::string(value);
        continue;
      }
    }
    digest.update(bytes.subspan(begin, reader.position() - begin));
  }
  if (!has_version || !has_graph) {
    throw Error(ErrorCode::bad_artifact, "the content is not an ONNX model: it has no graph; export the policy again");
  }
  record.sha256 = digest.hex_digest();
  return record;
}

}  // namespace ganglion::detail
