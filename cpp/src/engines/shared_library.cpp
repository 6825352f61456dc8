#include "engines/shared_library.hpp"

#include <dlfcn.h>

#include <cstdlib>

namespace ganglion::detail {

void* load_function(const std::filesystem::path& explicit_path, const char* variable,
                    std::initializer_list<const char*> names, const char* function, std::string& why) {
  const auto open = [&why](const char* file) {
    void* handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) why = dlerror();
    return handle;
  };
  void* handle = nullptr;
  const char* from_environment = std::getenv(variable);
  if (!explicit_path.empty()) {
    handle = open(explicit_path.c_str());
  } else if (from_environment != nullptr && *from_environment != '\0') {
    handle = open(from_environment);
  } else {
    for (const char* name : names) {
      if (handle == nullptr) handle = open(name);
    }
  }
  if (handle == nullptr) return nullptr;
  void* address = dlsym(handle, function);
  if (address == nullptr) why = dlerror();
  return address;
}

}  // namespace ganglion::detail
