#pragma once

#include <vector>

#include "engines/engine.hpp"
#include "ganglion/contract.hpp"

namespace ganglion::detail {

/// The plain-data view of a contract that engines understand; keeps pointers into the contract.
class ContractSignature {
 public:
  ContractSignature(const Contract& contract, std::size_t batch);
  [[nodiscard]] const Signature& get() const noexcept { return signature_; }

 private:
  std::vector<TensorView> inputs_;
  std::vector<TensorView> outputs_;
  std::vector<TensorView> state_;
  Signature signature_{};
};

/// The contract of a file that carries none, from what an engine recognised in it.
[[nodiscard]] Contract contract_of(const Signature& signature);

}  // namespace ganglion::detail
