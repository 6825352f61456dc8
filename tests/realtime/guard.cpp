// Stands in front of the C library: a definition in the program replaces the library's for every shared object in the
// process. Each function counts and goes on to the next definition.

#include "guard.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <ctime>

namespace {

// Plain thread_locals of the program itself: reading them takes no allocation.
thread_local bool watching = false;
thread_local std::uint64_t count = 0;
thread_local const char* last = "";

void note(const char* name) noexcept {
  if (!watching) return;
  ++count;
  last = name;
}

template <class Function>
Function next(Function, const char* name) noexcept {
  // dlsym may allocate; that is not the loop's doing.
  const bool was = watching;
  watching = false;
  auto* const found = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
  watching = was;
  return found;
}

}  // namespace

namespace realtime {

std::uint64_t violations() noexcept { return count; }
const char* last_violation() noexcept { return last; }

void watch(bool on) noexcept {
  if (on) count = 0;
  watching = on;
}

}  // namespace realtime

#define GUARD(function, ...)                            \
  note(#function);                                      \
  static auto* const real = next(&function, #function); \
  return real(__VA_ARGS__)

extern "C" {

// glibc's own allocator under the names that stay reachable when malloc is replaced.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* block);

void* malloc(std::size_t size) noexcept {
  note("malloc");
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) noexcept {
  note("calloc");
  return __libc_calloc(number, size);
}
void* realloc(void* block, std::size_t size) noexcept {
  note("realloc");
  return __libc_realloc(block, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  note("memalign");
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  note("aligned_alloc");
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  note("posix_memalign");
  *block = __libc_memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}
void free(void* block) noexcept {
  note("free");
  __libc_free(block);
}

void* mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) noexcept {
  GUARD(mmap, address, size, protection, flags, file, offset);
}
int munmap(void* address, std::size_t size) noexcept { GUARD(munmap, address, size); }
int mprotect(void* address, std::size_t size, int protection) noexcept { GUARD(mprotect, address, size, protection); }
int madvise(void* address, std::size_t size, int advice) noexcept { GUARD(madvise, address, size, advice); }
int mlock(const void* address, std::size_t size) noexcept { GUARD(mlock, address, size); }
int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept { GUARD(pthread_mutex_lock, mutex); }
int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept { GUARD(pthread_mutex_trylock, mutex); }
int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept { GUARD(pthread_mutex_unlock, mutex); }
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept { GUARD(pthread_rwlock_rdlock, lock); }
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept { GUARD(pthread_rwlock_wrlock, lock); }
int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) { GUARD(pthread_cond_wait, condition, mutex); }
int pthread_cond_signal(pthread_cond_t* condition) noexcept { GUARD(pthread_cond_signal, condition); }
ssize_t read(int file, void* to, std::size_t size) { GUARD(read, file, to, size); }
ssize_t write(int file, const void* from, std::size_t size) { GUARD(write, file, from, size); }
int close(int file) { GUARD(close, file); }
int nanosleep(const timespec* wanted, timespec* left) { GUARD(nanosleep, wanted, left); }
int sched_yield() noexcept { GUARD(sched_yield); }

int open(const char* path, int flags, ...) {
  note("open");
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(rest, unsigned) : 0U;
  va_end(rest);
  using Open = int (*)(const char*, int, ...);
  static auto* const real = next(static_cast<Open>(nullptr), "open");
  return real(path, flags, mode);
}
}
