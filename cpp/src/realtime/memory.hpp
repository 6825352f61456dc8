#pragma once

#include <cstddef>

namespace ganglion::realtime {

/// A zeroed, aligned piece of memory whose pages are there from the start. Movable; null where the system had none.
class Memory {
 public:
  Memory() noexcept = default;
  /// Large pieces are aligned to huge pages and ask for them: fewer TLB misses while weights stream by.
  explicit Memory(std::size_t bytes) noexcept;
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool valid() const noexcept { return data_ != nullptr; }

  /// Keeps the pages in RAM (mlock); false where the system refuses.
  [[nodiscard]] bool lock() noexcept;

 private:
  void release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  bool locked_ = false;
};

inline constexpr std::size_t cache_line = 64;

/// The arena of a session, and the buffers of a loop, have at most 1 GiB. A controller needs kilobytes; a small file
/// with a large batch could ask for all memory of the machine.
inline constexpr std::size_t most_floats = std::size_t{1} << 28;

[[nodiscard]] constexpr std::size_t round_up(std::size_t value, std::size_t multiple) noexcept {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace ganglion::realtime
