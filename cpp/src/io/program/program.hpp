#pragma once

// The program of a .ganglion file: its words (native/vocabulary.def), its reader, and the judge of what is valid.
// Python asks the same functions through ganglion._core.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ganglion/contract.hpp"
#include "native/program.hpp"

namespace ganglion::detail {

/// The program in the form of its JSON; every rule of cpp/FORMAT.md is checked. Throws `Error`.
[[nodiscard]] native::Program read_program(const std::string& json,
                                           const std::map<std::string, native::Tensor>& tensors);

/// A tensor that something else than a file holds.
struct ForeignTensor {
  std::string dtype;  ///< as NumPy calls it, for example "float32"
  std::vector<std::size_t> shape;
  std::span<const std::byte> bytes;  ///< in C order
};

/// Refuses, as `read_program` does, a program that a .ganglion file may not have.
void check_program(const std::string& json, const std::map<std::string, ForeignTensor>& tensors);

/// Refuses a program that does not have the inputs, outputs and state of the contract.
void check_fit(const native::Program& program, const Contract& contract);

/// The words and limits of native/vocabulary.def as a JSON object, for Python.
[[nodiscard]] std::string vocabulary_json();

}  // namespace ganglion::detail
