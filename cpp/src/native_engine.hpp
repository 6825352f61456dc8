#pragma once

// The native engine behind the wall of the other engines, and what both faces of it share.

#include <memory>
#include <string>

#include "engines/engine.hpp"
#include "ganglion/contract.hpp"
#include "native/loop.hpp"
#include "native/model.hpp"

namespace ganglion::detail {

/// The native engine for a checked program, whose tensors must stay until the first session is bound.
[[nodiscard]] std::shared_ptr<Model> open_native(native::Program program, bool lock_memory);

/// The buffers of a policy's loop in their initial state. Throws `Error` where memory is short.
[[nodiscard]] native::Loop make_loop(const std::string& name, const Contract& contract, std::size_t batch,
                                     bool lock_memory);

/// The sentence for a program that cannot be set up.
[[nodiscard]] const char* out_of_memory(bool lock_memory);

}  // namespace ganglion::detail
