// The observations of a four-legged robot, as its own C++ code makes them of the states that training recorded.
//
//   python export_examples/11_wiring.py RUN.npz
//   11_wiring RUN.npz ADAPTER.npz [--repaired]
//   ganglion wiring RUN.npz ADAPTER.npz
//
// Three things are wrong with it, and each would let the right network fall; the last line names them.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <ganglion/adapter_check.hpp>
#include <numbers>
#include <span>
#include <stdexcept>
#include <string_view>

namespace {

constexpr std::size_t joints = 8;
constexpr std::size_t observation_size = 1 + 4 + joints + 3 + 3 + joints;

/// What a controller has: it knows nothing of recordings.
class Adapter {
 public:
  explicit Adapter(bool is_repaired) : is_repaired_(is_repaired) {}

  /// Height, orientation (w, x, y, z), joints, velocity, angular velocity of the body, velocities of the joints.
  void observe(std::span<const double> qpos, std::span<const double> qvel, std::span<float> observation) const {
    auto out = observation.begin();
    const auto write = [&out](double number) { *out++ = static_cast<float>(number); };
    const std::span<const double> orientation = qpos.subspan(3, 4);
    write(qpos[2]);
    for (const double part : orientation) write(part);
    for (const std::size_t joint : order()) write(qpos[7 + joint]);
    for (const double speed : qvel.first(3)) write(speed);
    for (const double rate : angular_velocity(orientation, qvel.subspan(3, 3))) write(rate);
    for (const std::size_t joint : order()) write(qvel[6 + joint] * (is_repaired_ ? 1.0 : 180.0 / std::numbers::pi));
  }

 private:
  /// 1st fault: the bus of the motors has the legs in another order than training.
  [[nodiscard]] std::array<std::size_t, joints> order() const {
    return is_repaired_ ? std::array<std::size_t, joints>{0, 1, 2, 3, 4, 5, 6, 7}
                        : std::array<std::size_t, joints>{2, 3, 0, 1, 6, 7, 4, 5};
  }

  /// 2nd fault: the estimator turns into the frame of the world what training has in that of the body. (The 3rd one is
  /// above: the encoders count degrees.)
  [[nodiscard]] std::array<double, 3> angular_velocity(std::span<const double> orientation,
                                                       std::span<const double> rate) const {
    if (is_repaired_) return {rate[0], rate[1], rate[2]};
    double size = 0.0;
    for (const double part : orientation) size += part * part;
    const double w = orientation[0];
    const std::array<double, 3> axis{orientation[1], orientation[2], orientation[3]};
    const auto cross = [](const auto& a, const auto& b) {
      return std::array<double, 3>{a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
    };
    const auto once = cross(axis, rate);
    const auto twice = cross(axis, once);
    std::array<double, 3> turned{};
    for (std::size_t i = 0; i < 3; ++i) turned[i] = rate[i] + 2.0 * (w * once[i] + twice[i]) / size;
    return turned;
  }

  bool is_repaired_;
};

}  // namespace

int main(int argc, char** argv) try {
  const bool is_repaired = argc == 4 && std::string_view(argv[3]) == "--repaired";
  if (argc != 3 && !is_repaired) throw std::runtime_error("usage: 11_wiring RUN.npz ADAPTER.npz [--repaired]");
  const Adapter adapter(is_repaired);
  const ganglion::AdapterCheck done = ganglion::check_adapter(
      argv[1], argv[2], observation_size, [&adapter](const ganglion::RawState& raw, std::span<float> observation) {
        adapter.observe(raw["qpos"], raw["qvel"], observation);
      });
  std::printf("%s: %zu steps, %zu resets\n", argv[2], done.steps, done.resets);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "11_wiring: %s\n", error.what());
  return 1;
}
