#pragma once

#include <filesystem>
#include <memory>

#include "engines/engine.hpp"
#include "ganglion/options.hpp"
#include "io/artifact.hpp"

namespace ganglion::native {
struct KernelTable;
}

namespace ganglion::detail {

/// Throws what an engine said of a file as an `Error`.
[[noreturn]] void raise(const std::filesystem::path& path, const Failure& failure);

/// The engine that is to run a file with this suffix. Throws `Error` (bad_option) where `wanted` does not open it.
[[nodiscard]] Engine engine_for(const std::filesystem::path& path, const char* suffix, Engine wanted);

/// The kernels that the native engine is to run a file with; null for any other engine. Throws `Error` (bad_option)
/// where it cannot do what the options ask for.
[[nodiscard]] const native::KernelTable* kernels_of(Engine engine, const std::filesystem::path& path,
                                                    const LoadOptions& options);

/// Has an engine open a file, with its `kernels_of`. Throws `Error`.
[[nodiscard]] std::shared_ptr<EngineModel> open_model(const std::filesystem::path& path, Engine engine,
                                                      const native::KernelTable* kernels, Artifact& artifact,
                                                      const LoadOptions& options);

}  // namespace ganglion::detail
