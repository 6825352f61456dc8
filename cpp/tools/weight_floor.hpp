#pragma once

#include <cstddef>

namespace ganglion::tools {

/// A block of memory that can be read once from end to end with the widest loads of this CPU: no step that needs so
/// many bytes of weights can take less time.
class WeightFloor {
 public:
  /// Large blocks ask for huge pages, as the native engine does. Throws std::bad_alloc.
  explicit WeightFloor(std::size_t bytes);
  WeightFloor(WeightFloor&& other) noexcept;
  WeightFloor& operator=(WeightFloor&&) = delete;
  WeightFloor(const WeightFloor&) = delete;
  WeightFloor& operator=(const WeightFloor&) = delete;
  ~WeightFloor();

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  void read() const noexcept { read_(data_, size_); }

 private:
  std::size_t bytes_;
  std::size_t size_;  ///< bytes_ rounded up to whole blocks of loads
  std::byte* data_;
  void (*read_)(const std::byte* data, std::size_t size) noexcept;
};

}  // namespace ganglion::tools
