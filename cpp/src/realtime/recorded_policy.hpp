#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ganglion/contract.hpp"
#include "realtime/loop_tape.hpp"

namespace ganglion::detail {

/// What a recording keeps of a policy, so that it can be flown again from the recording alone.
struct RecordedPolicy {
  const Contract* contract = nullptr;
  std::string file{};              ///< the name that it was loaded by
  std::string suffix{};            ///< ".ganglion"
  std::vector<std::byte> bytes{};  ///< the file
  std::string sha256{};            ///< of these bytes
  std::string engine{};
  std::string isa{};    ///< of the native engine; else empty
  std::string hints{};  ///< JSON of the reading hints; empty for none
  std::optional<std::uint64_t> sample_seed{};
  realtime::LoopSizes sizes{};
};

}  // namespace ganglion::detail
