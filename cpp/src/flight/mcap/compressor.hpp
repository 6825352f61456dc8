#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

#include "flight/mcap/records.hpp"
#include "ganglion/flight_recorder.hpp"

namespace ganglion::flight {

/// What MCAP calls it: "", "zstd", "lz4".
[[nodiscard]] const char* name_of(Compression compression) noexcept;

/// A function that compresses a block, of the library that this machine has. Throws `Error` (engine_unavailable): it
/// has none; the function throws `Error` (recording_failed).
[[nodiscard]] std::function<Bytes(std::span<const std::byte>)> compressor(Compression compression);

/// A block as it was before. Throws `Error`: this machine has no library for it (engine_unavailable), or the block is
/// damaged, or packed in another way (bad_artifact).
[[nodiscard]] Bytes decompressed(std::string_view compression, std::span<const std::byte> block, std::size_t size);

}  // namespace ganglion::flight
