#pragma once

// How the facade has an engine open a file.

#include <cstddef>
#include <filesystem>
#include <span>

#include "engines/engine.hpp"

namespace ganglion::native {
struct KernelTable;
struct Program;
}  // namespace ganglion::native

namespace ganglion::detail {

struct OpenRequest {
  const std::filesystem::path& path;     ///< for its folder; what lies there may be another file by now
  std::span<const std::byte> file;       ///< the file as it was read and checked
  const std::filesystem::path& library;  ///< the engine's shared library, where the user named one; else empty
  int threads;                           ///< inside one step
  bool lock_memory;                      ///< native: mlock weights and buffers
  const native::KernelTable* kernels;    ///< native: of the instruction set that is used; else null
  native::Program* program;              ///< of a .ganglion file, checked, to be taken; else null
};

/// What the engine `name` has in namespace ganglion::detail under `open_<name>`: a new model, owned by the caller, or
/// null with `failure` set. The facade finds it by the name in GANGLION_ENGINES.
using OpenEngine = EngineModel*(const OpenRequest& request, Failure& failure) noexcept;

}  // namespace ganglion::detail
