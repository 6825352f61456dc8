#pragma once

// What a policy answers that was moved from.

#include <memory>

#include "ganglion/error.hpp"
#include "ganglion/reading.hpp"

namespace ganglion::detail {

// NOLINTNEXTLINE(*-throwing-static-initialization,cert-err58-cpp): made before main, of nothing that takes memory
inline const Reading no_reading{};

/// What a policy holds, for a set-up function; throws `Error` (bad_option) where it was moved away.
template <class Impl>
[[nodiscard]] Impl& held(const std::unique_ptr<Impl>& impl) {
  if (impl == nullptr) throw Error(ErrorCode::bad_option, "the policy was moved to another object; use that one");
  return *impl;
}

}  // namespace ganglion::detail
