#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace ganglion::flight {

/// A file that only grows, and is whole at any moment: behind what it has stands an end, which the next piece takes the
/// place of. Everything throws `Error` (recording_failed) with a sentence that names the path.
class GrowingFile {
 public:
  /// Makes the file; one that is there already is refused (bad_option), or replaced.
  GrowingFile(std::filesystem::path path, bool overwrite);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  /// Writes `piece` behind what is there, and `end` behind that. Killed in between, the file is what it was before, or
  /// what it is afterwards.
  void append(std::span<const std::byte> piece, std::span<const std::byte> end);
  void read(std::uint64_t offset, std::span<std::byte> into) const;
  /// Hands it to the disk.
  void sync() const;
  /// A sentence where the path is another file now, or none; else empty.
  [[nodiscard]] std::string astray() const;
  /// Takes the place of another file.
  void rename_to(const std::filesystem::path& path);
  void remove() const noexcept;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Without the end.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t size_with_end() const noexcept { return size_ + end_bytes_; }

 private:
  void write(std::span<const std::byte> bytes, std::uint64_t offset);
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
  std::size_t end_bytes_ = 0;
};

}  // namespace ganglion::flight
