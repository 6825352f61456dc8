#pragma once

/// GANGLION_NONBLOCKING marks a function that a control loop may call: no heap, no lock, no system call, no exception.
/// With clang 20 or newer it is [[clang::nonblocking]]: -Wfunction-effects then checks callers at compile time and
/// RealtimeSanitizer at run time. Other compilers see nothing. It stands behind noexcept.
/// GANGLION_NONBLOCKING_IF(condition) does so in a template where the condition holds.
/// It is part of a function's type: where templates do not take such functions (pybind11's), GANGLION_WITHOUT_EFFECTS
/// leaves it out.
#if defined(__clang__) && defined(__has_cpp_attribute) && !defined(GANGLION_WITHOUT_EFFECTS)
#if __has_cpp_attribute(clang::nonblocking)
#define GANGLION_NONBLOCKING [[clang::nonblocking]]
#define GANGLION_NONBLOCKING_IF(condition) [[clang::nonblocking(condition)]]
#endif
#endif
#ifndef GANGLION_NONBLOCKING
#define GANGLION_NONBLOCKING
#define GANGLION_NONBLOCKING_IF(condition)
#endif
