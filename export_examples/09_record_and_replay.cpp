// A flight of the cart-pole that is recorded: MuJoCo at 1 kHz, the policy at its 500 Hz.
//
//   09_record_and_replay ARTIFACT MODEL.xml OUT.mcap
//   ganglion replay OUT.mcap
//
// The recording holds the policy, too, so the second line needs nothing else, and every bit is the same.
#include <mujoco/mujoco.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <ganglion/cadence.hpp>
#include <ganglion/flight_recorder.hpp>
#include <ganglion/policy.hpp>
#include <memory>
#include <stdexcept>

namespace {

constexpr double physics_s = 0.001;
constexpr std::int64_t flight_ticks = 20'000;

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) throw std::runtime_error("usage: 09_record_and_replay ARTIFACT MODEL.xml OUT.mcap");
  std::array<char, 1000> reason{};
  const std::unique_ptr<mjModel, decltype(&mj_deleteModel)> model(
      mj_loadXML(argv[2], nullptr, reason.data(), static_cast<int>(reason.size())), mj_deleteModel);
  if (!model) throw std::runtime_error(reason.data());
  model->opt.timestep = physics_s;
  const std::unique_ptr<mjData, decltype(&mj_deleteData)> data(mj_makeData(model.get()), mj_deleteData);

  auto policy = ganglion::Policy::load(argv[1]);
  ganglion::Cadence cadence(policy.contract(), physics_s);
  auto recorder = ganglion::FlightRecorder::open(argv[3], {.snapshot_s = 5.0, .overwrite = true});
  policy.attach(recorder);
  auto state = recorder.channel("cart_state", 4);

  std::array<float, 1> force{};
  for (std::int64_t tick = 0; tick < flight_ticks; ++tick) {
    const std::int64_t now_ns = tick * 1'000'000;
    recorder.set_time(now_ns);  // simulated; on a robot the recorder takes the time itself
    if (tick % (flight_ticks / 2) == 0) {
      mj_resetData(model.get(), data.get());
      data->qpos[1] = tick == 0 ? 0.15 : -0.15;
      policy.reset();
    }
    const std::array<float, 2> seen = {static_cast<float>(data->qpos[0]), static_cast<float>(data->qpos[1])};
    if (cadence.due(now_ns)) {
      if (policy.step(seen, force) != ganglion::Status::ok) throw std::runtime_error("a step was refused");
      const std::array<float, 4> all = {seen[0], seen[1], static_cast<float>(data->qvel[0]),
                                        static_cast<float>(data->qvel[1])};
      static_cast<void>(state.record(all));
    }
    if (tick % 1000 == 999) recorder.flush();  // a simulation can be faster than the disk
    data->ctrl[0] = static_cast<double>(force[0]);
    mj_step(model.get(), data.get());
  }
  recorder.close();
  const ganglion::RecorderStatistics written = recorder.statistics();
  std::printf("%s: %llu events, %llu dropped, pole at %.4f rad\n", argv[3],
              static_cast<unsigned long long>(written.events), static_cast<unsigned long long>(written.dropped),
              data->qpos[1]);
  return written.dropped == 0 && std::abs(data->qpos[1]) < 0.03 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
