#pragma once

// The arithmetic that cpp/NUMERICS.md begins with, whatever the thread of the caller has set: rounding to nearest, and
// gradual underflow. Modes that flush to zero do not agree between processors (x86 asks after rounding whether a result
// is tiny, ARM before), so the kernels compare instead, at stated places.

#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "ganglion/realtime.hpp"

namespace ganglion::realtime {

/// Sets the mode while it lives. Where it is set already, as in most programs, nothing is written: that would wait for
/// all arithmetic before it.
class FloatMode {
 public:
  FloatMode() noexcept GANGLION_NONBLOCKING : saved_(read()) {
    if ((saved_ & others) != 0) write(saved_ & ~others);
  }
  ~FloatMode() {
    if ((saved_ & others) != 0) write(saved_);
  }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
#if defined(__x86_64__)
  using Register = unsigned int;
  static constexpr Register others = 0xE040;  ///< MXCSR: flush to zero, rounding control, denormals are zero
  static Register read() noexcept { return _mm_getcsr(); }
  static void write(Register value) noexcept { _mm_setcsr(value); }
#elif defined(__aarch64__)
  using Register = std::uint64_t;
  static constexpr Register others = 0x1C00003;  ///< FPCR: FZ, RMode; AH and FIZ where there is FEAT_AFP
  static Register read() noexcept {
    Register value = 0;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) noexcept { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
  using Register = unsigned int;
  static constexpr Register others = 0;
  static Register read() noexcept { return 0; }
  static void write(Register) noexcept {}
#endif

  Register saved_;
};

}  // namespace ganglion::realtime
