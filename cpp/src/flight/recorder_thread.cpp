#include "flight/recorder_thread.hpp"

#include <sched.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): signal masks are POSIX

#include <chrono>
#include <cstring>
#include <utility>

#include "ganglion/error.hpp"
#include "ganglion/version.hpp"

namespace ganglion::flight {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto poll_every = std::chrono::milliseconds(10);
constexpr auto flush_every = std::chrono::milliseconds(250);
constexpr auto sync_every = std::chrono::seconds(1);
constexpr std::size_t chunk_bytes = std::size_t{256} << 10;

std::uint64_t wall_clock_ns() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

template <class Value>
Value at(std::span<const std::byte> body, std::size_t offset) {
  Value value{};
  std::memcpy(&value, body.data() + offset, sizeof(value));
  return value;
}

}  // namespace

RecorderThread::RecorderThread(const std::filesystem::path& path, bool overwrite, std::shared_ptr<realtime::Tape> tape,
                               std::int64_t clock_offset_ns)
    : tape_(std::move(tape)), clock_offset_ns_(clock_offset_ns), writer_(path, overwrite) {
  bytes_ = writer_.bytes();
}

void RecorderThread::start() {
  // Neither the priority of the loop that opens it, nor a signal that is meant for others; SIGXFSZ is an error of
  // write.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  const sched_param priority{};
  pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy(&attributes, SCHED_OTHER);
  pthread_attr_setschedparam(&attributes, &priority);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int answer = pthread_create(&thread_, &attributes, &RecorderThread::enter, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (answer != 0) {
    throw Error(ErrorCode::recording_failed,
                std::string("the thread that writes a recording cannot be started: ") + std::strerror(answer));
  }
  is_running_ = true;
}

void* RecorderThread::enter(void* self) noexcept {
  static_cast<RecorderThread*>(self)->run();
  return nullptr;
}

void RecorderThread::run() noexcept {
  Clock::time_point flushed = Clock::now();
  Clock::time_point synced = flushed;
  for (;;) {
    std::uint64_t wanted = 0;
    bool is_ending = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, poll_every, [&] { return is_ending_ || flushes_wanted_ != flushes_done_; });
      wanted = flushes_wanted_;
      is_ending = is_ending_;
    }
    guarded([&] { take_attached(); });
    drain();
    const Clock::time_point now = Clock::now();
    const bool is_wanted = is_ending || wanted != flushes_done_;
    if (is_wanted || now - flushed >= flush_every) {
      guarded([&] { flush_file(); });
      flushed = now;
    }
    if (now - synced >= sync_every) {
      guarded([&] { writer_.sync(); });
      synced = Clock::now();
    }
    count_lost();
    {
      const std::scoped_lock lock(mutex_);
      flushes_done_ = wanted;
    }
    flushed_.notify_all();
    if (is_ending) {
      end_file();
      return;
    }
  }
}

void RecorderThread::fail(const char* sentence) noexcept {
  has_failed_ = true;
  const std::scoped_lock lock(mutex_);
  try {
    error_ = sentence;
  } catch (const std::exception&) {
    error_.clear();  // short of memory; `has_failed_` is what ends the writing
  }
}

template <class Action>
void RecorderThread::guarded(const Action& action) noexcept {
  if (has_failed_) return;
  try {
    action();
  } catch (const std::bad_alloc&) {
    fail("the recording ended early: no memory is left");
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void RecorderThread::take_attached() {
  std::vector<Attached> taken;
  {
    const std::scoped_lock lock(mutex_);
    taken.swap(attached_);
  }
  for (const Attached& attached : taken) write(attached);
}

void RecorderThread::write(const Attached& attached) {
  if (attached.policy != realtime::no_policy) {
    const std::string name = "policy" + std::to_string(attached.policy);
    writer_.attachment(name + attached.suffix, attached.bytes, wall_clock_ns());
    writer_.metadata("ganglion.policy." + std::to_string(attached.policy), attached.metadata);
    bytes_.store(writer_.bytes(), std::memory_order_relaxed);
  }
  for (const Topic& topic : attached.topics) writer_.add(topic);
}

void RecorderThread::begin_recording() {
  // Whether time is told is known with the first event.
  if (std::exchange(has_begun_, true)) return;
  if (tape_->is_told()) clock_offset_ns_ = 0;
  writer_.metadata("ganglion.recording",
                   {{"format", "1"}, {"version", version}, {"clock_offset_ns", std::to_string(clock_offset_ns_)}});
}

void RecorderThread::drain() noexcept {
  while (const auto record = tape_->front()) {
    guarded([&] { take(*record); });
    tape_->pop();
    ++taken_;
  }
}

void RecorderThread::take(const realtime::ByteRing::Record& record) {
  begin_recording();
  if (record.topic >= writer_.topics()) take_attached();
  const auto time =
      static_cast<std::uint64_t>(at<std::int64_t>(record.body, 0)) + static_cast<std::uint64_t>(clock_offset_ns_);
  const bool is_before_1970 = static_cast<std::int64_t>(time) < 0;
  writer_.message(record.topic, static_cast<std::uint32_t>(at<std::uint64_t>(record.body, 8)),
                  is_before_1970 ? 0 : time, record.body);
  if (writer_.waiting() >= chunk_bytes) flush_file();
}

void RecorderThread::count_lost() noexcept {
  if (has_failed_) lost_.store(taken_ - writer_.written(), std::memory_order_relaxed);
}

void RecorderThread::flush_file() {
  writer_.flush();
  bytes_.store(writer_.bytes(), std::memory_order_relaxed);
}

void RecorderThread::attach(Attached attached) {
  const std::scoped_lock lock(mutex_);
  attached_.push_back(std::move(attached));
}

void RecorderThread::flush() {
  std::unique_lock lock(mutex_);
  const std::uint64_t own = ++flushes_wanted_;
  wake_.notify_one();
  flushed_.wait(lock, [&] { return flushes_done_ >= own || is_ending_; });
}

std::string RecorderThread::error() const {
  const std::scoped_lock lock(mutex_);
  return error_;
}

void RecorderThread::end_file() noexcept {
  // Here, where signals are blocked: what is too large for a file is an error, and not the end of the program.
  guarded([&] {
    begin_recording();
    writer_.metadata("ganglion.statistics", {{"events", std::to_string(tape_->events())},
                                             {"dropped", std::to_string(tape_->dropped() + lost())},
                                             {"chunks", std::to_string(writer_.chunks())},
                                             {"bytes", std::to_string(writer_.bytes())},
                                             {"error", ""}});
    writer_.finish();
    writer_.sync();
    bytes_.store(writer_.bytes(), std::memory_order_relaxed);
  });
  count_lost();
  guarded([&] {
    if (const std::string astray = writer_.astray(); !astray.empty()) throw Error(ErrorCode::recording_failed, astray);
  });
  if (has_failed_ || compression_ == Compression::none) return;
  try {
    writer_.compress(compression_);
  } catch (...) {
    not_compressed_ = std::current_exception();
  }
}

std::string RecorderThread::close(Compression compression, std::exception_ptr& not_compressed) {
  tape_->close();
  {
    const std::scoped_lock lock(mutex_);
    compression_ = compression;
    is_ending_ = true;
  }
  wake_.notify_one();
  if (std::exchange(is_running_, false)) pthread_join(thread_, nullptr);
  not_compressed = not_compressed_;
  return error();
}

}  // namespace ganglion::flight
