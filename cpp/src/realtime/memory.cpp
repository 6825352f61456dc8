#include "realtime/memory.hpp"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <utility>

namespace ganglion::realtime {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

constexpr std::size_t alignment_of(std::size_t bytes) noexcept { return bytes >= huge_page / 2 ? huge_page : 4096; }

/// Whole lines; and whole huge pages where the last one would be half full or more: the kernel gives none in part, and
/// walking the tables of small pages is up to a fifth of a step whose weights are in no cache.
constexpr std::size_t size_for(std::size_t bytes) noexcept {
  const std::size_t lines = round_up(bytes == 0 ? 1 : bytes, cache_line);
  return lines % huge_page >= huge_page / 2 ? round_up(lines, huge_page) : lines;
}

}  // namespace

Memory::Memory(std::size_t bytes) noexcept : size_(size_for(bytes)) {
  if (size_ < bytes) return;
  const std::size_t alignment = alignment_of(size_);
  data_ = static_cast<std::byte*>(::operator new(size_, std::align_val_t{alignment}, std::nothrow));
  if (data_ == nullptr) return;
#if defined(MADV_HUGEPAGE)
  // A wish, not a need: what the kernel answers does not matter. The last, partial page is left alone.
  if (alignment == huge_page) static_cast<void>(madvise(data_, size_ / 4096 * 4096, MADV_HUGEPAGE));
#endif
  std::memset(data_, 0, size_);
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      locked_(std::exchange(other.locked_, false)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    locked_ = std::exchange(other.locked_, false);
  }
  return *this;
}

Memory::~Memory() { release(); }

void Memory::release() noexcept {
  if (data_ == nullptr) return;
  if (locked_) static_cast<void>(munlock(data_, size_));
  ::operator delete(data_, std::align_val_t{alignment_of(size_)});
}

bool Memory::lock() noexcept {
  locked_ = data_ != nullptr && mlock(data_, size_) == 0;
  return locked_;
}

}  // namespace ganglion::realtime
