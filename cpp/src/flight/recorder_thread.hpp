#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "flight/mcap/writer.hpp"
#include "realtime/recorded_policy.hpp"
#include "realtime/tape.hpp"

namespace ganglion::flight {

/// What was attached: its topics, and the policy where it is one.
struct Attached {
  std::vector<Topic> topics;
  std::uint32_t policy = realtime::no_policy;
  std::vector<std::byte> bytes{};
  std::string suffix{};
  Texts metadata{};
};

/// Takes what is on a tape to a file, in a thread of its own. What goes wrong ends the writing, not the reading: the
/// loop never meets a full ring for it.
class RecorderThread {
 public:
  RecorderThread(const std::filesystem::path& path, bool overwrite, std::shared_ptr<realtime::Tape> tape,
                 std::int64_t clock_offset_ns);
  ~RecorderThread() = default;  ///< after `close`
  RecorderThread(const RecorderThread&) = delete;
  RecorderThread& operator=(const RecorderThread&) = delete;

  /// Throws `Error` (recording_failed): there is no thread.
  void start();
  void attach(Attached attached);
  /// Waits until what happened so far is in the file.
  void flush();
  /// Ends thread and file; a sentence where something went wrong.
  [[nodiscard]] std::string close(Compression compression, std::exception_ptr& not_compressed);

  [[nodiscard]] std::string error() const;
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

 private:
  static void* enter(void* self) noexcept;
  void run() noexcept;
  /// Does something with the file; what it throws is kept, and nothing is written any more.
  template <class Action>
  void guarded(const Action& action) noexcept;
  void take_attached();
  void begin_recording();
  void write(const Attached& attached);
  void drain() noexcept;
  void take(const realtime::ByteRing::Record& record);
  void flush_file();
  void count_lost() noexcept;
  void end_file() noexcept;
  void fail(const char* sentence) noexcept;

  std::shared_ptr<realtime::Tape> tape_;
  std::int64_t clock_offset_ns_;
  McapWriter writer_;
  bool has_begun_ = false;
  bool has_failed_ = false;
  std::uint64_t taken_ = 0;  ///< events
  pthread_t thread_{};
  bool is_running_ = false;
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint64_t> bytes_{0};
  mutable std::mutex mutex_;  ///< of everything below
  std::condition_variable wake_;
  std::condition_variable flushed_;
  std::vector<Attached> attached_;
  std::string error_;
  std::uint64_t flushes_wanted_ = 0;
  std::uint64_t flushes_done_ = 0;
  bool is_ending_ = false;
  Compression compression_ = Compression::none;
  std::exception_ptr not_compressed_;
};

}  // namespace ganglion::flight
