#define GANGLION_KERNEL_TABLE kernels_avx512
#define GANGLION_KERNEL_NAME "avx512"
#define GANGLION_VECTOR_HEADER "native/kernels/vectors/avx512.hpp"
#include "native/kernels/set.hpp"
