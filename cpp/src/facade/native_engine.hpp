#pragma once

// The native engine behind the wall of the other engines, and what both faces of it share.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ganglion/contract.hpp"
#include "realtime/loop.hpp"

namespace ganglion::detail {

/// The buffers of a policy's loop in their initial state; with a seed, actions are drawn. The native engine's numbers
/// are those of cpp/NUMERICS.md on their way in, too. Throws `Error` where memory is short, or where the outputs are no
/// distribution to draw from.
[[nodiscard]] realtime::Loop make_loop(const std::string& name, const Contract& contract, bool is_native,
                                       std::size_t batch, bool lock_memory, std::optional<std::uint64_t> sample_seed);

/// The sentence for a program that cannot be set up.
[[nodiscard]] const char* too_little_memory(bool lock_memory);

}  // namespace ganglion::detail
