#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ganglion::flight {

/// CRC-32 as of zlib (ISO 3309); goes on from the one of the bytes before.
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

}  // namespace ganglion::flight
