#include "io/onnx/protobuf.hpp"

#include "ganglion/error.hpp"

namespace ganglion::detail {

bool ProtoReader::next(ProtoField& field) {
  if (reader_.at_end()) return false;
  field = {};
  field.begin = reader_.position();
  const std::uint64_t tag = reader_.varint();
  field.number = tag >> 3;
  switch (tag & 7U) {
    case 0:
      field.value = reader_.varint();
      break;
    case 1:
      field.payload = reader_.take(8);
      break;
    case 2:
      field.payload = reader_.take(reader_.varint());
      break;
    case 5:
      field.payload = reader_.take(4);
      break;
    default:
      throw Error(ErrorCode::bad_artifact,
                  "the content is not an ONNX model: unknown field type at byte " + std::to_string(reader_.position()));
  }
  if (field.number == 0) throw Error(ErrorCode::bad_artifact, "the content is not an ONNX model: field number 0");
  return true;
}

}  // namespace ganglion::detail
