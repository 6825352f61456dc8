#include "weight_floor.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>

#include "realtime/cpu.hpp"
#endif

namespace ganglion::tools {

namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t block = 512;  // bytes of one turn of the loops below

// What was read is combined into a few registers, so that no load waits for another one, and handed to an empty piece
// of assembly, so that the compiler cannot drop it.

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void read_512(const std::byte* data, std::size_t size) noexcept {
  __m512i found[8] = {};
  for (const std::byte* p = data; p != data + size; p += block) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) found[i] = _mm512_or_si512(found[i], _mm512_load_si512(p + i * 64));
  }
#pragma GCC unroll 8
  for (const __m512i one : found) asm volatile("" : : "v"(one));
}

__attribute__((target("avx2"))) void read_256(const std::byte* data, std::size_t size) noexcept {
  __m256i found[8] = {};
  for (const std::byte* p = data; p != data + size; p += block) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) {
      found[i % 8] = _mm256_or_si256(found[i % 8], _mm256_load_si256(reinterpret_cast<const __m256i*>(p) + i));
    }
  }
#pragma GCC unroll 8
  for (const __m256i one : found) asm volatile("" : : "x"(one));
}
#endif

/// 16 bytes: SSE2 on x86-64, NEON on AArch64.
void read_128(const std::byte* data, std::size_t size) noexcept {
  using Wide [[gnu::vector_size(16), gnu::may_alias]] = std::uint64_t;
  Wide found[8] = {};
  for (const std::byte* p = data; p != data + size; p += block) {
#pragma GCC unroll 32
    for (std::size_t i = 0; i < 32; ++i) found[i % 8] |= reinterpret_cast<const Wide*>(p)[i];
  }
#pragma GCC unroll 8
  for (const Wide& one : found) asm volatile("" : : "m"(one));
}

auto widest_read() noexcept {
#if defined(__x86_64__)
  if (realtime::cpu_has(Isa::avx512)) return read_512;
  if (realtime::cpu_has(Isa::avx2)) return read_256;
#endif
  return read_128;
}

}  // namespace

WeightFloor::WeightFloor(std::size_t bytes)
    : bytes_(bytes),
      size_((bytes + block - 1) / block * block),
      data_(static_cast<std::byte*>(::operator new(size_, std::align_val_t{huge_page}))),
      read_(widest_read()) {
#if defined(MADV_HUGEPAGE)
  if (size_ >= huge_page / 4) static_cast<void>(madvise(data_, size_ / 4096 * 4096, MADV_HUGEPAGE));
#endif
  std::memset(data_, 1, size_);
}

WeightFloor::WeightFloor(WeightFloor&& other) noexcept
    : bytes_(other.bytes_), size_(other.size_), data_(std::exchange(other.data_, nullptr)), read_(other.read_) {}

WeightFloor::~WeightFloor() { ::operator delete(data_, std::align_val_t{huge_page}); }

}  // namespace ganglion::tools
