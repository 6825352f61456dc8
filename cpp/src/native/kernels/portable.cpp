#define GANGLION_KERNEL_TABLE kernels_portable
#if defined(__aarch64__)
#define GANGLION_KERNEL_NAME "neon"
#else
#define GANGLION_KERNEL_NAME "baseline"
#endif
#define GANGLION_VECTOR_HEADER "native/kernels/vectors/portable.hpp"
#include "native/kernels/set.hpp"
