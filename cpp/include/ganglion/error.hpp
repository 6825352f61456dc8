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
  digest_mismatch,     ///< contract, program or weights changed after export
  bad_contract,        ///< contract and program disagree, or the state pairs cannot be recognised
  bad_option,          ///< a LoadOptions field makes no sense for this artifact
  engine_unavailable,  ///< the engine's library is missing or too old
  engine_failure,      ///< the engine refused the program
  self_test_failed,    ///< the golden trajectory was missed
  out_of_memory,       ///< the system had no memory for it
  not_signed,          ///< the file is signed with none of the keys that the caller insists on
  recording_failed,    ///< a recording of a flight cannot be written, or is not whole
};

/// The enumerator's name, for example "bad_artifact"; a string with static storage.
[[nodiscard]] constexpr const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::file_not_found:
      return "file_not_found";
    case ErrorCode::bad_artifact:
      return "bad_artifact";
    case ErrorCode::newer_format:
      return "newer_format";
    case ErrorCode::digest_mismatch:
      return "digest_mismatch";
    case ErrorCode::bad_contract:
      return "bad_contract";
    case ErrorCode::bad_option:
      return "bad_option";
    case ErrorCode::engine_unavailable:
      return "engine_unavailable";
    case ErrorCode::engine_failure:
      return "engine_failure";
    case ErrorCode::self_test_failed:
      return "self_test_failed";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::not_signed:
      return "not_signed";
    case ErrorCode::recording_failed:
      return "recording_failed";
  }
  return "unknown";
}

/// Thrown by set-up functions only; loop verbs answer a `Status`.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace ganglion
