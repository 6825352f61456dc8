// A TorchScript file (a ZIP): enough of it to find the contract and to hash the rest.

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "ganglion/error.hpp"
#include "io/artifact.hpp"
#include "io/bytes.hpp"
#include "io/sha256.hpp"
#include "io/torchscript_code.hpp"
#include "io/words.hpp"
#include "io/zip.hpp"

namespace ganglion::detail {

namespace {

[[noreturn]] void refuse_archive(const std::string& why) {
  throw Error(ErrorCode::bad_artifact,
              "the TorchScript archive is truncated or damaged: " + why + "; export or copy the file again");
}

/// torch.jit.save compresses the program's text and stores the rest.
ZipMembers read_members(std::span<const std::byte> bytes) { return read_zip(bytes, "the TorchScript archive"); }

constexpr std::uint64_t most_code = std::uint64_t{64} << 20U;  // bytes, unpacked

/// A member as it is read by PyTorch; `left` is what may still be unpacked.
std::string unpacked(const std::string& name, const ZipMember& member, std::uint64_t& left) {
  if (member.size > left) refuse_archive("its program is larger than " + std::to_string(most_code >> 20U) + " MiB");
  left -= member.size;
  std::optional<std::string> text = member.unpacked();
  if (!text) refuse_archive("member '" + name + "' cannot be unpacked");
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

void check_archive(std::span<const std::byte> bytes) {
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
  naming(name, [bytes] { check_archive(bytes); });
}

ContractRecord read_torchscript(std::span<const std::byte> bytes) {
  const ZipMembers members = read_members(bytes);
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
      if (record.json) refuse_archive("it has two contracts");
      if (member.method != 0) refuse_archive("its contract is compressed; it must be stored");
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
