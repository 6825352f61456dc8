#pragma once

#include <cstddef>
#include <span>

namespace ganglion::detail {

// What a trainer's checkpoint is, in the words of an error: weights, which have to be exported before they run. Null
// for any other file.
const char* checkpoint_kind(std::span<const std::byte> bytes);

}  // namespace ganglion::detail
