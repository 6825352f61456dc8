#pragma once

#include <filesystem>

#include "engines/engine.hpp"

namespace ganglion::detail {

/// Opens an ONNX file with the libonnxruntime found at `library`, else at $GANGLION_ONNXRUNTIME, else by the loader.
/// Null with `failure` set.
[[nodiscard]] EngineModel* open_onnxruntime(const std::filesystem::path& library, const char* path, int threads,
                                            Failure& failure) noexcept;

}  // namespace ganglion::detail
