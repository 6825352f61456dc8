#pragma once

// Where exceptions that are not ours end: every public function that may throw does its work behind this.

#include <new>
#include <string>

#include "ganglion/error.hpp"

namespace ganglion::detail {

/// What is thrown where not even a sentence finds memory.
[[nodiscard]] const Error& out_of_memory() noexcept;

/// The same with the name of the file, made before anything is short; copying an `Error` takes no memory.
[[nodiscard]] Error out_of_memory_in(const std::string& name);

/// Throws the exception that is being handled as an `Error` about that file.
[[noreturn]] void rethrow_as_error(const std::string& name);

/// Does `work` on the file called `name`; whatever it throws is an `Error`.
template <class Work>
auto at_boundary(const auto& name, const Work& work) {
  try {
    const std::string& file = name;
    const Error named = out_of_memory_in(file);
    try {
      return work();
    } catch (const Error&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw Error(named);
    } catch (...) {
      rethrow_as_error(file);
    }
  } catch (const std::bad_alloc&) {
    throw Error(out_of_memory());
  }
}

}  // namespace ganglion::detail
