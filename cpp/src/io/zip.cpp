#include "io/zip.hpp"

#include <array>

#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/inflate.hpp"

namespace ganglion::detail {

namespace {

// Signatures and field widths: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
constexpr std::uint64_t local_header = 0x04034b50;
constexpr std::uint64_t central_header = 0x02014b50;
constexpr std::uint64_t end_record = 0x06054b50;
constexpr std::uint64_t zip64_locator = 0x07064b50;
constexpr std::uint64_t zip64_end_record = 0x06064b50;
constexpr std::uint64_t in_zip64 = 0xFFFFFFFF;
constexpr std::size_t end_record_size = 22;
constexpr std::size_t zip64_locator_size = 20;

/// One archive, and what errors call it.
class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  [[nodiscard]] ZipMembers members() const {
    const Directory directory = find_directory();
    ByteReader reader = reader_at(directory.offset);
    ZipMembers members;
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      expect(reader, central_header, "directory entry");
      static_cast<void>(reader.take(6));
      const std::uint64_t method = reader.little_endian(2);
      static_cast<void>(reader.take(4));
      const auto crc32 = static_cast<std::uint32_t>(reader.little_endian(4));
      std::uint64_t stored = reader.little_endian(4);
      std::uint64_t size = reader.little_endian(4);
      const std::uint64_t name_length = reader.little_endian(2);
      const std::uint64_t extra_length = reader.little_endian(2);
      const std::uint64_t comment_length = reader.little_endian(2);
      static_cast<void>(reader.take(8));
      std::uint64_t offset = reader.little_endian(4);
      const std::string name(as_text(reader.take(name_length)));
      apply_zip64(reader.take(extra_length), {&size, &stored, &offset});
      static_cast<void>(reader.take(comment_length));
      ByteReader local = reader_at(offset);
      expect(local, local_header, "member header");
      static_cast<void>(local.take(22));
      const std::uint64_t local_name_length = local.little_endian(2);
      const std::uint64_t local_extra_length = local.little_endian(2);
      static_cast<void>(local.take(local_name_length + local_extra_length));
      if (!members.emplace(name, ZipMember{local.take(stored), method, size, crc32}).second)
        refuse("member '" + name + "' is there twice");
    }
    return members;
  }

 private:
  struct Directory {
    std::uint64_t entries = 0;
    std::uint64_t offset = 0;
  };

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::bad_artifact,
                what_ + " is truncated or damaged: " + why + "; export or copy the file again");
  }

  [[nodiscard]] ByteReader reader_at(std::uint64_t offset) const {
    ByteReader reader(bytes_, what_);
    static_cast<void>(reader.take(offset));
    return reader;
  }

  void expect(ByteReader& reader, std::uint64_t signature, const char* what) const {
    if (reader.little_endian(4) != signature) refuse(std::string("no ") + what + " where one should be");
  }

  [[nodiscard]] Directory find_directory() const {
    // The end record is last in the file; a comment of at most 65,535 bytes may follow it.
    const std::size_t size = bytes_.size();
    const std::size_t lowest = size > end_record_size + 0xFFFF ? size - end_record_size - 0xFFFF : 0;
    for (std::size_t position = size < end_record_size ? 0 : size - end_record_size + 1; position-- > lowest;) {
      ByteReader reader = reader_at(position);
      if (reader.little_endian(4) != end_record) continue;
      static_cast<void>(reader.take(6));
      Directory directory{reader.little_endian(2), 0};
      static_cast<void>(reader.take(4));
      directory.offset = reader.little_endian(4);
      const bool is_zip64 = directory.entries == 0xFFFF || directory.offset == in_zip64;
      if (!is_zip64) return directory;

      if (position < zip64_locator_size) refuse("its ZIP64 locator is missing");
      ByteReader locator = reader_at(position - zip64_locator_size);
      expect(locator, zip64_locator, "ZIP64 locator");
      static_cast<void>(locator.take(4));
      ByteReader end = reader_at(locator.little_endian(8));
      expect(end, zip64_end_record, "ZIP64 end record");
      static_cast<void>(end.take(28));
      directory.entries = end.little_endian(8);
      static_cast<void>(end.take(8));
      directory.offset = end.little_endian(8);
      return directory;
    }
    refuse("its directory is missing");
  }

  /// Replaces the sizes and the offset that a central entry keeps in its ZIP64 extra field.
  void apply_zip64(std::span<const std::byte> extra, const std::array<std::uint64_t*, 3>& values) const {
    ByteReader reader(extra, what_ + "'s directory");
    while (!reader.at_end()) {
      const std::uint64_t id = reader.little_endian(2);
      ByteReader field(reader.take(reader.little_endian(2)), what_ + "'s ZIP64 field");
      if (id != 1) continue;
      for (std::uint64_t* value : values) {
        if (*value == in_zip64) *value = field.little_endian(8);
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& what_;
};

}  // namespace

std::optional<std::string> ZipMember::unpacked() const {
  if (method == 8) return inflate(bytes, static_cast<std::size_t>(size));
  if (method != 0 || bytes.size() != size) return std::nullopt;
  return std::string(as_text(bytes));
}

ZipMembers read_zip(std::span<const std::byte> bytes, const std::string& what) {
  return Archive(bytes, what).members();
}

}  // namespace ganglion::detail
