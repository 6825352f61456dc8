#include "wiring/npz.hpp"

#include <cstdint>
#include <fstream>
#include <random>
#include <system_error>

#include "flight/mcap/crc32.hpp"
#include "ganglion/error.hpp"
#include "io/bytes.hpp"
#include "io/json.hpp"
#include "io/zip.hpp"

namespace ganglion::wiring {

namespace {

constexpr std::string_view suffix = ".npy";

std::uint32_t crc32_of(const std::string& text) { return flight::crc32(detail::as_bytes(text)); }

void put(std::string& to, std::uint64_t number, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) to += static_cast<char>((number >> (8 * i)) & 255U);
}

/// Signatures and field widths: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
class NpzWriter {
 public:
  explicit NpzWriter(std::ostream& to) : to_(to) {}

  void add(const std::string& name, const std::string& text) {
    const std::uint64_t offset = written_;
    const std::string fields = fields_of(name, text);
    std::string local;
    put(local, 0x04034b50, 4);
    write(local + fields + name);
    write(text);
    put(directory_, 0x02014b50, 4);
    put(directory_, 20, 2);
    directory_ += fields;
    directory_.append(2 + 2 + 2 + 4, '\0');  // no comment, disk 0, no attributes
    put(directory_, offset, 4);
    directory_ += name;
    ++entries_;
  }

  void finish() {
    const std::uint64_t offset = written_;
    write(directory_);
    std::string end;
    put(end, 0x06054b50, 4);
    put(end, 0, 2 + 2);
    put(end, entries_, 2);
    put(end, entries_, 2);
    put(end, directory_.size(), 4);
    put(end, offset, 4);
    put(end, 0, 2);
    write(end);
  }

  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  /// What stands in the header of a member and in its entry of the directory.
  static std::string fields_of(const std::string& name, const std::string& text) {
    std::string fields;
    put(fields, 20, 2);      // version 2.0
    put(fields, 0, 2 + 2);   // no flags, stored
    put(fields, 0, 2);       // midnight
    put(fields, 0x0021, 2);  // 1980-01-01: the same bytes every time
    put(fields, crc32_of(text), 4);
    put(fields, text.size(), 4);
    put(fields, text.size(), 4);
    put(fields, name.size(), 2);
    put(fields, 0, 2);
    return fields;
  }

  void write(const std::string& bytes) {
    to_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    written_ += bytes.size();
  }

  std::ostream& to_;
  std::string directory_;
  std::uint64_t written_ = 0;
  std::uint64_t entries_ = 0;
};

/// A file that is gone unless it took the place of another one.
class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& target)
      : target_(target),
        path_(target.parent_path() / ("." + target.stem().string() + "." + std::to_string(std::random_device{}()) +
                                      target.extension().string())) {}
  ~Temporary() {
    std::error_code ignored;
    if (!is_done_) std::filesystem::remove(path_, ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  void take_place(std::error_code& error) {
    std::filesystem::rename(path_, target_, error);
    is_done_ = !error;
  }

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
  bool is_done_ = false;
};

}  // namespace

Arrays read_npz(std::span<const std::byte> bytes) {
  Arrays arrays;
  std::uint64_t left = largest_recording;
  for (const auto& [name, member] : detail::read_zip(bytes, "the .npz archive")) {
    if (!name.ends_with(suffix)) continue;
    const std::string array = name.substr(0, name.size() - suffix.size());
    const std::string called = detail::text_of({"array '", array, "'"});
    const auto refuse = [&called](const std::string& why) {
      throw Error(ErrorCode::bad_artifact, detail::text_of({called, " ", why}));
    };
    if (member.size > left) refuse("is too large: up to " + std::to_string(largest_recording) + " bytes are read");
    left -= member.size;
    if (member.method != 0 && member.method != 8) {
      refuse("is packed by method " + std::to_string(member.method) + "; write the file with numpy.savez");
    }
    std::optional<std::string> text = member.unpacked();
    if (!text || crc32_of(*text) != member.crc32) {
      refuse("is damaged; copy or record the file again");
    } else {
      arrays.emplace(array, read_npy(std::move(*text), called));
    }
  }
  return arrays;
}

void write_npz(const std::filesystem::path& path, const Arrays& arrays) {
  const auto refuse = [&path](const std::string& why) {
    throw Error(ErrorCode::recording_failed, "'" + path.string() + "' cannot be written: " + why);
  };
  constexpr std::uint64_t most = 0xFFFFFFFF;  // without ZIP64
  std::uint64_t size = 0;
  for (const auto& [name, array] : arrays) size += array.text.size() + 2 * name.size() + 128;
  if (size > most) refuse("it would have more than 4 GiB; record fewer steps or robots");
  Temporary temporary(path);
  {
    std::ofstream file(temporary.path(), std::ios::binary | std::ios::trunc);
    NpzWriter writer(file);
    for (const auto& [name, array] : arrays) writer.add(name + std::string(suffix), array.text);
    writer.finish();
    file.close();
    if (!file) refuse("check that its folder is there, may be written to, and has room");
  }
  std::error_code error;
  temporary.take_place(error);
  if (error) refuse(error.message());
}

}  // namespace ganglion::wiring
