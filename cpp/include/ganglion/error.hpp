#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace ganglion {

/// The kind of a set-up failure; the sentence in `Error::what()` says what, where and what to do.
enum class ErrorCode : std::uint8_t {
  file_not_found,      ///< nothing readable at that path
  bad_artifact,        ///< damaged, truncated, or not what its name says
  newer_format,        ///< written by a newer ganglion
  digest_mismatch,     ///< program or weights changed after export
  bad_contract,        ///< contract and program disagree, or the state pairs cannot be recognised
  bad_option,          ///< a LoadOptions field makes no sense for this artifact
  engine_unavailable,  ///< the engine's library is missing or too old
  engine_failure,      ///< the engine refused the program
  self_test_failed,    ///< the golden trajectory was missed
};

/// Thrown by set-up functions only; loop verbs answer a `Status`.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace ganglion
