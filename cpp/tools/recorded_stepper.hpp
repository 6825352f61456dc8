#pragma once

#include <unistd.h>

#include <filesystem>
#include <ganglion/flight_recorder.hpp>
#include <system_error>

#include "contenders.hpp"

namespace ganglion::tools {

/// A recording in the folder for temporary files, gone with this object.
class ThrowawayRecording {
 public:
  explicit ThrowawayRecording(double seconds)
      : path_(unused_path()), recorder_(FlightRecorder::open(path_, {.seconds = seconds})) {}
  ThrowawayRecording(const ThrowawayRecording&) = delete;
  ThrowawayRecording& operator=(const ThrowawayRecording&) = delete;
  ~ThrowawayRecording() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);  // what the recorder still has to write goes with it
  }

  [[nodiscard]] FlightRecorder& recorder() { return recorder_; }

 private:
  [[nodiscard]] static std::filesystem::path unused_path() {
    for (int number = 0;; ++number) {
      std::filesystem::path path =
          std::filesystem::temp_directory_path() /
          ("ganglion-bench-" + std::to_string(getpid()) + "-" + std::to_string(number) + ".mcap");
      if (!std::filesystem::exists(path)) return path;
    }
  }

  std::filesystem::path path_;
  FlightRecorder recorder_;
};

/// A file on an engine of ours while it is recorded. Steps here follow each other much faster than in a flight, so
/// that the writer is waited for between them, outside of what is measured: a step whose event is dropped does less.
/// Made before the program is kept on one CPU: the recorder's thread runs elsewhere, as in a controller.
class RecordedStepper : public FileStepper {
 public:
  RecordedStepper(const std::string& file, Policy policy)
      : FileStepper(file, std::move(policy), {}),
        recording_(2.0 * unwatched_steps * this->policy().contract().period_s.value_or(1e-3)) {
    this->policy().attach(recording_.recorder());
  }

  /// Throws std::runtime_error where not every step was recorded.
  void conclude() {
    recording_.recorder().flush();
    const RecorderStatistics said = recording_.recorder().statistics();
    if (said.error.empty() && said.dropped == 0) return;
    throw std::runtime_error(
        "'" + file() + "': " + std::to_string(said.dropped) + " of " + std::to_string(said.events) +
        " events were not recorded: " + (said.error.empty() ? "the disk is too slow" : said.error));
  }

 private:
  static constexpr std::size_t unwatched_steps = 10'000;

  void settle(std::size_t i) override {
    if (i % unwatched_steps == 0) recording_.recorder().flush();
  }

  ThrowawayRecording recording_;
};

}  // namespace ganglion::tools
