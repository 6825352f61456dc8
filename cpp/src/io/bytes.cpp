#include "io/bytes.hpp"

#include <fstream>
#include <system_error>

#include "ganglion/error.hpp"

namespace ganglion::detail {

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) {
    throw Error(ErrorCode::file_not_found, "'" + path.string() + "': no such file; check the path");
  }
  if (std::filesystem::is_directory(status)) {
    throw Error(ErrorCode::file_not_found,
                "'" + path.string() + "' is a directory; give the path of an artifact file inside it");
  }
  const auto size = std::filesystem::file_size(path, code);
  std::ifstream file(path, std::ios::binary);
  if (code || !file) {
    throw Error(ErrorCode::file_not_found, "'" + path.string() + "' cannot be read; check its permissions");
  }
  if (size == 0) {
    throw Error(ErrorCode::bad_artifact, "'" + path.string() + "' is empty; export the policy again");
  }
  std::vector<std::byte> bytes(size);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    throw Error(ErrorCode::bad_artifact, "'" + path.string() + "' could not be read to its end");
  }
  return bytes;
}

std::span<const std::byte> ByteReader::take(std::uint64_t count) {
  if (count > bytes_.size() - position_) {
    throw Error(ErrorCode::bad_artifact, what_ + " is truncated or damaged: " + std::to_string(count) +
                                             " bytes are announced at byte " + std::to_string(position_) +
                                             " but only " + std::to_string(bytes_.size() - position_) +
                                             " are there; export or copy the file again");
  }
  const auto piece = bytes_.subspan(position_, static_cast<std::size_t>(count));
  position_ += static_cast<std::size_t>(count);
  return piece;
}

std::uint64_t ByteReader::little_endian(std::size_t width) {
  const auto piece = take(width);
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;) value = (value << 8) | std::to_integer<std::uint64_t>(piece[i]);
  return value;
}

std::uint64_t ByteReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = std::to_integer<std::uint64_t>(take(1)[0]);
    value |= (byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  throw Error(ErrorCode::bad_artifact,
              what_ + " is damaged: a number before byte " + std::to_string(position_) + " has no end");
}

}  // namespace ganglion::detail
