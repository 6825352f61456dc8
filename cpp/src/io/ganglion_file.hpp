#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "ganglion/contract.hpp"
#include "native/program.hpp"

namespace ganglion::detail {

/// A .ganglion file (cpp/FORMAT.md): what it promises and what it computes.
struct GanglionFile {
  Contract contract;
  bool is_sealed = false;   ///< a digest covers the contract, too
  std::string signer;       ///< public key that the contract is signed with, in hexadecimal; empty for none
  native::Program program;  ///< its tensors point into the bytes that the file was read from
};

/// Reads and checks everything: container, contract, digest, program, weights. Throws `Error`.
[[nodiscard]] GanglionFile read_ganglion(std::span<const std::byte> bytes);

}  // namespace ganglion::detail
