#pragma once

#include <filesystem>
#include <memory>

#include "engines/engine.hpp"
#include "ganglion/options.hpp"
#include "io/artifact.hpp"

namespace ganglion::detail {

/// Throws what an engine said of a file as an `Error`.
[[noreturn]] void raise(const std::filesystem::path& path, const Failure& failure);

/// The engine that is to run a file with this suffix. Throws `Error` (bad_option) where `wanted` does not open it.
[[nodiscard]] Engine engine_for(const std::filesystem::path& path, const char* suffix, Engine wanted);

/// Has an engine open a file. Throws `Error`.
[[nodiscard]] std::shared_ptr<EngineModel> open_model(const std::filesystem::path& path, Engine engine,
                                                      Artifact& artifact, const LoadOptions& options);

}  // namespace ganglion::detail
