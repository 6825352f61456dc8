// What the C++ library inside of libganglion.so took when it was loaded goes when it is unloaded: a reserve for
// exceptions, which it would lose with every dlclose.

#include <cstddef>

#if defined(__GLIBCXX__)
namespace __gnu_cxx {
void __freeres();  // NOLINT(bugprone-reserved-identifier): libstdc++'s, for programs that look for leaks
}

namespace {

[[gnu::destructor]] void free_reserve() { __gnu_cxx::__freeres(); }

}  // namespace
#elif defined(_LIBCPP_VERSION)
// zig links without the start files of a compiler, which would do this: what the constants of a library registered to
// be destroyed would be called at exit, when the library is gone.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier): names of the C++ ABI
[[gnu::visibility("hidden")]] extern void* __dso_handle;
void __cxa_finalize(void* library);
// NOLINTEND(bugprone-reserved-identifier)
}

namespace {

[[gnu::destructor]] void destroy_constants() { __cxa_finalize(static_cast<void*>(&__dso_handle)); }

}  // namespace
#endif
