#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "ganglion/contract.hpp"
#include "io/safetensors.hpp"
#include "native/program.hpp"

namespace ganglion::detail {

/// A .ganglion file (cpp/FORMAT.md): what it promises and what it computes.
struct GanglionFile {
  Contract contract;
  native::Program program;  ///< its tensors point into the bytes that the file was read from
};

/// Reads and checks everything: container, contract, digest, program, weights. Throws `Error`.
[[nodiscard]] GanglionFile read_ganglion(std::span<const std::byte> bytes);

/// The program in the form of its JSON; sizes, order and attributes are checked. Throws `Error`.
[[nodiscard]] native::Program read_program(const std::string& json,
                                           const std::map<std::string, native::Tensor>& tensors);

/// Refuses a program whose operations do not fit their operands, read what is not written, or write twice.
void check_program(const native::Program& program);

/// Refuses a program that does not have the inputs, outputs and state of the contract.
void check_fit(const native::Program& program, const Contract& contract);

}  // namespace ganglion::detail
