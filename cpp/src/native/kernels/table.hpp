#pragma once

// What the executor asks of a set of kernels. Every instruction set has one translation unit that fills a KernelTable;
// this header must stay free of inline functions, because those units are compiled with different flags.

#include <cstddef>
#include <cstdint>

#include "ganglion/realtime.hpp"
#include "native/vocabulary.hpp"

namespace ganglion::native {

struct Step;

using Kernel = void (*)(const Step&) noexcept GANGLION_NONBLOCKING;
/// y[i] = f(x[i]); x and y may be the same.
using UnaryKernel = void (*)(const float* x, float* y, std::size_t size, float alpha,
                             float beta) noexcept GANGLION_NONBLOCKING;

/// A value in memory: one row of the batch every `stride` floats (0: the same for all rows).
struct Operand {
  float* data = nullptr;
  std::size_t stride = 0;
};

/// One operation with everything resolved to addresses. Which fields count depends on the kernel.
struct Step {
  Kernel run = nullptr;
  std::size_t batch = 1;
  bool backwards = false;  ///< take the panels from last to first
  Operand in[3];
  Operand out[2];
  std::size_t in_size[3] = {0, 0, 0};
  std::size_t size = 0;  ///< elements of out[0] in one row; units of a cell
  const void* weights = nullptr;
  const float* bias = nullptr;
  const float* scale = nullptr;              ///< per row of an int8 weight, in the order of `bias`
  const std::int32_t* correction = nullptr;  ///< per row: sum of the int8 weights, in the order of `bias`
  const std::int32_t* index = nullptr;
  void* scratch = nullptr;
  UnaryKernel unary = nullptr;  ///< null: identity
  float alpha = 0.0F;
  float beta = 0.0F;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t inner = 0;
  const void* extra = nullptr;  ///< of a convolution: its ConvolutionPlan
};

/// How a convolution is done: how its input lies, and who shares what. `index` of its step says for every tap how far
/// it is from the first one, `inner` how many there are.
struct ConvolutionPlan {
  Convolution conv;
  bool by_channels = false;       ///< vectors of neighbouring channels; else of neighbouring places
  bool in_place = false;          ///< the input is read where it is
  std::size_t block = 1;          ///< channels of the output that are made together, where vectors are of places
  std::size_t phases_down = 1;    ///< lines that a stride picks lie side by side: so many kinds of them
  std::size_t phases_across = 1;  ///< the same of columns
  std::size_t line = 0;           ///< floats of a line of a phase
  std::size_t phase = 0;          ///< floats of a phase
  std::size_t channel = 0;        ///< floats of a channel
  std::size_t runs = 1;           ///< where vectors are of places: each line by itself, or the whole image as one
  std::size_t run = 0;            ///< places of a run, those between the end of a line and the next one included
  bool in_planes = false;         ///< there are such places: the output first goes to scratch memory, from `planes` on
  std::size_t planes = 0;
  std::size_t scratch = 0;  ///< floats of scratch memory
};

/// Of a convolution: most channels of a block, and vectors of a panel of channels.
inline constexpr std::size_t largest_block = 8;
inline constexpr std::size_t convolution_vectors = 2;

/// F of NUMERICS.md: what is smaller than that counts as zero on its way into a value.
inline constexpr float smallest_value = 0x1p-100F;

/// Whole numbers of 16 bits whose products with int8 weights an int32 adds up for certain: 512 * 127 * 32767 < 2^31.
inline constexpr std::size_t inputs_of_int32 = 512;

/// How a packed weight is stored and read.
enum class Packing : std::uint8_t {
  f32,
  f16,
  i8,      ///< int8, converted to float on the way
  i8_dot,  ///< int8 in groups of inputs for integer dot products; the input is scaled to integers first
};
inline constexpr std::size_t packing_count = 4;

/// The kernels of one instruction set.
struct KernelTable {
  const char* name;
  std::size_t lanes;          ///< floats of one vector: outputs are packed in groups of so many
  std::size_t panel_vectors;  ///< vectors of one affine panel
  std::size_t group;          ///< inputs that stand together in an i8_dot panel
  Kernel affine[packing_count];
  Kernel lstm[packing_count];
  Kernel gru[packing_count];
  const UnaryKernel* unary;  ///< by Unary
  const Kernel* binary;      ///< by Binary
  const Kernel* reduce;      ///< by Reduce
  Kernel unary_rows;         ///< unary over all rows of the batch
  Kernel copy;
  Kernel gather;
  Kernel pick;               ///< out[index[2 i + 1]] = in[index[2 i]]: some elements of an output
  std::size_t places;        ///< of a convolution that share what is read of a panel of weights
  Kernel convolve_places;    ///< a convolution whose vectors are of places
  Kernel convolve_channels;  ///< one whose vectors are of channels
#define GANGLION_PLAIN_OPERATION(id, ...) Kernel id;
#include "native/vocabulary.def"
  Kernel blend;  ///< out = (1 - in[0]) * in[1] + in[0] * in[2]: the last line of a GRU
  bool (*all_finite)(const float* values, std::size_t size) noexcept GANGLION_NONBLOCKING;  ///< realtime::AllFinite
  // realtime::Take
  bool (*take)(const float* from, float* to, std::size_t size) noexcept GANGLION_NONBLOCKING;
  bool (*take_as_it_is)(const float* from, float* to, std::size_t size) noexcept GANGLION_NONBLOCKING;
};

/// What an instruction set with integer dot products adds to another one's table.
struct DotKernels {
  std::size_t group;
  Kernel affine;
  Kernel lstm;
  Kernel gru;
};

// Functions of one number at a time (scalar.cpp); the same for every instruction set.
float sin_of(float x) noexcept GANGLION_NONBLOCKING;
float cos_of(float x) noexcept GANGLION_NONBLOCKING;
float atan_of(float x) noexcept GANGLION_NONBLOCKING;
float pow_of(float a, float b) noexcept GANGLION_NONBLOCKING;
float mod_of(float a, float b) noexcept GANGLION_NONBLOCKING;

extern const KernelTable kernels_portable;
#if defined(__x86_64__)
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
extern const DotKernels dot_kernels_avx_vnni;
extern const DotKernels dot_kernels_avx512_vnni;
#elif defined(__aarch64__)
extern const DotKernels dot_kernels_neon_dotprod;
#endif

}  // namespace ganglion::native
