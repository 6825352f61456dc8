#pragma once

#include <filesystem>
#include <initializer_list>
#include <string>

namespace ganglion::detail {

/// A function of a shared library, or null with `why` filled in. The library is `explicit_path` if not empty, else the
/// file named by the environment variable `variable` if set, else the first of `names` that the loader finds. It stays
/// loaded: neither ONNX Runtime nor LibTorch can be unloaded safely.
[[nodiscard]] void* load_function(const std::filesystem::path& explicit_path, const char* variable,
                                  std::initializer_list<const char*> names, const char* function, std::string& why);

}  // namespace ganglion::detail
