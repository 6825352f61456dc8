#pragma once

// Protobuf of unknown honesty, field by field.

#include "io/bytes.hpp"

namespace ganglion::detail {

constexpr std::uint64_t field_graph = 7;  ///< of onnx.ModelProto (onnx.proto3)

struct ProtoField {
  std::uint64_t number = 0;
  std::uint64_t value = 0;               ///< of a varint field
  std::span<const std::byte> payload{};  ///< of a length-delimited or fixed-width field
  std::size_t begin = 0;                 ///< where the field begins in its message

  [[nodiscard]] std::string_view text() const { return as_text(payload); }
};

/// The fields of one message, in the order of the file.
class ProtoReader {
 public:
  /// `what` names the message in the sentence of the `Error` (bad_artifact) that damage throws.
  ProtoReader(std::span<const std::byte> message, std::string_view what) : reader_(message, what) {}

  /// Reads the next field; false at the end of the message.
  [[nodiscard]] bool next(ProtoField& field);
  [[nodiscard]] std::size_t position() const { return reader_.position(); }

 private:
  ByteReader reader_;
};

}  // namespace ganglion::detail
