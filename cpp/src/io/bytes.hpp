#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::detail {

/// Files beyond this size are refused: no policy for a robot is that large.
inline constexpr std::uint64_t largest_file = std::uint64_t{2} << 30;

/// A whole file in memory, read once. Throws `Error` (file_not_found, bad_artifact) naming the path; devices, pipes,
/// directories and files of more than `limit` bytes are refused before a byte is read.
[[nodiscard]] std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t limit = largest_file);

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// Walks over bytes of unknown honesty: every read is checked against the end.
class ByteReader {
 public:
  /// `what` names the thing being read, for the sentence of the `Error` (bad_artifact) thrown at the end of the bytes.
  ByteReader(std::span<const std::byte> bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  [[nodiscard]] bool at_end() const { return position_ == bytes_.size(); }
  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::span<const std::byte> take(std::uint64_t count);
  [[nodiscard]] std::uint64_t little_endian(std::size_t width);
  [[nodiscard]] std::uint64_t varint();  ///< a protobuf base-128 number

 private:
  std::span<const std::byte> bytes_;
  std::string what_;
  std::size_t position_ = 0;
};

}  // namespace ganglion::detail
