#pragma once

// The safetensors container: a JSON header, then tensors side by side. https://huggingface.co/docs/safetensors

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "native/program.hpp"

namespace ganglion::detail {

/// A container in memory; the tensors point into the bytes that it was read from.
struct Safetensors {
  std::map<std::string, std::string> metadata;
  std::map<std::string, native::Tensor> tensors;  ///< in ascending order of the names' bytes
};

/// Checks every size and offset: tensors fill the data section without holes or overlaps. Throws `Error`.
[[nodiscard]] Safetensors read_safetensors(std::span<const std::byte> bytes);

/// The name of a dtype in a header, for example "F32".
[[nodiscard]] const char* name_of(native::Dtype dtype);

}  // namespace ganglion::detail
