#pragma once

// The native engine behind the wall of the other engines, and what both faces of it share.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ganglion/contract.hpp"
#include "ganglion/isa.hpp"
#include "realtime/loop.hpp"

namespace ganglion::native {
struct KernelTable;
}

namespace ganglion::detail {

/// The kernels that a load asks for, or GANGLION_ISA; automatic: the fastest. Throws `Error` where this CPU has not got
/// them, or GANGLION_ISA is no instruction set.
[[nodiscard]] const native::KernelTable& kernels_asked_for(const std::string& name, Isa isa);

/// The buffers of a policy's loop in their initial state; with a seed, actions are drawn. `kernels`: those of the
/// native engine, whose numbers are as in cpp/NUMERICS.md on their way in, too; null of other engines. Throws `Error`
/// where memory is short, or where the outputs are no distribution to draw from.
[[nodiscard]] realtime::Loop make_loop(const std::string& name, const Contract& contract,
                                       const native::KernelTable* kernels, std::size_t batch, bool lock_memory,
                                       std::optional<std::uint64_t> sample_seed);

/// The sentence for a program that cannot be set up.
[[nodiscard]] const char* too_little_memory(bool lock_memory);

}  // namespace ganglion::detail
