#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "ganglion/realtime.hpp"
#include "ganglion/status.hpp"

namespace ganglion {

namespace realtime {
class LoopTape;
class Tape;
}  // namespace realtime

namespace detail {
struct RecordedPolicy;

/// Where something is recorded, or nowhere. What is attached may be moved; a copy of it is not attached.
struct RecordedTopic {
  RecordedTopic() = default;
  RecordedTopic(std::shared_ptr<realtime::Tape> to, std::uint32_t as) noexcept;
  RecordedTopic(const RecordedTopic&) noexcept {}
  RecordedTopic(RecordedTopic&& other) noexcept = default;
  RecordedTopic& operator=(const RecordedTopic&) noexcept;
  RecordedTopic& operator=(RecordedTopic&& other) noexcept = default;
  ~RecordedTopic() = default;

  std::shared_ptr<realtime::Tape> tape{};
  std::uint32_t topic = 0;
};
}  // namespace detail

struct RecorderOptions {
  double seconds = 2.0;      ///< so much of a flight waits in memory where the disk is slow; what is more is dropped
  double snapshot_s = 10.0;  ///< between two copies of a policy's state; a replay can begin at each
  bool overwrite = false;    ///< a file that is there already is replaced; else it is refused
  /// Nanoseconds of a clock of your own; null: CLOCK_MONOTONIC. Called in the loop.
  std::int64_t (*clock)() noexcept GANGLION_NONBLOCKING = nullptr;
};

/// How the chunks of a finished recording are written.
enum class Compression : std::uint8_t { none, zstd, lz4 };

/// What may be noted of an attached policy, beside its verbs.
enum class FlightEvent : std::uint8_t {
  took_over,    ///< it flies from now on
  rejected,     ///< it was not let fly
  rolled_back,  ///< it flies again, in place of one that had taken over
};

struct RecorderStatistics {
  std::uint64_t events = 0;   ///< that happened, recorded or not
  std::uint64_t dropped = 0;  ///< those of them that are not in the file: the ring was full, or the disk
  std::uint64_t bytes = 0;    ///< in the file
  std::string error{};        ///< one sentence where the file cannot be written any more; else empty
};

/// Values of one's own beside the policies; made by `FlightRecorder::channel`.
class RecorderChannel {
 public:
  /// Answers bad_size, and records nothing, where that is another size than the channel's.
  Status record(std::span<const float> values) noexcept GANGLION_NONBLOCKING;

 private:
  friend class FlightRecorder;
  RecorderChannel(std::shared_ptr<realtime::Tape> tape, std::uint32_t topic, std::size_t size) noexcept;

  std::shared_ptr<realtime::Tape> tape_;
  std::uint32_t topic_;
  std::size_t size_;
};

/// Records a flight into an MCAP file: what is attached to it (`Policy::attach`, `TickMonitor::attach`,
/// `ActionGuard::attach`) and channels of one's own, in the order in which it happened. The file holds the policies
/// themselves, too, so it can be flown again from it alone; docs/recordings.md has the format.
///
/// A thread of the recorder writes. Whatever becomes of the file, the loop goes on: events that find no room are
/// dropped and counted. All that is attached to one recorder is used by one thread at a time, the loop's. The recorder
/// may be closed or destroyed before what is attached to it, which is not recorded any more.
///
/// In the child of a fork nothing is written, and the recorder may be destroyed.
class FlightRecorder final {
 public:
  /// Begins a recording. Throws `Error` (bad_option, recording_failed): an option makes no sense, the file is there
  /// already, or cannot be written.
  [[nodiscard]] static FlightRecorder open(const std::filesystem::path& path, const RecorderOptions& options = {});

  FlightRecorder(FlightRecorder&&) noexcept;
  FlightRecorder& operator=(FlightRecorder&&) noexcept;
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;
  /// Closes without compression; what goes wrong is not said.
  ~FlightRecorder();

  /// Values of one's own, `size` float32 each time, as /user/<name>: letters, digits, _ and /. Set-up; throws `Error`
  /// (bad_option).
  [[nodiscard]] RecorderChannel channel(const std::string& name, std::size_t size);

  /// The time of what follows, where it is simulated: no clock is read any more. A loop verb.
  void set_time(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING;

  /// Waits until everything so far is in the file. Not for the loop; a simulation that runs faster than the disk calls
  /// it now and then, so that nothing is dropped.
  void flush();

  /// Allocates: not for the loop.
  [[nodiscard]] RecorderStatistics statistics() const;

  /// Ends the recording; a second call does nothing. Throws `Error` (recording_failed): something is not in the file,
  /// or the file was removed or replaced meanwhile; `engine_unavailable`: no libzstd or liblz4 is installed, the file
  /// is whole and not compressed.
  void close(Compression compression = Compression::none);

 private:
  friend class Policy;
  friend class NativePolicy;
  friend class TickMonitor;
  friend class ActionGuard;
  class Impl;
  explicit FlightRecorder(std::unique_ptr<Impl> impl) noexcept;

  [[nodiscard]] std::unique_ptr<realtime::LoopTape> attach(detail::RecordedPolicy policy);
  [[nodiscard]] detail::RecordedTopic attach_ticks();
  [[nodiscard]] detail::RecordedTopic attach_guard(std::size_t action_size);
  [[nodiscard]] Impl& held() const;
  /// Ends it, and lets go of it.
  void let_go() noexcept;

  std::unique_ptr<Impl> impl_;
};

}  // namespace ganglion
