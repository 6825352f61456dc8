#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace ganglion::detail {

/// Unpacks a raw DEFLATE stream (RFC 1951) of a member of a ZIP archive.
///
/// None where the stream is damaged, or holds more or less than `size` bytes: nothing is allocated beyond that.
[[nodiscard]] std::optional<std::string> inflate(std::span<const std::byte> stream, std::size_t size);

}  // namespace ganglion::detail
