#pragma once

#include <cstdint>

namespace ganglion::tools {

/// Heap allocations (malloc, calloc, realloc, aligned_alloc, posix_memalign, memalign; operator new uses them) made by
/// the whole process since it started.
[[nodiscard]] std::uint64_t heap_allocations() noexcept;

}  // namespace ganglion::tools
