#pragma once

// Denormal numbers count as zero while a guard lives: a state that decays towards zero must not slow the step.

#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "ganglion/realtime.hpp"

namespace ganglion::realtime {

class FlushDenormals {
 public:
  FlushDenormals() noexcept GANGLION_NONBLOCKING : saved_(read()) { write(saved_ | flags); }
  ~FlushDenormals() { write(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  using Register = unsigned int;
  static constexpr Register flags = 0x8040;  ///< MXCSR: flush to zero, denormals are zero
  static Register read() noexcept { return _mm_getcsr(); }
  static void write(Register value) noexcept { _mm_setcsr(value); }
#elif defined(__aarch64__)
  using Register = std::uint64_t;
  static constexpr Register flags = Register{1} << 24;  ///< FPCR: flush to zero
  static Register read() noexcept {
    Register value = 0;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) noexcept { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
  using Register = unsigned int;
  static constexpr Register flags = 0;
  static Register read() noexcept { return 0; }
  static void write(Register) noexcept {}
#endif

  Register saved_;
};

}  // namespace ganglion::realtime
