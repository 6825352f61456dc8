#include "ganglion/flight_recorder.hpp"

#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime is POSIX
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <set>
#include <utility>

#include "flight/options.hpp"
#include "flight/recorder_thread.hpp"
#include "flight/schemas.hpp"
#include "ganglion/error.hpp"
#include "realtime/effects.hpp"
#include "realtime/loop_tape.hpp"

namespace ganglion {

namespace {

constexpr std::size_t smallest_ring = std::size_t{1} << 20;
constexpr std::size_t largest_ring = std::size_t{1} << 30;
constexpr double usual_rate = 1000.0;  ///< events in a second of what has no period of its own
constexpr double longest_s = 1e9;
constexpr std::size_t most_topics = 60'000;  ///< MCAP numbers them with 16 bits

GANGLION_EFFECTS_UNCHECKED_BEGIN
/// By the vDSO: no system call.
std::int64_t monotonic_ns() noexcept GANGLION_NONBLOCKING {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}
GANGLION_EFFECTS_UNCHECKED_END

std::int64_t offset_of(realtime::Tape::Clock clock) {
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  const auto wall_ns =
      static_cast<std::uint64_t>(wall.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(wall.tv_nsec);
  return static_cast<std::int64_t>(wall_ns - static_cast<std::uint64_t>(clock()));
}

bool is_plain(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
         letter == '_';
}

/// Parts of letters, digits and _, none of them empty, with / between them.
bool is_topic(const std::string& name) {
  bool is_in_part = false;
  for (const char letter : name) {
    if (letter != '/' && !is_plain(letter)) return false;
    if (letter == '/' && !is_in_part) return false;
    is_in_part = letter != '/';
  }
  return is_in_part;
}

}  // namespace

namespace detail {

RecordedTopic::RecordedTopic(std::shared_ptr<realtime::Tape> to, std::uint32_t as) noexcept
    : tape(std::move(to)), topic(as) {}

RecordedTopic& RecordedTopic::operator=(const RecordedTopic& other) noexcept {
  if (this != &other) *this = RecordedTopic();
  return *this;
}

}  // namespace detail

class FlightRecorder::Impl {
 public:
  Impl(std::filesystem::path path, const RecorderOptions& options)
      : path_(std::move(path)),
        options_(options),
        clock_(options.clock != nullptr ? options.clock : &monotonic_ns),
        tape_(std::make_shared<realtime::Tape>(smallest_ring, clock_)),
        thread_(path_, options.overwrite, tape_, offset_of(clock_)) {
    thread_.attach({.topics = {flight::events_of_flight()}});
    thread_.start();
  }

  /// True in the child of a fork, where the thread is not.
  [[nodiscard]] bool is_elsewhere() const noexcept { return getpid() != process_; }

  /// The number of the first of the topics.
  std::uint32_t add(flight::Attached attached, std::size_t event_bytes, double rate) {
    const std::scoped_lock lock(mutex_);
    refuse_elsewhere();
    if (is_closed_) flight::refuse_option("'" + path_.string() + "' is closed: nothing can be attached to it any more");
    if (topics_ + attached.topics.size() > most_topics)
      flight::refuse_option("'" + path_.string() + "' has too many topics");
    make_room(event_bytes, rate);
    const std::uint32_t first = topics_;
    topics_ += static_cast<std::uint32_t>(attached.topics.size());
    thread_.attach(std::move(attached));
    return first;
  }

  [[nodiscard]] std::unique_ptr<realtime::LoopTape> attach(detail::RecordedPolicy policy) {
    const std::uint32_t number = policies_.fetch_add(1);
    const realtime::LoopSizes& sizes = policy.sizes;
    flight::Attached attached{.topics = flight::topics_of(policy, number), .policy = number};
    attached.metadata = {{"contract", policy.contract->to_json()},
                         {"file", policy.file},
                         {"attachment", "policy" + std::to_string(number) + policy.suffix},
                         {"engine", policy.engine},
                         {"isa", policy.isa},
                         {"batch", std::to_string(sizes.batch)},
                         {"sample_seed", policy.sample_seed ? std::to_string(*policy.sample_seed) : ""},
                         {"sha256", policy.sha256},
                         {"hints", policy.hints}};
    attached.suffix = policy.suffix;
    attached.bytes = std::move(policy.bytes);
    const double rate = policy.contract->period_s ? 1.0 / *policy.contract->period_s : usual_rate;
    const std::size_t floats = sizes.observation + sizes.action + sizes.outputs + 2 * sizes.state;
    const std::uint32_t first = add(std::move(attached), 128 + 24 * sizes.batch + floats * sizeof(float), rate);
    return std::make_unique<realtime::LoopTape>(tape_, number, first, sizes,
                                                static_cast<std::uint64_t>(options_.snapshot_s * 1e9));
  }

  /// "/ticks" the first time, then "/ticks1", ...
  [[nodiscard]] std::string next_name(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    std::size_t number = 0;
    std::string found = name;
    while (!names_.insert(found).second) found = name + std::to_string(++number);
    return found;
  }

  [[nodiscard]] bool take_name(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    return names_.insert(name).second;
  }

  [[nodiscard]] RecorderStatistics statistics() const {
    return {.events = tape_->events(),
            .dropped = tape_->dropped() + thread_.lost(),
            .bytes = thread_.bytes(),
            .error = is_elsewhere() ? "" : thread_.error()};  // its lock may be the parent's
  }

  void close(Compression compression) {
    const std::scoped_lock lock(mutex_);
    refuse_elsewhere();
    if (std::exchange(is_closed_, true)) return;
    std::exception_ptr not_compressed;
    const std::string sentence = thread_.close(compression, not_compressed);
    if (!sentence.empty()) throw Error(ErrorCode::recording_failed, sentence);
    if (not_compressed) std::rethrow_exception(not_compressed);
  }

  void flush() {
    if (!is_elsewhere()) thread_.flush();
  }

  [[nodiscard]] const std::shared_ptr<realtime::Tape>& tape() const noexcept { return tape_; }

 private:
  void refuse_elsewhere() const {
    if (!is_elsewhere()) return;
    throw Error(ErrorCode::recording_failed, "'" + path_.string() +
                                                 "' is recorded by the process that opened it; its child after a fork "
                                                 "can open one of its own");
  }

  /// A larger ring where what is attached now fills this one in less than the seconds that were asked for.
  void make_room(std::size_t event_bytes, double rate) {
    const double in_a_second = rate_bytes_ + static_cast<double>(event_bytes) * std::min(rate, 1e6);
    largest_event_ = std::max(largest_event_, event_bytes);
    const double needed = std::max(in_a_second * options_.seconds, 8.0 * static_cast<double>(largest_event_));
    if (!(needed <= static_cast<double>(largest_ring))) {
      flight::refuse_option("'" + path_.string() + "': " + std::to_string(options_.seconds) + " s of this flight are " +
                            std::to_string(needed / 1e9) +
                            " GB, which is too much to keep in memory; ask for fewer seconds");
    }
    rate_bytes_ = in_a_second;
    if (needed <= static_cast<double>(ring_bytes_)) return;
    auto ring = std::make_unique<realtime::ByteRing>(static_cast<std::size_t>(needed));
    if (!ring->valid()) throw std::bad_alloc();
    ring_bytes_ = ring->capacity();
    tape_->offer(std::move(ring));
  }

  std::filesystem::path path_;
  RecorderOptions options_;
  pid_t process_ = getpid();
  realtime::Tape::Clock clock_;
  std::shared_ptr<realtime::Tape> tape_;
  flight::RecorderThread thread_;
  std::atomic<std::uint32_t> policies_{0};
  std::mutex mutex_;  ///< of everything below
  std::uint32_t topics_ = 1;
  std::set<std::string> names_;
  std::size_t ring_bytes_ = smallest_ring;
  double rate_bytes_ = 0.0;
  std::size_t largest_event_ = 0;
  bool is_closed_ = false;
};

FlightRecorder FlightRecorder::open(const std::filesystem::path& path, const RecorderOptions& options) {
  for (const auto& [value, name] : {std::pair(options.seconds, "RecorderOptions::seconds"),
                                    std::pair(options.snapshot_s, "RecorderOptions::snapshot_s")}) {
    flight::positive(value, name, " of seconds");
    if (value > longest_s)
      flight::refuse_option(std::string(name) + " is " + std::to_string(value) + "; give less than 1e9 seconds");
  }
  try {
    return FlightRecorder(std::make_unique<Impl>(path, options));
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, "'" + path.string() + "': there is no memory for the recording");
  }
}

FlightRecorder::FlightRecorder(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
FlightRecorder::FlightRecorder(FlightRecorder&&) noexcept = default;

FlightRecorder& FlightRecorder::operator=(FlightRecorder&& other) noexcept {
  if (this != &other) {
    let_go();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

FlightRecorder::~FlightRecorder() { let_go(); }

void FlightRecorder::let_go() noexcept {
  if (impl_ == nullptr) return;
  if (impl_->is_elsewhere()) {
    // Its thread is the parent's, in the middle of whatever it did: nothing of it can be freed here.
    static_cast<void>(impl_.release());  // NOLINT(bugprone-unused-return-value)
    return;
  }
  try {
    impl_->close(Compression::none);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // A destructor has nobody to say it to; close does.
  }
  impl_.reset();
}

FlightRecorder::Impl& FlightRecorder::held() const {
  if (impl_ != nullptr) return *impl_;
  flight::refuse_option("the recorder was moved to another object; this one holds nothing");
}

std::unique_ptr<realtime::LoopTape> FlightRecorder::attach(detail::RecordedPolicy policy) {
  return held().attach(std::move(policy));
}

detail::RecordedTopic FlightRecorder::attach_ticks() {
  Impl& own = held();
  const std::uint32_t topic = own.add({.topics = {flight::ticks_topic(own.next_name("/ticks"))}}, 48, usual_rate);
  return {own.tape(), topic};
}

detail::RecordedTopic FlightRecorder::attach_guard(std::size_t action_size) {
  Impl& own = held();
  const std::uint32_t topic = own.add({.topics = {flight::guard_topic(own.next_name("/guard"), action_size)}},
                                      48 + action_size * sizeof(float), usual_rate);
  return {own.tape(), topic};
}

RecorderChannel FlightRecorder::channel(const std::string& name, std::size_t size) {
  Impl& own = held();
  if (!is_topic(name)) {
    flight::refuse_option("a channel cannot be named '" + name + "'; take letters, digits and _, with / between parts");
  }
  if (size == 0 || size > realtime::most_floats / 16) {
    flight::refuse_option("channel '" + name + "' cannot have " + std::to_string(size) + " values");
  }
  const std::string topic = "/user/" + name;
  if (!own.take_name(topic)) flight::refuse_option("there is a channel '" + name + "' already");
  const std::uint32_t number =
      own.add({.topics = {flight::values_topic(topic, size)}}, 32 + size * sizeof(float), usual_rate);
  return {own.tape(), number, size};
}

void FlightRecorder::set_time(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING {
  if (impl_ != nullptr) impl_->tape()->set_time(now_ns);
}

void FlightRecorder::flush() { held().flush(); }

RecorderStatistics FlightRecorder::statistics() const { return held().statistics(); }

void FlightRecorder::close(Compression compression) { held().close(compression); }

RecorderChannel::RecorderChannel(std::shared_ptr<realtime::Tape> tape, std::uint32_t topic, std::size_t size) noexcept
    : tape_(std::move(tape)), topic_(topic), size_(size) {}

Status RecorderChannel::record(std::span<const float> values) noexcept GANGLION_NONBLOCKING {
  if (values.size() != size_) return Status::bad_size;
  std::byte* const body = tape_->begin(tape_->now(), topic_, 16 + size_ * sizeof(float));
  if (body == nullptr) return Status::ok;  // counted
  std::memcpy(body + 16, values.data(), values.size_bytes());
  tape_->end();
  return Status::ok;
}

}  // namespace ganglion
