#define GANGLION_KERNEL_TABLE kernels_avx2
#define GANGLION_KERNEL_NAME "avx2"
#define GANGLION_VECTOR_HEADER "native/kernels/vectors/avx2.hpp"
#include "native/kernels/set.hpp"
