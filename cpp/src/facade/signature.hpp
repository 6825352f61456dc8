#pragma once

#include <deque>
#include <string>
#include <vector>

#include "engines/engine.hpp"
#include "ganglion/reading.hpp"

namespace ganglion::detail {

/// The plain-data view of a reading that engines understand; keeps pointers into the reading.
class ReadingSignature {
 public:
  ReadingSignature(const Reading& reading, std::size_t batch);
  [[nodiscard]] const Signature& get() const noexcept { return signature_; }

 private:
  std::vector<TensorView> inputs_;
  std::vector<TensorView> outputs_;
  std::vector<TensorView> state_;
  std::vector<StatePorts> ports_;
  std::vector<ConstantInput> constants_;
  std::vector<BatchAxis> batch_axes_;
  Signature signature_{};
};

/// A file that carries its contract: the state's tensors are called <slot>_in and <slot>_out.
[[nodiscard]] Reading reading_of(Contract contract, bool is_sealed, std::string signer);

/// A file without a contract, from what an engine recognised in it.
[[nodiscard]] Reading reading_of(const Inference& inference);

}  // namespace ganglion::detail
