#pragma once

/// GANGLION_NONBLOCKING marks a function that a control loop may call: no heap, no lock, no system call, no exception.
/// With clang 20 or newer it is [[clang::nonblocking]]: -Wfunction-effects then checks callers at compile time and
/// RealtimeSanitizer at run time. Other compilers see nothing. It stands behind noexcept.
#if defined(__clang__) && defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::nonblocking)
#define GANGLION_NONBLOCKING [[clang::nonblocking]]
#endif
#endif
#ifndef GANGLION_NONBLOCKING
#define GANGLION_NONBLOCKING
#endif
