#include "flight/mcap/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "ganglion/error.hpp"

namespace ganglion::flight {

namespace {

/// What is not used of it takes no place on the disk.
constexpr std::uint64_t smallest_room = std::uint64_t{4} << 20;

std::string reason(int error) { return std::generic_category().message(error); }

/// What stands before so many bytes that nobody reads.
Bytes spare(std::uint64_t bytes) {
  Bytes head;
  put_number(head, Opcode::spare);
  put_number(head, bytes);
  return head;
}

}  // namespace

GrowingFile::GrowingFile(std::filesystem::path path, bool overwrite, std::span<const std::byte> begin, Bytes end)
    : path_(std::move(path)), end_(std::move(end)) {
  // A file that somebody else has open, another recorder, is not written into: it gets a new one.
  if (overwrite && unlink(path_.c_str()) != 0 && errno != ENOENT) fail("cannot be replaced");
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file_ < 0 && errno == EEXIST) {
    throw Error(ErrorCode::bad_option, "'" + path_.string() +
                                           "' exists already; name another file, or let it be replaced with the option "
                                           "overwrite");
  }
  if (file_ < 0) fail("cannot be written");
  try {
    Bytes all(begin.begin(), begin.end());
    put(all, spare(smallest_room));
    write(end_, begin.size() + record_prefix + smallest_room);
    write(all, 0);
  } catch (...) {
    remove();
    ::close(file_);
    throw;
  }
  size_ = begin.size();
  room_ = smallest_room;
}

GrowingFile::~GrowingFile() {
  if (file_ >= 0) ::close(file_);
}

void GrowingFile::fail(const char* what) const {
  throw Error(ErrorCode::recording_failed, "'" + path_.string() + "' " + what + ": " + reason(errno));
}

void GrowingFile::write(std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      // The end that holds still stands where it was.
      if (size_ != 0) static_cast<void>(ftruncate(file_, static_cast<off_t>(end_at(room_) + end_.size())) == 0);
      errno = error;
      fail("cannot be written any more");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void GrowingFile::make_room(std::size_t bytes) {
  if (bytes <= room_) return;
  const std::uint64_t room = bytes + smallest_room;
  write(end_, end_at(room));
  write(std::as_bytes(std::span(&room, 1)), size_ + sizeof(Opcode));
  room_ = room;
}

void GrowingFile::take_room(std::span<const std::byte> piece) {
  write(piece.subspan(record_prefix), size_ + record_prefix);
  write(piece.first(record_prefix), size_);
  size_ += piece.size();
}

void GrowingFile::append(std::span<const std::byte> piece) {
  make_room(piece.size());
  write(spare(room_ - piece.size()), size_ + piece.size());
  take_room(piece);
  room_ -= piece.size();
}

void GrowingFile::finish(std::span<const std::byte> piece) {
  make_room(piece.size());
  take_room(piece);
  if (ftruncate(file_, static_cast<off_t>(size_)) != 0) fail("cannot be ended");
}

void GrowingFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t count = pread(file_, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) fail("cannot be read back");
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void GrowingFile::sync() const {
  if (fdatasync(file_) != 0 && errno != EINVAL) fail("cannot be written to the disk");
}

std::string GrowingFile::astray() const {
  struct stat own{};
  struct stat found{};
  if (fstat(file_, &own) != 0) return "'" + path_.string() + "' cannot be looked at: " + reason(errno);
  const bool is_there = stat(path_.c_str(), &found) == 0;
  if (is_there && own.st_dev == found.st_dev && own.st_ino == found.st_ino) return {};
  return "'" + path_.string() + "' was " + (is_there ? "replaced by another file" : "removed or moved away") +
         " while it was recorded";
}

void GrowingFile::rename_to(const std::filesystem::path& path) {
  if (::rename(path_.c_str(), path.c_str()) != 0) fail("cannot be renamed");
  path_ = path;
}

void GrowingFile::remove() const noexcept { ::unlink(path_.c_str()); }

}  // namespace ganglion::flight
