#include <exception>
#include <string>

#include "engines/open.hpp"
#include "engines/shared_library.hpp"

namespace ganglion::detail {

OpenEngine open_libtorch;

/// With the LibTorch engine library found at `request.library`, else at $GANGLION_LIBTORCH, else by the loader under
/// the name libganglion_libtorch.so.
EngineModel* open_libtorch(const OpenRequest& request, Failure& failure) noexcept {
  try {
    std::string why;
    void* address =
        load_function(request.library, "GANGLION_LIBTORCH", {"libganglion_libtorch.so"}, libtorch_entry_point, why);
    if (address == nullptr) {
      failure.set(FailureKind::unavailable,
                  ("the LibTorch engine was not found (" + why +
                   "): link the CMake target ganglion::libtorch, install PyTorch (pip install 'ganglion[torch]'), or "
                   "name libganglion_libtorch.so in LoadOptions::libtorch_library or in the environment variable "
                   "GANGLION_LIBTORCH")
                      .c_str());
      return nullptr;
    }
    return reinterpret_cast<OpenEngineModel>(address)(reinterpret_cast<const char*>(request.file.data()),
                                                      request.file.size(), request.threads, failure);
  } catch (const std::exception& error) {
    failure.set(FailureKind::unavailable, error.what());
    return nullptr;
  }
}

}  // namespace ganglion::detail
