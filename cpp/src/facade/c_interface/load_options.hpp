#pragma once

#include "ganglion.h"
#include "ganglion/options.hpp"

namespace ganglion::c_interface {

/// What a caller's options say, with every default where there are none. Throws `Refused` and `Error`.
[[nodiscard]] LoadOptions load_options(const ganglion_load_options* given);

}  // namespace ganglion::c_interface
