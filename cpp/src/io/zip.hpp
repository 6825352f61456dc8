#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

namespace ganglion::detail {

/// A member of a ZIP archive as it lies there.
struct ZipMember {
  std::span<const std::byte> bytes;
  std::uint64_t method = 0;  ///< 0 stored, 8 deflated
  std::uint64_t size = 0;    ///< unpacked
  std::uint32_t crc32 = 0;   ///< unpacked; not checked here

  /// None where it is damaged, or packed in another way; nothing is allocated beyond `size`.
  [[nodiscard]] std::optional<std::string> unpacked() const;
};

using ZipMembers = std::map<std::string, ZipMember, std::less<>>;

/// The members of an archive by name; they point into `bytes`. `what` is what an error calls it. Throws `Error`
/// (bad_artifact).
[[nodiscard]] ZipMembers read_zip(std::span<const std::byte> bytes, const std::string& what);

}  // namespace ganglion::detail
