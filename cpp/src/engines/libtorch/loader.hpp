#pragma once

#include <filesystem>

#include "engines/engine.hpp"

namespace ganglion::detail {

/// Opens a TorchScript file with the LibTorch engine library found at `library`, else at $GANGLION_LIBTORCH, else by
/// the loader under the name libganglion_libtorch.so. Null with `failure` set.
[[nodiscard]] EngineModel* open_libtorch(const std::filesystem::path& library, const char* path, int threads,
                                         Failure& failure) noexcept;

}  // namespace ganglion::detail
