#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ganglion/realtime.hpp"

namespace ganglion::realtime {

/// XXH64 with the seed 0 (Collet 2012, "xxHash fast digest algorithm", version 0.1.1): a digest against accidents, fast
/// enough for the loop.
[[nodiscard]] std::uint64_t xxh64(std::span<const std::byte> bytes) noexcept GANGLION_NONBLOCKING;

}  // namespace ganglion::realtime
