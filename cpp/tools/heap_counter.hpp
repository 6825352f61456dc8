#pragma once

#include <cstdint>

namespace ganglion::tools {

/// Heap allocations (malloc, calloc, realloc, aligned_alloc, posix_memalign, memalign; operator new uses them) made by
/// the calling thread since it started: what other threads of a library do in the background is not part of a step.
[[nodiscard]] std::uint64_t heap_allocations() noexcept;

}  // namespace ganglion::tools
