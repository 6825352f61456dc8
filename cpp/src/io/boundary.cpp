#include "io/boundary.hpp"

#include <exception>

#include "io/json.hpp"

namespace ganglion::detail {

namespace {

constexpr const char* sentence = "there is not enough memory; close other programs, or use a smaller policy or batch";

// NOLINTNEXTLINE(*-throwing-static-initialization,cert-err58-cpp): made before main, when memory is not short yet
const Error unnamed(ErrorCode::out_of_memory, sentence);

}  // namespace

const Error& out_of_memory() noexcept { return unnamed; }

Error out_of_memory_in(const std::string& name) {
  return {ErrorCode::out_of_memory, text_of({"'", name, "': ", sentence})};
}

void rethrow_as_error(const std::string& name) {
  try {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::bad_artifact, text_of({"'", name, "': ", error.what()}));
  } catch (...) {
    throw Error(ErrorCode::bad_artifact, text_of({"'", name, "': something was thrown that is no error"}));
  }
}

}  // namespace ganglion::detail
