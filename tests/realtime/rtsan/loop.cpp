// rtsan_loop FILE...: 10,000 rounds of the control loop with every .ganglion file, on every instruction set of this
// machine, in functions that the compiler knows to be nonblocking.

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <vector>

#include "flight_loop.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/native_policy.hpp"
#include "ganglion/policy.hpp"
#include "io/artifact.hpp"
#include "native/kernels/choice.hpp"
#include "native/model.hpp"
#include "observation_profiles.hpp"

namespace {

using ganglion::NativePolicy;
using ganglion::Status;
namespace native = ganglion::native;

constexpr std::size_t rounds = 10'000;

/// Every verb of the loop. Answers how many steps were ok.
std::size_t loop(NativePolicy& policy, std::span<const float> observations, std::span<float> action,
                 std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING {
  const std::size_t size = observations.size() / 2;
  std::size_t good = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    good += policy.step(observations.subspan(round % size, size), action) == Status::ok ? 1 : 0;
    if (round % 100 == 98) good -= policy.burn_in(observations.first(size)).status == Status::ok ? 0 : 1;
    if (round % 100 == 99) policy.reset();
    if (round % 50 == 49) static_cast<void>(policy.reset(rows));
    if (round % 10 == 9) static_cast<void>(policy.set_state(policy.state()));
    if (round % 10 == 8) static_cast<void>(policy.set_applied_action(action));
    static_cast<void>(policy.output(round % 3));
    static_cast<void>(policy.contract());
    static_cast<void>(policy.batch());
#if defined(GANGLION_PLANT_VIOLATION)
    std::vector<float> copy(action.begin(), action.end());
    good += copy.size();
#endif
  }
  return good;
}

std::vector<float> numbers(std::size_t size) {
  std::vector<float> result(size);
  for (std::size_t i = 0; i < size; ++i) result[i] = 0.125F * static_cast<float>(i % 17) - 1.0F;
  return result;
}

void run_flight(const char* path) {
  ganglion::Contract contract = ganglion::inspect(path);
  contract.period_s = 0.02;
  ganglion::Cadence cadence(contract, 0.001);
  ganglion::TickMonitor monitor(contract);
  ganglion::GuardOptions options;
  options.rate = {1.0};
  ganglion::ActionGuard guard(contract, options);
  auto action = numbers(contract.action_size());
  std::vector<float> command(action.size());
  std::printf("around a step: %llu\n",
              static_cast<unsigned long long>(
                  realtime::fly(static_cast<std::int64_t>(rounds), cadence, monitor, guard, action, command)));
}

void run_monitor(const char* path) {
  ganglion::Contract contract = ganglion::inspect(path);
  contract.period_s = 0.02;
  contract.observation_profile = profiles::plain(contract.observation_size());
  ganglion::ObservationMonitor monitor(contract);
  auto observation = numbers(monitor.rows() * monitor.size());
  const std::vector<std::uint8_t> rows(monitor.rows(), 1);
  std::printf("a look: %llu\n", static_cast<unsigned long long>(realtime::look(rounds, monitor, observation, rows)));
}

void run_exchange(const char* path) {
  const NativePolicy original = NativePolicy::load(path);
  ganglion::PolicySwitch flight(original.clone());
  const auto observation = numbers(original.batch() * original.contract().observation_size());
  std::vector<float> action(original.batch() * original.contract().action_size());
  const std::vector<std::uint8_t> rows(original.batch(), 1);
  unsigned long long good = 0;
  for (int i = 0; i < 10; ++i) {
    ganglion::SwitchOptions options;
    options.state = static_cast<ganglion::StateHandOver>(i % 3);
    flight.stage(original.clone(), options);
    good += realtime::exchange(rounds / 10, flight, observation, action, rows);
  }
  std::printf("exchanges: %llu of %zu steps ok\n", good, rounds);
}

void run_session(native::Session& session) noexcept GANGLION_NONBLOCKING {
  for (std::size_t round = 0; round < rounds; ++round) session.run(round % 2);
}

void run_policy(const char* path) {
  ganglion::NativeOptions options;
  options.batch = 0;
  // Those whose outputs are a distribution are drawn from.
  const auto& outputs = ganglion::inspect(path).outputs;
  if (outputs[0].name == "mean" || (outputs.size() > 1 && outputs[1].name == "logits")) options.sample_seed = 1;
  NativePolicy policy = NativePolicy::load(path, options);
  auto recorder = ganglion::FlightRecorder::open("/dev/shm/ganglion-rtsan.mcap", {.overwrite = true});
  policy.attach(recorder);
  const auto observations = numbers(2 * policy.batch() * policy.contract().observation_size());
  std::vector<float> action(policy.batch() * policy.contract().action_size());
  const std::vector<std::uint8_t> rows(policy.batch(), 1);
  const std::size_t good = loop(policy, observations, action, rows);
  recorder.close();
  std::filesystem::remove("/dev/shm/ganglion-rtsan.mcap");
  std::printf("%s: %zu of %zu steps ok, recorded; session", path, good, rounds);
}

void run_on(ganglion::Isa isa, const char* path) {
  const native::KernelTable* kernels = native::kernels_for(isa);
  if (kernels == nullptr) return;
  const auto artifact = ganglion::detail::read_artifact(path);
  const std::size_t batch = artifact.contract->batch.value_or(1);
  const auto observation = numbers(batch * artifact.contract->observation_size());
  std::array<std::vector<float>, 2> state;
  std::array<std::vector<float>, 2> outputs;
  for (auto& buffer : state) buffer.resize(batch * artifact.contract->hidden_size());
  for (auto& buffer : outputs) buffer.resize(batch * artifact.contract->output_size());
  const auto session = native::Session::make(
      native::Model::make(*artifact.program, batch, *kernels, false),
      {observation.data(), {state[0].data(), state[1].data()}, {outputs[0].data(), outputs[1].data()}});
  run_session(*session);
  std::printf(" %s", kernels->name);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: rtsan_loop FILE...\n");
    return 2;
  }
  try {
    run_flight(argv[1]);
    run_monitor(argv[1]);
    run_exchange(argv[1]);
    for (int i = 1; i < argc; ++i) {
      run_policy(argv[i]);
      for (const auto isa : ganglion::every_isa) run_on(isa, argv[i]);
      std::printf("\n");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
