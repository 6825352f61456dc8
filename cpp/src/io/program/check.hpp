#pragma once

#include <string>
#include <vector>

#include "native/program.hpp"

namespace ganglion::detail {

/// Refuses a program whose operations do not fit their operands, read what is not written, or write twice.
/// `names` are those of its tensors.
void check_program(const native::Program& program, const std::vector<std::string>& names);

/// Throws `Error` (bad_artifact), which says where in the program and why.
[[noreturn]] void refuse_program(const std::string& where, const std::string& why);

/// The name of an operation in a program.
[[nodiscard]] const char* name_of(native::OpKind kind);

}  // namespace ganglion::detail
