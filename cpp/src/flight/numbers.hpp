#pragma once

#include <cstdint>

#include "ganglion/realtime.hpp"

namespace ganglion::flight {

/// Nanoseconds from `begin` to `end`, which is not earlier; exact for all times that there are.
[[nodiscard]] constexpr double elapsed(std::int64_t begin, std::int64_t end) noexcept GANGLION_NONBLOCKING {
  return static_cast<double>(static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin));
}

/// Neither NaN nor infinite. A product with 0 is 0 for every other number.
[[nodiscard]] constexpr bool is_finite(float value) noexcept GANGLION_NONBLOCKING { return 0.0F * value == 0.0F; }

}  // namespace ganglion::flight
