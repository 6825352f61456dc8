// The directory of a TorchScript file (a ZIP): enough to find the contract and to hash the rest.

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "ganglion/error.hpp"
#include "io/artifact.hpp"
#include "io/bytes.hpp"
#include "io/inflate.hpp"
#include "io/sha256.hpp"
#include "io/torchscript_code.hpp"
#include "io/words.hpp"

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

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::bad_artifact,
              "the TorchScript archive is truncated or damaged: " + why + "; export or copy the file again");
}

ByteReader reader_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  ByteReader reader(bytes, "the TorchScript archive");
  static_cast<void>(reader.take(offset));
  return reader;
}

void expect(ByteReader& reader, std::uint64_t signature, const char* what) {
  if (reader.little_endian(4) != signature) refuse(std::string("no ") + what + " where one should be");
}

struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t offset = 0;
};

Directory find_directory(std::span<const std::byte> bytes) {
  // The end record is last in the file; a comment of at most 65,535 bytes may follow it.
  const std::size_t lowest = bytes.size() > end_record_size + 0xFFFF ? bytes.size() - end_record_size - 0xFFFF : 0;
  for (std::size_t position = bytes.size() < end_record_size ? 0 : bytes.size() - end_record_size + 1;
       position-- > lowest;) {
    ByteReader reader = reader_at(bytes, position);
    if (reader.little_endian(4) != end_record) continue;
    static_cast<void>(reader.take(6));
    Directory directory{reader.little_endian(2), 0};
    static_cast<void>(reader.take(4));
    directory.offset = reader.little_endian(4);
    const bool is_zip64 = directory.entries == 0xFFFF || directory.offset == in_zip64;
    if (!is_zip64) return directory;

    if (position < zip64_locator_size) refuse("its ZIP64 locator is missing");
    ByteReader locator = reader_at(bytes, position - zip64_locator_size);
    expect(locator, zip64_locator, "ZIP64 locator");
    static_cast<void>(locator.take(4));
    ByteReader end = reader_at(bytes, locator.little_endian(8));
    expect(end, zip64_end_record, "ZIP64 end record");
    static_cast<void>(end.take(28));
    directory.entries = end.little_endian(8);
    static_cast<void>(end.take(8));
    directory.offset = end.little_endian(8);
    return directory;
  }
  refuse("its directory is missing");
}

// Replaces the sizes and the offset that a central entry keeps in its ZIP64 extra field.
void apply_zip64(std::span<const std::byte> extra, const std::array<std::uint64_t*, 3>& values) {
  ByteReader reader(extra, "the TorchScript archive's directory");
  while (!reader.at_end()) {
    const std::uint64_t id = reader.little_endian(2);
    ByteReader field(reader.take(reader.little_endian(2)), "the TorchScript archive's ZIP64 field");
    if (id != 1) continue;
    for (std::uint64_t* value : values) {
      if (*value == in_zip64) *value = field.little_endian(8);
    }
  }
}

/// The bytes of a member as they lie in the archive. torch.jit.save compresses the program's text and stores the rest.
struct Member {
  std::span<const std::byte> bytes;
  bool compressed;
  std::uint64_t size;  ///< unpacked
};

using Members = std::map<std::string, Member, std::less<>>;

Members read_members(std::span<const std::byte> bytes) {
  const Directory directory = find_directory(bytes);
  ByteReader reader = reader_at(bytes, directory.offset);
  Members members;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    expect(reader, central_header, "directory entry");
    static_cast<void>(reader.take(6));
    const std::uint64_t method = reader.little_endian(2);
    static_cast<void>(reader.take(8));
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
    ByteReader local = reader_at(bytes, offset);
    expect(local, local_header, "member header");
    static_cast<void>(local.take(22));
    const std::uint64_t local_name_length = local.little_endian(2);
    const std::uint64_t local_extra_length = local.little_endian(2);
    static_cast<void>(local.take(local_name_length + local_extra_length));
    if (!members.emplace(name, Member{local.take(stored), method != 0, size}).second)
      refuse("member '" + name + "' is there twice");
  }
  return members;
}

constexpr std::uint64_t most_code = std::uint64_t{64} << 20U;  // bytes, unpacked

/// A member as it is read by PyTorch; `left` is what may still be unpacked.
std::string unpacked(const std::string& name, const Member& member, std::uint64_t& left) {
  if (member.size > left) refuse("its program is larger than " + std::to_string(most_code >> 20U) + " MiB");
  left -= member.size;
  if (!member.compressed) return std::string(as_text(member.bytes));
  std::optional<std::string> text = inflate(member.bytes, static_cast<std::size_t>(member.size));
  if (!text) refuse("member '" + name + "' cannot be unpacked");
  return std::move(*text);
}

/// PyTorch finds members without regard to case.
std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

[[noreturn]] void refuse_to_run(const std::string& what) {
  throw Error(ErrorCode::bad_artifact,
              "its program has " + what +
                  ", which is not on the list of what a policy needs: tensors, numbers, strings. A .pt file is a "
                  "program that may do all that you may, and nothing of it was run; where you trust its author, say so "
                  "(--trust, trust=True)");
}

/// A pickle makes objects of the file's own classes, whose code was looked at, or of C++ classes.
void check_classes(const std::string& name, std::string_view pickle) {
  constexpr std::string_view classes = "torch.classes.";
  for (std::size_t at = pickle.find(classes); at != std::string_view::npos; at = pickle.find(classes, at + 1)) {
    const std::string_view rest = pickle.substr(at + classes.size());
    const std::string_view space = rest.substr(0, rest.find_first_of(".\n"));
    if (!is_known_class(space))
      refuse_to_run("the C++ classes 'torch.classes." + std::string(space) + "' (" + name + ")");
  }
}

void check_program(std::span<const std::byte> bytes) {
  std::map<std::string, std::string> code;
  std::uint64_t left = most_code;
  for (const auto& [name, member] : read_members(bytes)) {
    const std::string found = lower_case(name);
    if (found.ends_with(".pkl")) check_classes(name, unpacked(name, member, left));
    if (found.ends_with(".py") && found.find("/code/") != std::string::npos) code[name] = unpacked(name, member, left);
  }
  const TorchScriptCode program(code);
  if (program.stranger()) refuse_to_run(*program.stranger());
}

}  // namespace

void check_torchscript_program(std::span<const std::byte> bytes, const std::string& name) {
  naming(name, [bytes] { check_program(bytes); });
}

ContractRecord read_torchscript(std::span<const std::byte> bytes) {
  const Members members = read_members(bytes);
  const auto has = [&members](std::string_view part) {
    return std::any_of(members.begin(), members.end(),
                       [part](const auto& member) { return member.first.find(part) != std::string::npos; });
  };
  if (!has("/data.pkl")) {
    throw Error(ErrorCode::bad_artifact,
                "the content is a ZIP archive but not a TorchScript one; write it with torch.jit.save or "
                "ganglion.export");
  }
  if (!has("/code/")) {
    throw Error(ErrorCode::bad_artifact,
                "the content is a checkpoint (torch.save), which holds weights but no program; export the policy "
                "with ganglion.export");
  }
  ContractRecord record;
  Sha256 digest;
  for (const auto& [name, member] : members) {
    if (name.ends_with("/extra/ganglion.json")) {
      if (record.json) refuse("it has two contracts");
      if (member.compressed) refuse("its contract is compressed; it must be stored");
      record.json = std::string(as_text(member.bytes));
      continue;
    }
    // The identifier covers the extra files too, so it changes when the contract is added.
    if (name.ends_with("/.data/serialization_id")) continue;
    std::array<std::byte, 8> length{};
    for (std::size_t i = 0; i < 8; ++i)
      length[i] = static_cast<std::byte>(std::uint64_t{member.bytes.size()} >> (8 * i));
    digest.update(as_bytes(name));
    digest.update(length);
    digest.update(member.bytes);
  }
  record.sha256 = digest.hex_digest();
  return record;
}

}  // namespace ganglion::detail
