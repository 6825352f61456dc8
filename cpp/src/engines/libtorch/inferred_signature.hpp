#pragma once

#include <deque>
#include <string>
#include <vector>

#include "engines/engine.hpp"

namespace ganglion::detail {

/// Owns the names and arrays of a signature that was recognised in a file without a contract.
class InferredSignature {
 public:
  std::vector<TensorView> inputs;
  std::vector<TensorView> outputs;
  std::vector<TensorView> state;
  std::vector<float> initial_state;
  std::size_t batch = 1;
  const char* dialect = "unknown";

  [[nodiscard]] TensorView view(std::string name, std::size_t outer, std::size_t inner) {
    return {names_.emplace_back(std::move(name)).c_str(), outer, inner};
  }

  /// Adds a sentence that says how something was recognised.
  void note(std::string sentence) { notes_.push_back(names_.emplace_back(std::move(sentence)).c_str()); }

  /// Adds something suspicious; `code` has static storage.
  void find(const char* code, std::string sentence) {
    findings_.push_back({code, names_.emplace_back(std::move(sentence)).c_str()});
  }

  /// Valid while this object lives and its lists do not change.
  [[nodiscard]] const Inference* finish() {
    inference_ = {{inputs, outputs, state, initial_state.data(), batch}, dialect, notes_, findings_};
    return &inference_;
  }

 private:
  std::deque<std::string> names_;  // a deque: the views keep pointers into it
  std::vector<const char*> notes_;
  std::vector<InferredFinding> findings_;
  Inference inference_{};
};

}  // namespace ganglion::detail
