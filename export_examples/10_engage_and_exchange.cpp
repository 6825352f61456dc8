// The cart-pole engages from rest and exchanges its policy in the air: MuJoCo at 1 kHz, the policy at its 500 Hz.
//
//   10_engage_and_exchange ARTIFACT CANDIDATE MODEL.xml OUT.mcap
//   ganglion replay OUT.mcap
//
// The pole is held up while the policy burns in on live observations; then an ActionGuard lets it take over. After
// eight seconds another thread loads the candidate, which flies as soon as its actions agree. Answers 0 only where the
// pole stayed up, the force never jumped, and the candidate flies.
#include <mujoco/mujoco.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <future>
#include <ganglion/action_guard.hpp>
#include <ganglion/cadence.hpp>
#include <ganglion/flight_recorder.hpp>
#include <ganglion/native_policy.hpp>
#include <ganglion/policy_switch.hpp>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

constexpr double physics_s = 0.001;
constexpr std::int64_t millisecond = 1'000'000;
constexpr std::int64_t held_ticks = 500;     // the pole is held up, and the policy burns in
constexpr std::int64_t staged_tick = 8'000;  // another thread loads the candidate
constexpr std::int64_t flight_ticks = 20'000;
constexpr double force_rate = 100.0;  // N/s

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) throw std::runtime_error("usage: 10_engage_and_exchange ARTIFACT CANDIDATE MODEL.xml OUT.mcap");
  std::array<char, 1000> reason{};
  const std::unique_ptr<mjModel, decltype(&mj_deleteModel)> model(
      mj_loadXML(argv[3], nullptr, reason.data(), static_cast<int>(reason.size())), mj_deleteModel);
  if (!model) throw std::runtime_error(reason.data());
  model->opt.timestep = physics_s;
  const std::unique_ptr<mjData, decltype(&mj_deleteData)> data(mj_makeData(model.get()), mj_deleteData);
  data->qpos[1] = 0.05;
  const auto seen = [&] {
    return std::array<float, 2>{static_cast<float>(data->qpos[0]), static_cast<float>(data->qpos[1])};
  };

  auto policy = ganglion::NativePolicy::load(argv[1]);
  ganglion::Cadence cadence(policy.contract(), physics_s);
  ganglion::GuardOptions guarded;
  guarded.rate = {force_rate};
  guarded.blend_s = 0.05;
  ganglion::ActionGuard guard(policy.contract(), guarded);
  auto recorder = ganglion::FlightRecorder::open(argv[4], {.overwrite = true});
  recorder.set_time(0);  // simulated; on a robot the recorder takes the time itself
  policy.attach(recorder);

  // Burn in: the robot is held where it is, and the policy sees what it will see.
  std::vector<float> recent;
  for (std::int64_t tick = 0; tick < held_ticks; ++tick) {
    if (!cadence.due(tick * millisecond)) continue;
    const auto observation = seen();
    recent.insert(recent.end(), observation.begin(), observation.end());
  }
  if (policy.burn_in(recent).status != ganglion::Status::ok) throw std::runtime_error("a burn-in was refused");

  // Engage: from no force at all.
  std::array<float, 1> command{};
  if (!guard.engage(command)) throw std::runtime_error("the guard was not engaged");
  ganglion::PolicySwitch flight(std::move(policy));
  std::array<float, 1> force{};
  double largest_jump = 0.0;
  for (std::int64_t tick = held_ticks; tick < flight_ticks; ++tick) {
    const std::int64_t now_ns = tick * millisecond;
    recorder.set_time(now_ns);
    if (tick == staged_tick) {
      const auto load = [&] {
        auto candidate = ganglion::NativePolicy::load(argv[2]);
        candidate.attach(recorder);
        ganglion::SwitchOptions options;
        options.gate = {0.05};  // N
        options.agreeing_steps = 250;
        options.blend_s = 0.1;
        flight.stage(std::move(candidate), options);
      };
      std::async(std::launch::async, load).get();  // simulated time waits; the loop of a robot goes on meanwhile
    }
    if (cadence.due(now_ns)) {
      if (flight.step(seen(), force) != ganglion::Status::ok || cadence.take(force) != ganglion::Status::ok) {
        throw std::runtime_error("a step was refused");
      }
    }
    const float before = command[0];
    static_cast<void>(cadence.action(now_ns, force));
    static_cast<void>(guard.apply(force, now_ns, command));
    largest_jump = std::max(largest_jump, std::abs(static_cast<double>(command[0]) - static_cast<double>(before)));
    if (tick % 1000 == 999) recorder.flush();  // a simulation can be faster than the disk
    data->ctrl[0] = static_cast<double>(command[0]);
    mj_step(model.get(), data.get());
    if (std::abs(data->qpos[1]) > 0.8) throw std::runtime_error("the pole fell");
  }
  recorder.close();
  const ganglion::SwitchReport report = flight.report();
  std::printf("%s\nthe force never jumped by more than %.3f N, pole at %.4f rad\n", report.sentence().c_str(),
              largest_jump, data->qpos[1]);
  const bool is_good = report.outcome == ganglion::SwitchOutcome::took_over && std::abs(data->qpos[1]) < 0.03 &&
                       largest_jump <= force_rate * physics_s + 1e-6;
  return is_good ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
