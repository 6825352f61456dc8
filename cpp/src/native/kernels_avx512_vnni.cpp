#define GANGLION_KERNEL_TABLE kernels_avx512_vnni
#define GANGLION_KERNEL_NAME "avx512_vnni"
#define GANGLION_VECTOR_HEADER "native/vector_avx512.hpp"
#define GANGLION_SMALL_WEIGHTS
#define GANGLION_DOT_HEADER "native/vector_dot_vnni.hpp"
#include "native/kernel_set.hpp"
