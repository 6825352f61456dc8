// The recorder: order, drops, every verb, files that cannot be written, forks, and who may go before whom. That others
// can read the file is in tests/python/flight/test_recorder.py. Run under ThreadSanitizer and AddressSanitizer too.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <ganglion/action_guard.hpp>
#include <ganglion/cadence.hpp>
#include <ganglion/flight_recorder.hpp>
#include <ganglion/native_policy.hpp>
#include <ganglion/policy.hpp>
#include <map>
#include <optional>
#include <random>
#include <thread>

#include "check.hpp"
#include "realtime/loop_tape.hpp"
#include "realtime/ring.hpp"
#include "realtime/tape.hpp"
#include "realtime/xxh64.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::ErrorCode;
using ganglion::FlightRecorder;
using ganglion::NativePolicy;
using ganglion::Policy;
using ganglion::Status;
namespace realtime = ganglion::realtime;

fs::path artifact(const std::string& name) { return fs::path(GANGLION_ARTIFACTS) / (name + ".ganglion"); }

/// A folder that is gone afterwards.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("ganglion-recorder-" + std::to_string(getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

template <class Value>
Value at(std::span<const std::byte> bytes, std::size_t offset) {
  Value value{};
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

struct Message {
  std::string topic;
  std::int64_t time;
  std::uint64_t sequence;
  std::vector<std::byte> body;
};

/// The messages of an uncompressed file up to its first end, in their order; none where it is no whole MCAP file.
std::optional<std::vector<Message>> read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const auto all = std::as_bytes(std::span(text.data(), text.size()));
  const std::string_view magic("\x89MCAP0\r\n", 8);
  if (text.size() < 16 || text.substr(0, 8) != magic || text.substr(text.size() - 8) != magic) return std::nullopt;
  std::vector<Message> found;
  std::map<std::uint16_t, std::string> topics;
  const std::function<bool(std::span<const std::byte>)> records = [&](std::span<const std::byte> bytes) {
    while (bytes.size() >= 9) {
      const auto opcode = at<std::uint8_t>(bytes, 0);
      const auto length = at<std::uint64_t>(bytes, 1);
      if (length > bytes.size() - 9) return false;
      const auto fields = bytes.subspan(9, length);
      if (opcode == 0x0F) return true;
      if (opcode == 0x04) {
        const auto size = at<std::uint32_t>(fields, 4);
        topics[at<std::uint16_t>(fields, 0)] = std::string(reinterpret_cast<const char*>(fields.data()) + 8, size);
      } else if (opcode == 0x05) {
        const auto body = fields.subspan(26);
        found.push_back({topics.at(at<std::uint16_t>(fields, 0)),
                         at<std::int64_t>(body, 0),
                         at<std::uint64_t>(body, 8),
                         {body.begin(), body.end()}});
      } else if (opcode == 0x06 && !records(fields.subspan(40))) {
        return false;
      }
      bytes = bytes.subspan(9 + length);
    }
    return true;
  };
  if (!records(all.subspan(8))) return std::nullopt;
  return found;
}

std::vector<Message> messages_of(const fs::path& path) {
  auto found = read(path);
  CHECK(found.has_value());
  return found ? std::move(*found) : std::vector<Message>();
}

std::uint64_t digest_of(std::span<const float> state) { return realtime::xxh64(std::as_bytes(state)); }

std::vector<float> floats(const Message& message, std::size_t offset, std::size_t size) {
  std::vector<float> values(size);
  std::memcpy(values.data(), message.body.data() + offset, size * sizeof(float));
  return values;
}

struct Flyer {
  NativePolicy policy = NativePolicy::load(artifact("lstm"));
  std::vector<float> observation = std::vector<float>(policy.contract().observation_size(), 0.1F);
  std::vector<float> action = std::vector<float>(policy.contract().action_size());

  Status step() { return policy.step(observation, action); }
};

constexpr std::int64_t second = 1'000'000'000;

std::int64_t no_time() noexcept GANGLION_NONBLOCKING { return 0; }

}  // namespace

TEST_CASE("xxh64 of what its author published") {
  const auto of = [](std::string_view text) { return realtime::xxh64(std::as_bytes(std::span(text))); };
  CHECK_EQUAL(of(""), 0xEF46DB3751D8E999U);
  CHECK_EQUAL(of("a"), 0xD24EC4F1A98C6E5BU);
  CHECK_EQUAL(of("abc"), 0x44BC2CF5AD770999U);
}

TEST_CASE("a ring gives in order what was put in, and grows on the way") {
  constexpr int count = 20'000;
  realtime::Tape tape(4096, &no_time);
  std::atomic<bool> is_done{false};
  std::thread reader([&] {
    std::mt19937 sizes(7);
    std::uint64_t next = 0;
    bool is_good = true;
    for (;;) {
      const bool was_done = is_done.load();
      const auto record = tape.front();
      if (!record && was_done) break;
      if (!record) continue;
      if (record->topic != realtime::events_topic) {
        const std::size_t size = 25 + sizes() % 700;
        is_good = is_good && record->topic == 5 && record->body.size() == size &&
                  at<std::uint64_t>(record->body, 16) == next++ &&
                  record->body[size - 1] == static_cast<std::byte>(size);
      }
      tape.pop();
    }
    CHECK(is_good);
    CHECK_EQUAL(next, std::uint64_t{count});
  });
  std::mt19937 sizes(7);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::size_t size = 25 + sizes() % 700;
    while (!tape.has_room(size, 1)) std::this_thread::yield();
    std::byte* const body = tape.begin(0, 5, size);
    CHECK(body != nullptr);
    if (body == nullptr) break;
    realtime::put_field(body + 16, i);
    body[size - 1] = static_cast<std::byte>(size);
    tape.end();
    if (i % 4'000 == 3'999) tape.offer(std::make_unique<realtime::ByteRing>(std::size_t{4096} << (i / 4'000)));
  }
  is_done = true;
  reader.join();
  CHECK_EQUAL(tape.dropped(), 0U);
}

TEST_CASE("what finds no room is counted, and a state follows the gap") {
  const std::vector<float> state(40, 0.5F);
  const std::vector<float> given(10, 1.0F);
  for (const std::size_t ring : {4096, 8192, 16384}) {
    auto tape = std::make_shared<realtime::Tape>(ring, &no_time);
    realtime::LoopTape loop(tape, 3, 1, {.observation = 10, .action = 2, .state = 40}, 10 * second);
    std::mt19937 random(1);
    std::uint64_t next = 0;
    std::uint64_t gone = 0;
    bool needs_state = true;
    bool needs_gap = false;
    for (int round = 0; round < 2000; ++round) {
      const std::vector<float> action(2, static_cast<float>(round));
      for (std::size_t i = random() % 200; i > 0; --i) {
        loop.begin(realtime::PolicyTopic::step, {state, nullptr}, given);
        loop.end_step(Status::ok, action.data(), nullptr, state);
      }
      for (std::size_t left = random() % 100; left > 0; --left) {
        const auto record = tape->front();
        if (!record) break;
        const auto sequence = at<std::uint64_t>(record->body, 8);
        const bool is_event = record->topic == realtime::events_topic;
        const auto kind = is_event ? at<realtime::EventKind>(record->body, 28) : realtime::EventKind::attached;
        if (sequence != next) needs_gap = true;
        if (is_event && kind == realtime::EventKind::gap) {
          CHECK_EQUAL(at<std::uint64_t>(record->body, 16), sequence - next);
          gone += sequence - next;
          needs_gap = false;
          needs_state = true;
        } else if (is_event) {
          CHECK(kind == realtime::EventKind::attached && at<std::uint32_t>(record->body, 24) == 3U && sequence == 0);
        } else if (record->topic == 1 + static_cast<std::uint32_t>(realtime::PolicyTopic::snapshot)) {
          CHECK(!needs_gap);
          CHECK_EQUAL(at<std::uint64_t>(record->body, 16), digest_of(state));
          needs_state = false;
        } else {
          CHECK(!needs_gap && !needs_state);
        }
        next = sequence + 1;
        tape->pop();
      }
    }
    CHECK(gone > 0);
    while (const auto record = tape->front()) {
      const auto sequence = at<std::uint64_t>(record->body, 8);
      gone += sequence - next;
      next = sequence + 1;
      tape->pop();
    }
    CHECK_EQUAL(tape->dropped(), gone + (tape->events() - next));
  }
}

TEST_CASE("every verb is recorded in order, with its status and the state behind it") {
  const Folder folder;
  const fs::path path = folder.path / "verbs.mcap";
  Flyer flyer;
  const std::size_t inputs = flyer.observation.size();
  const std::size_t actions = flyer.action.size();
  std::vector<std::tuple<std::string, Status, std::uint64_t, std::vector<float>>> expected;
  auto recorder = FlightRecorder::open(path);
  flyer.policy.attach(recorder);
  auto imu = recorder.channel("imu/raw", 3);
  const auto note = [&](const std::string& verb, Status status, std::vector<float> given) {
    expected.emplace_back("/policy0/" + verb, status, digest_of(flyer.policy.state()), std::move(given));
  };
  const auto step = [&] {
    const Status status = flyer.step();
    std::vector<float> both = flyer.observation;
    std::vector<float> action = flyer.action;
    if (status != Status::ok) std::fill(action.begin(), action.end(), NAN);
    both.insert(both.end(), action.begin(), action.end());
    note("step", status, both);
  };
  for (int round = 0; round < 3; ++round) {
    recorder.set_time(round * second);
    step();
    flyer.observation[0] = NAN;
    step();
    flyer.observation[0] = 0.3F;
    note("step", flyer.policy.step({}, flyer.action), std::vector<float>(inputs + actions, NAN));
    step();
    // The observation and the action may be the same memory.
    std::vector<float> shared(std::max(inputs, actions), 0.2F);
    const std::vector<float> observed(shared.begin(), shared.begin() + static_cast<std::ptrdiff_t>(inputs));
    const Status status = flyer.policy.step(std::span(shared).first(inputs), std::span(shared).first(actions));
    std::vector<float> both = observed;
    both.insert(both.end(), shared.begin(), shared.begin() + static_cast<std::ptrdiff_t>(actions));
    note("step", status, both);
    std::vector<float> state(flyer.policy.state().begin(), flyer.policy.state().end());
    for (float& value : state) value *= 0.5F;
    note("set_state", flyer.policy.set_state(state), state);
    state[0] = INFINITY;
    note("set_state", flyer.policy.set_state(state), state);
    note("set_state", flyer.policy.set_state({}), std::vector<float>(state.size(), NAN));
    note("applied_action", flyer.policy.set_applied_action(flyer.action), flyer.action);
    flyer.policy.reset();
    note("reset", Status::ok, {});
    const std::uint8_t row = round == 1 ? 0 : 1;
    note("reset", flyer.policy.reset(std::span(&row, 1)), {});
    note("reset", flyer.policy.reset(std::span<const std::uint8_t>()), {});
    flyer.policy.mark(ganglion::FlightEvent::took_over, 77);
    CHECK_EQUAL(imu.record(std::vector<float>{1.0F, 2.0F, 3.0F}), Status::ok);
    CHECK_EQUAL(imu.record(std::vector<float>{1.0F}), Status::bad_size);
  }
  recorder.close();
  recorder.close();
  CHECK_EQUAL(flyer.step(), Status::ok);  // not recorded any more
  CHECK_EQUAL(recorder.statistics().dropped, 0U);
  const auto found = messages_of(path);
  CHECK_EQUAL(recorder.statistics().events, found.size());
  std::size_t next = 0;
  std::size_t marks = 0;
  std::size_t user = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Message& message = found[i];
    CHECK_EQUAL(message.sequence, i);
    if (message.topic == "/events" && i > 0) {
      CHECK_EQUAL(at<std::uint64_t>(message.body, 16), 77U);
      CHECK(at<std::uint8_t>(message.body, 28) == 2);
      ++marks;
    }
    user += message.topic == "/user/imu/raw" ? 1 : 0;
    if (!message.topic.starts_with("/policy0/") || message.topic == "/policy0/snapshot") continue;
    const auto& [topic, status, digest, given] = expected.at(next++);
    CHECK_EQUAL(message.topic, topic);
    const bool is_reset = topic == "/policy0/reset";
    CHECK_EQUAL(at<Status>(message.body, is_reset ? 16 : 24), status);
    if (is_reset) continue;
    CHECK_EQUAL(at<std::uint64_t>(message.body, 16), digest);
    const auto values = floats(message, 28, given.size());
    CHECK_EQUAL(message.body.size(), 28 + 4 * given.size());
    for (std::size_t k = 0; k < given.size(); ++k) {
      CHECK(values[k] == given[k] || (std::isnan(values[k]) && std::isnan(given[k])));
    }
  }
  CHECK_EQUAL(next, expected.size());
  CHECK(marks == 3 && user == 3);
  CHECK(found.size() > 2 && found[0].topic == "/events" && found[1].topic == "/policy0/snapshot");
  CHECK_EQUAL(found.back().time, 2 * second);
}

TEST_CASE("snapshots come at their interval, also of a clock that is set back") {
  const Folder folder;
  Flyer flyer;
  auto recorder = FlightRecorder::open(folder.path / "a.mcap", {.snapshot_s = 1.0});
  flyer.policy.attach(recorder);
  for (std::int64_t i = 0; i < 100; ++i) {
    recorder.set_time(i < 50 ? i * second / 10 : i * second / 10 - 100 * second);
    static_cast<void>(flyer.step());
  }
  recorder.close();
  const auto found = messages_of(folder.path / "a.mcap");
  const auto snapshots =
      std::count_if(found.begin(), found.end(), [](const Message& one) { return one.topic == "/policy0/snapshot"; });
  CHECK_EQUAL(snapshots, 10);
}

TEST_CASE("what watches a loop is recorded; copies of it are not") {
  const Folder folder;
  Flyer flyer;
  ganglion::GuardOptions options;
  options.rate = {1.0};
  options.longest_tick_s = 1.0;
  ganglion::TickMonitor monitor(0.001);
  ganglion::ActionGuard guard(flyer.policy.contract(), options);
  auto recorder = FlightRecorder::open(folder.path / "a.mcap");
  monitor.attach(recorder);
  guard.attach(recorder);
  ganglion::TickMonitor copy = monitor;
  std::vector<float> command(flyer.action.size());
  static_cast<void>(guard.apply(flyer.action, 0, command));
  CHECK(guard.engage(flyer.action));
  for (std::int64_t i = 0; i < 10; ++i) {
    monitor.tick(i * 1'000'000 + (i == 5 ? 700'000 : 0));
    copy.tick(i);
    static_cast<void>(guard.hold(i * 1'000'000, command));
  }
  ganglion::TickMonitor moved = std::move(monitor);
  moved.tick(20'000'000);
  recorder.close();
  std::vector<Message> ticks;
  std::vector<Message> guards;
  for (Message& message : messages_of(folder.path / "a.mcap")) {
    (message.topic == "/ticks" ? ticks : guards).push_back(std::move(message));
  }
  CHECK(ticks.size() == 11 && guards.size() == 11);
  CHECK(std::abs(at<double>(ticks.at(5).body, 16) - 0.0007) < 1e-12);
  CHECK_EQUAL(at<ganglion::Tick>(ticks.at(5).body, 24), ganglion::Tick::missed);
  CHECK_EQUAL(at<ganglion::GuardReason>(guards.at(0).body, 20), ganglion::GuardReason::not_engaged);
  CHECK(std::isnan(floats(guards.at(0), 24, 1)[0]));
  CHECK_EQUAL(at<ganglion::GuardReason>(guards.at(1).body, 20), ganglion::GuardReason::holding);
}

TEST_CASE("a policy is attached by another thread while the loop goes on") {
  const Folder folder;
  Flyer flyer;
  auto recorder = FlightRecorder::open(folder.path / "a.mcap", {.seconds = 20.0});
  flyer.policy.attach(recorder);
  std::atomic<Flyer*> staged{nullptr};
  std::thread stage([&] {
    for (int i = 0; i < 20; ++i) {
      auto next = std::make_unique<Flyer>();
      next->policy.attach(recorder);
      staged.store(next.release());
      while (staged.load() != nullptr) std::this_thread::yield();
    }
  });
  std::size_t steps = 0;
  for (int taken = 0; taken < 20; ++steps) {
    CHECK_EQUAL(flyer.step(), Status::ok);
    if (Flyer* const next = staged.load(); next != nullptr) {
      CHECK_EQUAL(next->step(), Status::ok);
      flyer.policy = std::move(next->policy);
      delete next;
      staged.store(nullptr);
      ++taken;
    }
    if (steps % 100 == 0) recorder.flush();
  }
  stage.join();
  recorder.close();
  CHECK_EQUAL(recorder.statistics().dropped, 0U);
  const auto found = messages_of(folder.path / "a.mcap");
  for (std::size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i].sequence, i);
  CHECK(std::any_of(found.begin(), found.end(), [](const Message& one) { return one.topic == "/policy20/step"; }));
}

TEST_CASE("a recording that cannot be begun says why") {
  const Folder folder;
  const fs::path path = folder.path / "a.mcap";
  std::ofstream(path) << "somebody's";
  CHECK_ERROR(FlightRecorder::open(path), ErrorCode::bad_option, "exists already");
  CHECK_EQUAL(fs::file_size(path), 10U);
  FlightRecorder::open(path, {.overwrite = true}).close();
  CHECK(read(path).has_value());
  CHECK_ERROR(FlightRecorder::open(folder.path / "none" / "a.mcap"), ErrorCode::recording_failed, "No such file");
  CHECK_ERROR(FlightRecorder::open(path / "a.mcap"), ErrorCode::recording_failed, "Not a directory");
  CHECK_ERROR(FlightRecorder::open("/proc/a.mcap"), ErrorCode::recording_failed, "cannot be written");
  CHECK_ERROR(FlightRecorder::open(folder.path, {.overwrite = true}), ErrorCode::recording_failed,
              "cannot be replaced");
  for (const double bad : {0.0, -1.0, double{NAN}, double{INFINITY}, 1e300}) {
    CHECK_ERROR(FlightRecorder::open(folder.path / "b", {.seconds = bad}), ErrorCode::bad_option, "seconds");
    CHECK_ERROR(FlightRecorder::open(folder.path / "b", {.snapshot_s = bad}), ErrorCode::bad_option, "snapshot_s");
  }
  CHECK(!fs::exists(folder.path / "b"));
  auto recorder = FlightRecorder::open(folder.path / "c", {.seconds = 1e8});
  Flyer flyer;
  CHECK_ERROR(flyer.policy.attach(recorder), ErrorCode::bad_option, "fewer seconds");
  CHECK_EQUAL(flyer.step(), Status::ok);
  for (const char* name : {"", "/", "a/", "a//b", "a b", "\n", "/a", "ä"}) {
    CHECK_ERROR(recorder.channel(name, 1), ErrorCode::bad_option, "cannot be named");
  }
  CHECK_ERROR(recorder.channel("a", 0), ErrorCode::bad_option, "0 values");
}

TEST_CASE("what is attached twice, too late, or not the file any more is refused") {
  const Folder folder;
  const fs::path policy = folder.path / "policy.ganglion";
  fs::copy_file(artifact("lstm"), policy);
  auto recorder = FlightRecorder::open(folder.path / "a.mcap");
  auto flying = NativePolicy::load(policy);
  auto other = Policy::load(policy);
  flying.attach(recorder);
  CHECK_ERROR(flying.attach(recorder), ErrorCode::bad_option, "recorded already");
  static_cast<void>(recorder.channel("a", 2));
  CHECK_ERROR(recorder.channel("a", 2), ErrorCode::bad_option, "already");
  fs::copy_file(artifact("rnn_any"), policy, fs::copy_options::overwrite_existing);
  CHECK_ERROR(other.attach(recorder), ErrorCode::recording_failed, "was changed");
  fs::remove(policy);
  CHECK_ERROR(other.attach(recorder), ErrorCode::recording_failed, "cannot be recorded");
  recorder.close();
  auto second_one = FlightRecorder::open(folder.path / "b.mcap");
  fs::copy_file(artifact("lstm"), policy);
  flying.attach(second_one);  // the first one is closed
  CHECK_ERROR(other.attach(recorder), ErrorCode::bad_option, "closed");
  std::ifstream stream(artifact("lstm"), std::ios::binary);
  const std::string file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  auto in_memory = NativePolicy::load(std::as_bytes(std::span(file)));
  in_memory.attach(second_one);
}

TEST_CASE("a file that was removed or replaced meanwhile") {
  const Folder folder;
  const fs::path path = folder.path / "a.mcap";
  Flyer flyer;
  auto recorder = FlightRecorder::open(path);
  flyer.policy.attach(recorder);
  CHECK_EQUAL(flyer.step(), Status::ok);
  fs::remove(path);
  CHECK_EQUAL(flyer.step(), Status::ok);
  CHECK_ERROR(recorder.close(), ErrorCode::recording_failed, "removed");
  CHECK(check::contains(recorder.statistics().error, "removed"));
  auto first = FlightRecorder::open(path);
  auto second_one = FlightRecorder::open(path, {.overwrite = true});
  CHECK_ERROR(first.close(ganglion::Compression::zstd), ErrorCode::recording_failed, "replaced");
  second_one.close();
  CHECK(read(path).has_value());
}

TEST_CASE("a full disk stops the recording, and not the loop") {
  const Folder folder;
  const fs::path path = folder.path / "a.mcap";
  Flyer flyer;
  auto recorder = FlightRecorder::open(path);
  flyer.policy.attach(recorder);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{std::size_t{400} << 10, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  for (int i = 0; i < 20'000; ++i) {
    CHECK_EQUAL(flyer.step(), Status::ok);
    if (i % 500 == 0) recorder.flush();
  }
  recorder.flush();
  const auto statistics = recorder.statistics();
  CHECK(check::contains(statistics.error, "cannot be written any more: File too large"));
  CHECK_ERROR(recorder.close(), ErrorCode::recording_failed, "File too large");
  setrlimit(RLIMIT_FSIZE, &before);
  const auto found = messages_of(path);
  CHECK(!found.empty());
  const auto at_last = recorder.statistics();
  CHECK_EQUAL(found.size() + at_last.dropped, at_last.events);
  CHECK_EQUAL(at_last.events, 20'002U);
}

TEST_CASE("whoever goes first") {
  const Folder folder;
  {
    Flyer flyer;
    {
      auto recorder = FlightRecorder::open(folder.path / "recorder.mcap");
      flyer.policy.attach(recorder);
      CHECK_EQUAL(flyer.step(), Status::ok);
    }
    CHECK_EQUAL(flyer.step(), Status::ok);
    NativePolicy moved = std::move(flyer.policy);
    CHECK_EQUAL(moved.step(flyer.observation, flyer.action), Status::ok);
  }
  CHECK_EQUAL(messages_of(folder.path / "recorder.mcap").size(), 3U);
  {
    auto recorder = FlightRecorder::open(folder.path / "policy.mcap");
    std::optional<ganglion::RecorderChannel> channel;
    {
      Flyer flyer;
      flyer.policy.attach(recorder);
      CHECK_EQUAL(flyer.step(), Status::ok);
      NativePolicy moved = std::move(flyer.policy);
      CHECK_EQUAL(moved.step(flyer.observation, flyer.action), Status::ok);
      NativePolicy clone = moved.clone();
      CHECK_EQUAL(clone.step(flyer.observation, flyer.action), Status::ok);
      CHECK(moved.self_test().ok);
      channel = recorder.channel("a", 1);
    }
    FlightRecorder other = std::move(recorder);
    CHECK_EQUAL(channel->record(std::vector<float>{1.0F}), Status::ok);
    // NOLINTNEXTLINE(bugprone-use-after-move): that is what is tested
    CHECK_ERROR(recorder.close(), ErrorCode::bad_option, "moved to another object");
    other = FlightRecorder::open(folder.path / "third.mcap");
    CHECK_EQUAL(channel->record(std::vector<float>{1.0F}), Status::ok);
  }
  CHECK_EQUAL(messages_of(folder.path / "policy.mcap").size(), 5U);
  CHECK(read(folder.path / "third.mcap").has_value());
}

TEST_CASE("the child of a fork flies on, and writes nothing") {
  const Folder folder;
  const fs::path path = folder.path / "a.mcap";
  auto flyer = std::make_optional<Flyer>();
  auto recorder = std::make_optional(FlightRecorder::open(path));
  flyer->policy.attach(*recorder);
  CHECK_EQUAL(flyer->step(), Status::ok);
  recorder->flush();
  const pid_t number = fork();
  if (number == 0) {
    alarm(30);
    int wrong = 0;
    for (int i = 0; i < 30'000; ++i) wrong += flyer->step() == Status::ok ? 0 : 1;
    wrong += check::caught<ganglion::Error>([&] { recorder->close(); }).size() == 1 ? 0 : 1;
    static_cast<void>(recorder->statistics());
    recorder->flush();
    recorder.reset();
    flyer.reset();
    _exit(wrong == 0 ? 0 : 1);
  }
  int status = 0;
  CHECK_EQUAL(waitpid(number, &status, 0), number);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK_EQUAL(flyer->step(), Status::ok);
  recorder->close();
  CHECK_EQUAL(messages_of(path).size(), 4U);
}

int main() { return check::run_all(); }
