#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::detail {

/// The bytes of Base64 (RFC 4648); line ends and spaces are passed over, and any other letter ends it.
[[nodiscard]] std::vector<std::uint8_t> from_base64(std::string_view text);

/// In groups of four letters, padded with '='.
[[nodiscard]] std::string to_base64(std::span<const std::uint8_t> bytes);

}  // namespace ganglion::detail
