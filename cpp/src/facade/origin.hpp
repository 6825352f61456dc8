#pragma once

// Where a policy came from, so that a recording can hold it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ganglion/flight_recorder.hpp"
#include "ganglion/options.hpp"
#include "ganglion/reading.hpp"
#include "io/artifact.hpp"
#include "realtime/loop.hpp"
#include "realtime/recorded_policy.hpp"

namespace ganglion::detail {

struct Origin {
  std::string name;  ///< path, or what stands for it
  ArtifactKind kind;
  std::vector<std::byte> bytes{};  ///< of a file that was in memory; else it is read again when it is asked for
  std::uint64_t fingerprint = 0;   ///< of a file without a contract, whose digest would be compared
  std::string hints{};             ///< how such a file was to be read, as JSON
};

/// `artifact` as it was read, and what was said of it where it says nothing itself. In memory: its bytes are kept.
[[nodiscard]] std::shared_ptr<const Origin> origin_of(const std::string& name, const Artifact& artifact,
                                                      bool is_in_memory, const ReadingHints& hints = {});

/// What a recording keeps. Throws `Error` (recording_failed) where the file is not the one that flies any more, and
/// (bad_option) where the loop is recorded already.
[[nodiscard]] RecordedPolicy recorded(const Origin& origin, const Reading& reading, const realtime::Loop& loop,
                                      Engine engine, const char* isa);

[[nodiscard]] constexpr realtime::EventKind kind_of(FlightEvent event) noexcept GANGLION_NONBLOCKING {
  switch (event) {
    case FlightEvent::rejected:
      return realtime::EventKind::rejected;
    case FlightEvent::rolled_back:
      return realtime::EventKind::rolled_back;
    case FlightEvent::took_over:
      break;
  }
  return realtime::EventKind::took_over;
}

}  // namespace ganglion::detail
