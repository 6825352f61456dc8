// A controller in C++17: policy, cadence, guard, recorder and switch. wrapper ARTIFACT RECORDING
#include <cstdio>
#include <ganglion.hpp>
#include <string>
#include <utility>
#include <vector>

namespace c = ganglion::c;

int main(int count, char** words) try {
  if (count != 3) return 2;
  c::Policy policy = c::Policy::load(words[1]);
  const ganglion_policy_info info = policy.info();
  std::vector<float> observation(info.batch * info.observation_size, 0.1F);
  std::vector<float> action(info.batch * info.action_size);
  std::vector<float> command(action.size());
  if (policy.self_test().steps == 0) return 3;
  if (policy.contract_json().find("\"sha256\"") == std::string::npos) return 4;

  ganglion_recorder_options recording = c::FlightRecorder::options();
  recording.overwrite = 1;
  c::FlightRecorder recorder(words[2], recording);
  policy.attach(recorder);
  c::FlightRecorder::Channel channel = recorder.channel("command", command.size());

  ganglion_cadence_options slow = c::Cadence::options();
  slow.period_s = 0.02;
  c::Cadence cadence(policy, 0.001, slow);
  ganglion_tick_options ticks = c::TickMonitor::options();
  ticks.period_s = 0.001;
  c::TickMonitor monitor(policy, ticks);
  monitor.attach(recorder);
  const double rate = 100.0;
  ganglion_guard_options guarding = c::ActionGuard::options();
  guarding.rate = &rate;
  guarding.rate_count = 1;
  guarding.longest_tick_s = 0.04;
  c::ActionGuard guard(policy, guarding);
  if (guard.engage(command) != GANGLION_OK) return 5;
  int steps = 0;
  for (std::int64_t now = 0; now < 1'000'000'000; now += 1'000'000) {
    monitor.tick(now);
    if (cadence.due(now)) {
      if (policy.step(observation, action) != GANGLION_OK || cadence.take(action) != GANGLION_OK) return 6;
      if (++steps <= 5) std::printf("%.9g\n", action[0]);
    }
    if (cadence.action(now, command) != GANGLION_OK || guard.apply(command, now, command) != GANGLION_OK) return 7;
    if (channel.record(command) != GANGLION_OK) return 8;
  }
  if (steps != 50 || monitor.statistics().ticks != 1000 || !monitor.mismatch().empty()) return 9;
  recorder.close();

  c::PolicySwitch flight(policy);
  flight.stage(policy.clone());
  flight.take_over();
  for (int i = 0; i < 200; ++i) {
    if (flight.step(observation, action) != GANGLION_OK) return 10;
  }
  if (flight.report().exchanges != 1) return 11;

  c::Policy moved = std::move(policy);
  if (policy.step(observation, action) != GANGLION_CALL_NULL_POINTER) return 12;
  try {
    c::Policy::load("/nowhere/at.all");
    return 13;
  } catch (const c::Error& error) {
    if (error.status() != GANGLION_ERROR_FILE_NOT_FOUND || std::string(error.what()).empty()) return 14;
  }
  return moved.reset() == GANGLION_OK ? 0 : 15;
} catch (const c::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
