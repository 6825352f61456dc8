#pragma once

/// Between the two, clang does not say what a nonblocking function may not do, or may not be declared as; whoever uses
/// them says why that is right.
#if defined(__clang__) && defined(__has_warning)
#if __has_warning("-Wfunction-effects")
#define GANGLION_EFFECTS_UNCHECKED_BEGIN \
  _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wfunction-effects\"")
#define GANGLION_EFFECTS_UNCHECKED_END _Pragma("clang diagnostic pop")
#endif
#endif
#ifndef GANGLION_EFFECTS_UNCHECKED_BEGIN
#define GANGLION_EFFECTS_UNCHECKED_BEGIN
#define GANGLION_EFFECTS_UNCHECKED_END
#endif
