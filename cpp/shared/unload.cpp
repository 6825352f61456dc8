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
#endif
