// Counts heap allocations by standing in front of the C library's allocator: a definition of malloc in the program
// replaces the library's for every shared object in the process (glibc manual, "Replacing malloc").

#include "heap_counter.hpp"

#include <dlfcn.h>

#include <cerrno>
#include <cstddef>

namespace {

// malloc has no object to keep its count in.
thread_local std::uint64_t count = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void tick() noexcept { ++count; }

}  // namespace

// glibc's own allocator under the names that stay reachable when malloc is replaced.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* block);

#pragma GCC visibility push(default)  // the other libraries of the process shall find them

void* malloc(std::size_t size) noexcept {
  tick();
  return __libc_malloc(size);
}

void* calloc(std::size_t number, std::size_t size) noexcept {
  tick();
  return __libc_calloc(number, size);
}

void* realloc(void* block, std::size_t size) noexcept {
  tick();
  return __libc_realloc(block, size);
}

void* memalign(std::size_t alignment, std::size_t size) noexcept {
  tick();
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { return memalign(alignment, size); }

int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  void* result = memalign(alignment, size);
  if (result == nullptr) return ENOMEM;
  *block = result;
  return 0;
}

void free(void* block) noexcept { __libc_free(block); }

#pragma GCC visibility pop
}

namespace ganglion::tools {

std::uint64_t heap_allocations() noexcept { return count; }

}  // namespace ganglion::tools
