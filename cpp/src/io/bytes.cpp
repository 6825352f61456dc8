#include "io/bytes.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "ganglion/error.hpp"

namespace ganglion::detail {

namespace {

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  // Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
  explicit Descriptor(const std::filesystem::path& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t limit) {
  const std::string name = "'" + path.string() + "'";
  const auto refuse = [&](ErrorCode code, const std::string& why) { throw Error(code, name + why); };
  const Descriptor file(path);
  struct stat found{};
  if (file.number() < 0 || ::fstat(file.number(), &found) != 0) {
    const bool is_missing = errno == ENOENT || errno == ENOTDIR;
    refuse(ErrorCode::file_not_found,
           is_missing ? ": no such file; check the path" : " cannot be read; check its permissions");
  }
  // What was opened is what is looked at: the name may belong to another file by now.
  if (S_ISDIR(found.st_mode)) {
    refuse(ErrorCode::file_not_found, " is a directory; give the path of an artifact file inside it");
  }
  if (!S_ISREG(found.st_mode)) {
    refuse(ErrorCode::file_not_found, " is a device, a pipe or a socket; give the path of a file");
  }
  const auto size = static_cast<std::uint64_t>(found.st_size);
  if (size == 0) refuse(ErrorCode::bad_artifact, " is empty; export the policy again");
  if (size > limit) {
    refuse(ErrorCode::bad_artifact,
           " has " + std::to_string(size) + " bytes; files of up to " + std::to_string(limit) + " are read");
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::read(file.number(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) refuse(ErrorCode::bad_artifact, " could not be read to its end");
    done += static_cast<std::size_t>(count);
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
