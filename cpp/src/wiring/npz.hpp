#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "wiring/npy.hpp"

namespace ganglion::wiring {

/// Recordings beyond this size are refused, packed or unpacked: they are held in memory. The same in Python.
inline constexpr std::uint64_t largest_recording = std::uint64_t{8} << 30;

using Arrays = std::map<std::string, Npy, std::less<>>;

/// The arrays of a file of numpy.savez or savez_compressed. Throws `Error` (bad_artifact).
[[nodiscard]] Arrays read_npz(std::span<const std::byte> bytes);

/// Writes what numpy.load reads, beside `path`, and takes its place at the end. Throws `Error` (recording_failed).
void write_npz(const std::filesystem::path& path, const Arrays& arrays);

}  // namespace ganglion::wiring
