#pragma once

#include <cstddef>
#include <vector>

namespace ganglion::tools {

/// Puts everything that a program has in the caches of this CPU out of them: a control loop that runs once in a
/// millisecond finds them so, other programs having run in between.
class Caches {
 public:
  /// Throws std::bad_alloc.
  Caches();

  /// Reads twice as many bytes as the largest cache holds.
  void evict() const noexcept;

 private:
  std::vector<std::size_t> bytes_;
};

}  // namespace ganglion::tools
