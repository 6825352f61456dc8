#pragma once

// Elementary functions in double whose every bit is the same in C++ on every machine and in Python
// (ganglion/sampling.py): nothing of the C library that rounds its own way, and built with -ffp-contract=off. Sums,
// products, quotients and square roots are the same everywhere.

#include "ganglion/realtime.hpp"

namespace ganglion::realtime {

/// Of a positive, finite number.
[[nodiscard]] double logarithm(double x) noexcept GANGLION_NONBLOCKING;
/// Arguments beyond +-700 are taken as those.
[[nodiscard]] double exponential(double x) noexcept GANGLION_NONBLOCKING;
[[nodiscard]] double hyperbolic_tangent(double x) noexcept GANGLION_NONBLOCKING;
/// Of a number between -1 and 1, both excluded.
[[nodiscard]] double inverse_hyperbolic_tangent(double x) noexcept GANGLION_NONBLOCKING;

}  // namespace ganglion::realtime
