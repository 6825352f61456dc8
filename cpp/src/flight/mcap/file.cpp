#include "flight/mcap/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "ganglion/error.hpp"

namespace ganglion::flight {

namespace {

std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace

GrowingFile::GrowingFile(std::filesystem::path path, bool overwrite) : path_(std::move(path)) {
  // A file that somebody else has open, another recorder, is not written into: it gets a new one.
  if (overwrite && unlink(path_.c_str()) != 0 && errno != ENOENT) fail("cannot be replaced");
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file_ >= 0) return;
  if (errno == EEXIST) {
    throw Error(ErrorCode::bad_option, "'" + path_.string() +
                                           "' exists already; name another file, or let it be replaced with the option "
                                           "overwrite");
  }
  fail("cannot be written");
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
      // The old end still stands where it was.
      if (size_ != 0) static_cast<void>(ftruncate(file_, static_cast<off_t>(size_with_end())) == 0);
      errno = error;
      fail("cannot be written any more");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void GrowingFile::append(std::span<const std::byte> piece, std::span<const std::byte> end) {
  // The new end, then all between it and the old one, then, over the old one, the beginning: readers go from the front
  // to the first end, and look at the last bytes, which are one.
  const std::size_t first = std::min(end_bytes_, piece.size());
  if (first < end_bytes_ || end_bytes_ == 0) {
    std::vector<std::byte> both(piece.begin(), piece.end());
    both.insert(both.end(), end.begin(), end.end());
    write(both, size_);
  } else {
    write(end, size_ + piece.size());
    write(piece.subspan(first), size_ + first);
    write(piece.first(first), size_);
  }
  size_ += piece.size();
  end_bytes_ = end.size();
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
