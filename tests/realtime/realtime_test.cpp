// 100,000 steps and resets of every native artifact, in an emulator 10,000: no heap, no lock, no file, no kernel. A
// planted violation of each kind must be caught, else the silence proves nothing.

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <ganglion/cadence.hpp>
#include <ganglion/flight_recorder.hpp>
#include <ganglion/native_policy.hpp>
#include <ganglion/policy.hpp>
#include <string>
#include <vector>

#include "flight_loop.hpp"
#include "guard.hpp"
#include "observation_profiles.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::NativePolicy;
using ganglion::Policy;
using ganglion::Status;

#if defined(GANGLION_SHORT)
constexpr int steps = 10'000;  // an emulator takes minutes for ten times as many
#else
constexpr int steps = 100'000;
#endif

fs::path artifact(const std::string& name) { return fs::path(GANGLION_ARTIFACTS) / (name + ".ganglion"); }
fs::path corpus(const std::string& name) { return fs::path(GANGLION_FUZZ_CORPUS) / (name + ".ganglion"); }

const std::vector<fs::path> policies{artifact("lstm"),
                                     artifact("gru_batch4"),
                                     artifact("rnn_any"),
                                     artifact("faulty"),
                                     artifact("rsl_rl_lstm"),
                                     artifact("rsl_rl_gru"),
                                     corpus("good_weights_float16"),
                                     corpus("good_weights_int8"),
                                     corpus("good_weights_int8x16"),
                                     corpus("good_weights_int8x8")};

/// What one round of the loop might do: steps, resets, a look at outputs and state, refused observations.
template <class AnyPolicy>
std::uint64_t violations_of_a_loop(AnyPolicy& policy) {
  std::vector<float> observation(policy.batch() * policy.contract().observation_size(), 0.1F);
  std::vector<float> action(policy.batch() * policy.contract().action_size());
  std::vector<std::uint8_t> rows(policy.batch(), 1);
  std::vector<float> state(policy.state().begin(), policy.state().end());
  int refused = 0;
  float seen = 0.0F;
  realtime::watch(true);
  for (int i = 0; i < steps; ++i) {
    observation[0] = i % 1000 == 17 ? NAN : 0.001F * static_cast<float>(i % 1000);
    refused += policy.step(observation, action) == Status::ok ? 0 : 1;
    seen += policy.output(0).empty() ? 0.0F : policy.output(0)[0];
    seen += policy.state().empty() ? 0.0F : policy.state()[0];
    if (i % 100 == 40) refused += policy.burn_in(observation).status == Status::ok ? 0 : 1;
    if (i % 100 == 50) policy.reset();
    if (i % 100 == 70) static_cast<void>(policy.reset(rows));
    if (i % 100 == 90) static_cast<void>(policy.set_state(state));
    if (i % 10 == 5) static_cast<void>(policy.set_applied_action(action));
  }
  realtime::watch(false);
  CHECK_EQUAL(refused, steps / 1000);
  CHECK(std::isfinite(seen));
  return realtime::violations();
}

/// The count after `violation`, which the guard must see.
std::uint64_t planted(const std::function<void()>& violation) {
  realtime::watch(true);
  violation();
  realtime::watch(false);
  return realtime::violations();
}

}  // namespace

TEST_CASE("planted violations are caught") {
  CHECK(planted([] { std::vector<int> heap(1000, 1); }) >= 2);
  CHECK(planted([] { std::free(std::malloc(100)); }) >= 1);
  CHECK(planted([] {
          pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
          pthread_mutex_lock(&mutex);
          pthread_mutex_unlock(&mutex);
        }) == 2);
  CHECK(planted([] { munmap(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096); }) == 2);
  CHECK(planted([] {
          const int file = open("/dev/null", O_RDWR);
          char byte = 0;
          static_cast<void>(write(file, &byte, 1) + read(file, &byte, 1));
          close(file);
        }) == 4);
  // A violation deep inside a loop: one step in the middle makes a copy of its state on the heap.
  NativePolicy policy = NativePolicy::load(artifact("lstm"));
  CHECK(planted([&] { std::vector<float>(policy.state().begin(), policy.state().end()); }) >= 2);
  CHECK_EQUAL(std::string(realtime::last_violation()), "free");
}

TEST_CASE("steps and resets touch neither heap nor locks nor kernel") {
  for (const fs::path& path : policies) {
    const std::string name = path.stem().string();
    NativePolicy native = NativePolicy::load(path);
    check::report(violations_of_a_loop(native) == 0, "NativePolicy keeps still", __FILE__, __LINE__,
                  name + ": " + realtime::last_violation());
    Policy policy = Policy::load(path);
    CHECK(policy.realtime_safe());
    check::report(violations_of_a_loop(policy) == 0, "Policy keeps still", __FILE__, __LINE__,
                  name + ": " + realtime::last_violation());
  }
}

TEST_CASE("actions are drawn without heap, lock or system call") {
  for (const char* name : {"gaussian", "categorical"}) {
    ganglion::NativeOptions native_options;
    native_options.sample_seed = 1;
    NativePolicy native = NativePolicy::load(artifact(name), native_options);
    check::report(violations_of_a_loop(native) == 0, "NativePolicy keeps still", __FILE__, __LINE__,
                  std::string(name) + ": " + realtime::last_violation());
    ganglion::LoadOptions options;
    options.sample_seed = 1;
    Policy policy = Policy::load(artifact(name), options);
    check::report(violations_of_a_loop(policy) == 0, "Policy keeps still", __FILE__, __LINE__,
                  std::string(name) + ": " + realtime::last_violation());
  }
}

TEST_CASE("a recorded loop touches neither heap nor locks nor kernel, however full its ring is") {
  const fs::path file = fs::temp_directory_path() / ("ganglion-realtime-" + std::to_string(getpid()) + ".mcap");
  for (const char* name : {"lstm", "gru_batch4", "rsl_rl_gru", "gaussian"}) {
    auto recorder = ganglion::FlightRecorder::open(file, {.seconds = 0.01, .snapshot_s = 0.01, .overwrite = true});
    ganglion::NativeOptions native_options;
    if (name == std::string("gaussian")) native_options.sample_seed = 1;
    NativePolicy policy = NativePolicy::load(artifact(name), native_options);
    policy.attach(recorder);
    ganglion::TickMonitor monitor(0.001);
    monitor.attach(recorder);
    auto channel = recorder.channel("values", 3);
    const std::vector<float> values(3);
    realtime::watch(true);
    for (int i = 0; i < steps; ++i) {
      monitor.tick(std::int64_t{i} * 1'000'000);
      static_cast<void>(channel.record(values));
      policy.mark(ganglion::FlightEvent::took_over);
    }
    realtime::watch(false);
    check::report(realtime::violations() == 0, "what is beside it keeps still", __FILE__, __LINE__,
                  realtime::last_violation());
    check::report(violations_of_a_loop(policy) == 0, "the recorded policy keeps still", __FILE__, __LINE__,
                  std::string(name) + ": " + realtime::last_violation());
    recorder.close();
    CHECK(recorder.statistics().events > steps);
  }
  fs::remove(file);
}

TEST_CASE("what stands around a step touches neither heap nor locks nor kernel") {
  ganglion::Contract contract = NativePolicy::load(artifact("lstm")).contract();
  contract.period_s = 0.02;
  ganglion::Cadence cadence(contract, 0.001,
                            {.period_s = std::nullopt, .between = ganglion::Between::linear, .rows = 1});
  ganglion::TickMonitor monitor(contract);
  ganglion::GuardOptions options;
  options.rate = {1.0};
  options.damping = {0.0};
  ganglion::ActionGuard guard(contract, options);
  std::vector<float> action(contract.action_size(), 0.5F);
  std::vector<float> command(contract.action_size());
  realtime::watch(true);
  const std::uint64_t seen = realtime::fly(steps, cadence, monitor, guard, action, command);
  realtime::watch(false);
  CHECK(seen > 0);
  check::report(realtime::violations() == 0, "the flight keeps still", __FILE__, __LINE__, realtime::last_violation());
}

TEST_CASE("a look at an observation touches neither heap nor locks nor kernel") {
  ganglion::Contract contract = NativePolicy::load(artifact("lstm")).contract();
  contract.period_s = 0.02;
  contract.observation_profile = profiles::plain(contract.observation_size());
  ganglion::ObservationMonitor monitor(contract);
  std::vector<float> observation(monitor.rows() * monitor.size(), 0.5F);
  const std::vector<std::uint8_t> rows(monitor.rows(), 1);
  realtime::watch(true);
  const std::uint64_t seen = realtime::look(steps, monitor, observation, rows);
  realtime::watch(false);
  CHECK(seen > 0);
  check::report(realtime::violations() == 0, "the monitor keeps still", __FILE__, __LINE__, realtime::last_violation());
}

template <class AnyPolicy>
void check_exchanges(const fs::path& path) {
  const AnyPolicy original = AnyPolicy::load(path);
  ganglion::PolicySwitch flight(original.clone());
  const std::vector<float> observation(original.batch() * original.contract().observation_size(), 0.1F);
  std::vector<float> action(original.batch() * original.contract().action_size());
  const std::vector<std::uint8_t> rows(original.batch(), 1);
  constexpr int exchanges = 100;
  std::uint64_t violations = 0;
  std::uint64_t good = 0;
  for (int i = 0; i < exchanges; ++i) {
    ganglion::SwitchOptions options;
    options.state = static_cast<ganglion::StateHandOver>(i % 3);
    if (i % 2 == 0) options.gate = {0.1};
    flight.stage(original.clone(), options);
    realtime::watch(true);
    good += realtime::exchange(1000, flight, observation, action, rows);
    realtime::watch(false);
    violations += realtime::violations();
  }
  CHECK_EQUAL(good, 1000U * exchanges);
  CHECK(flight.report().exchanges >= exchanges / 2 && flight.report().roll_backs >= exchanges / 2);
  check::report(violations == 0, "an exchange keeps still", __FILE__, __LINE__, realtime::last_violation());
}

TEST_CASE("an exchange of policies touches neither heap nor locks nor kernel") {
  for (const char* const name : {"lstm", "gru_batch4"}) {
    check_exchanges<NativePolicy>(artifact(name));
    check_exchanges<Policy>(artifact(name));
  }
}

TEST_CASE("the caller's floating-point mode is given back") {
  NativePolicy policy = NativePolicy::load(artifact("lstm"));
  std::vector<float> observation(policy.contract().observation_size());
  std::vector<float> action(policy.contract().action_size());
#if defined(__x86_64__)
  const unsigned int before = _mm_getcsr();
  static_cast<void>(policy.step(observation, action));
  CHECK_EQUAL(_mm_getcsr() & ~0x3FU, before & ~0x3FU);  // but for the sticky flags
#endif
  static_cast<void>(policy.step(observation, action));
  volatile float tiny = 1e-40F;
  CHECK(tiny * 0.5F != 0.0F);
}

int main() { return check::run_all(); }
