#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "flight/mcap/records.hpp"

namespace ganglion::flight {

/// A file of records that only grows, and is whole at any moment: behind what it has stands a spare record, which
/// readers skip, and behind that an end. The next piece is written inside the spare one, but for its own opcode and
/// length; these, written last, make it a record, and what is left of the room is a spare record again. Everything
/// throws `Error` (recording_failed) with a sentence that names the path.
class GrowingFile {
 public:
  /// Makes the file, with what every file begins with and with the end that it has as long as it grows; one that is
  /// there already is refused (bad_option), or replaced.
  GrowingFile(std::filesystem::path path, bool overwrite, std::span<const std::byte> begin, Bytes end);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  /// Writes a piece of whole records behind what is there. Killed in between, the file is what it was before, or what
  /// it is afterwards.
  void append(std::span<const std::byte> piece);
  /// The last piece, which is the end of the file, too.
  void finish(std::span<const std::byte> piece);
  void read(std::uint64_t offset, std::span<std::byte> into) const;
  /// Hands it to the disk.
  void sync() const;
  /// A sentence where the path is another file now, or none; else empty.
  [[nodiscard]] std::string astray() const;
  /// Takes the place of another file.
  void rename_to(const std::filesystem::path& path);
  void remove() const noexcept;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Without spare record and end.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  /// Makes the spare record large enough. Between its two writes there are two ends, of which the first one holds.
  void make_room(std::size_t bytes);
  /// Into the room, and then into its place.
  void take_room(std::span<const std::byte> piece);
  [[nodiscard]] std::uint64_t end_at(std::uint64_t room) const noexcept { return size_ + record_prefix + room; }
  void write(std::span<const std::byte> bytes, std::uint64_t offset);
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int file_ = -1;
  Bytes end_;
  std::uint64_t size_ = 0;
  std::uint64_t room_ = 0;  ///< bytes in the spare record
};

}  // namespace ganglion::flight
