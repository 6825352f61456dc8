#pragma once

namespace ganglion::bindings {

/// The text of the engine's functions of one and two elements, from which the header target takes what a policy needs.
extern const char* const functions;

}  // namespace ganglion::bindings
