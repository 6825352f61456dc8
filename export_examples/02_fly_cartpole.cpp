// A 500 Hz controller: MuJoCo simulates cart and pole, an exported policy balances the pole.
//
//   02_fly_cartpole ARTIFACT MODEL.xml OUT.csv [--starts FILE] [--engine automatic|native|onnxruntime|libtorch]
//
// Every start of the file (default: starts.csv beside the model) is flown for 20 simulated seconds. Half-way the cart
// goes to the next start and the policy forgets. Writes every step to OUT.csv, prints one line, and answers 0 only
// where every pole stayed up. The libraries of the engines are found by GANGLION_ONNXRUNTIME and GANGLION_LIBTORCH.
#include <mujoco/mujoco.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <ganglion/policy.hpp>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

// The same numbers as in cartpole.py.
constexpr double flight_seconds = 20.0;
constexpr double fallen_angle = 0.8;       // rad
constexpr double rail_end = 1.45;          // m
constexpr double settled_angle = 0.03;     // rad
constexpr double settled_position = 0.10;  // m
constexpr double settled_tail = 2.0;       // s

struct Start {
  double cart_position, pole_angle, cart_velocity, pole_velocity;
};

struct Record {
  std::size_t flight;
  double time_s;
  std::array<float, 2> observation;
  float force;
  double pole_angle;
  std::int64_t step_ns;
};

struct Arguments {
  fs::path artifact, model, out, starts;
  ganglion::Engine engine = ganglion::Engine::automatic;
};

struct Simulation {
  explicit Simulation(const fs::path& file) {
    std::array<char, 1000> reason{};
    model.reset(mj_loadXML(file.c_str(), nullptr, reason.data(), static_cast<int>(reason.size())));
    if (!model) throw std::runtime_error(file.string() + ": " + reason.data());
    if (model->nq != 2 || model->nv != 2 || model->nu != 1) {
      throw std::runtime_error(file.string() + ": no cart with a pole: two joints and one motor are needed");
    }
    data.reset(mj_makeData(model.get()));
  }

  void restart(const Start& start) {
    mj_resetData(model.get(), data.get());
    data->qpos[0] = start.cart_position;
    data->qpos[1] = start.pole_angle;
    data->qvel[0] = start.cart_velocity;
    data->qvel[1] = start.pole_velocity;
  }

  std::unique_ptr<mjModel, decltype(&mj_deleteModel)> model{nullptr, mj_deleteModel};
  std::unique_ptr<mjData, decltype(&mj_deleteData)> data{nullptr, mj_deleteData};
};

ganglion::Engine engine_from(std::string_view name) {
  using ganglion::Engine;
  for (const Engine engine : {Engine::automatic, Engine::native, Engine::onnxruntime, Engine::libtorch}) {
    if (name == ganglion::to_string(engine)) return engine;
  }
  throw std::runtime_error("unknown engine '" + std::string(name) + "'");
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  std::vector<fs::path> places;
  for (int index = 1; index < argc; ++index) {
    const std::string_view word = argv[index];
    if (word == "--engine" && index + 1 < argc) {
      arguments.engine = engine_from(argv[++index]);
    } else if (word == "--starts" && index + 1 < argc) {
      arguments.starts = argv[++index];
    } else if (word.starts_with("--")) {
      throw std::runtime_error("unknown or incomplete option '" + std::string(word) + "'");
    } else {
      places.emplace_back(word);
    }
  }
  if (places.size() != 3) {
    throw std::runtime_error("usage: 02_fly_cartpole ARTIFACT MODEL.xml OUT.csv [--starts FILE] [--engine ENGINE]");
  }
  arguments.artifact = places[0];
  arguments.model = places[1];
  arguments.out = places[2];
  if (arguments.starts.empty()) arguments.starts = arguments.model.parent_path() / "starts.csv";
  return arguments;
}

std::vector<Start> read_starts(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  if (!std::getline(stream, line)) throw std::runtime_error(file.string() + ": no starts to read");
  std::vector<Start> starts;
  while (std::getline(stream, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream fields(line);
    Start start{};
    fields >> start.cart_position >> start.pole_angle >> start.cart_velocity >> start.pole_velocity;
    if (!fields) throw std::runtime_error(file.string() + ": four numbers a line are needed, not '" + line + "'");
    starts.push_back(start);
  }
  if (starts.empty()) throw std::runtime_error(file.string() + ": no starts in this file");
  return starts;
}

// Fails where a step is refused: a real controller would hold its last command, or stop the robot.
std::vector<Record> fly(Simulation& simulation, ganglion::Policy& policy, const std::vector<Start>& starts) {
  const double period_s = simulation.model->opt.timestep;
  const auto steps = static_cast<std::size_t>(std::llround(flight_seconds / period_s));
  std::vector<Record> records;
  records.reserve(steps * starts.size());
  std::array<float, 2> observation{};
  std::array<float, 1> action{};
  for (std::size_t flight = 0; flight < starts.size(); ++flight) {
    for (std::size_t step = 0; step < steps; ++step) {
      if (step % (steps / 2) == 0) {
        simulation.restart(starts[(flight + step / (steps / 2)) % starts.size()]);
        policy.reset();
      }
      const double pole_angle = simulation.data->qpos[1];
      observation = {static_cast<float>(simulation.data->qpos[0]), static_cast<float>(pole_angle)};
      const auto before = std::chrono::steady_clock::now();
      const ganglion::Status status = policy.step(observation, action);
      const auto step_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - before).count();
      if (status != ganglion::Status::ok) {
        throw std::runtime_error(std::string("step refused: ") + ganglion::to_string(status));
      }
      records.push_back({flight, static_cast<double>(step) * period_s, observation, action[0], pole_angle, step_ns});
      simulation.data->ctrl[0] = static_cast<double>(action[0]);
      mj_step(simulation.model.get(), simulation.data.get());
    }
  }
  return records;
}

bool balanced(const std::vector<Record>& records) {
  const double leg_s = flight_seconds / 2.0;
  return std::all_of(records.begin(), records.end(), [&](const Record& record) {
    const double angle = std::abs(record.pole_angle);
    const double position = std::abs(static_cast<double>(record.observation[0]));
    if (angle > fallen_angle || position > rail_end) return false;
    const bool tail = std::fmod(record.time_s, leg_s) >= leg_s - settled_tail;
    return !tail || (angle < settled_angle && position < settled_position);
  });
}

void write(const fs::path& file, const std::vector<Record>& records) {
  const fs::path temporary = file.string() + ".part";
  std::FILE* stream = std::fopen(temporary.c_str(), "w");
  if (stream == nullptr) throw std::runtime_error(file.string() + ": cannot be written");
  std::fprintf(stream,
               "flight,time_s,observed_cart_position_m,observed_pole_angle_rad,cart_force_n,pole_angle_rad,step_ns\n");
  for (const Record& record : records) {
    std::fprintf(stream, "%zu,%.17g,%.9g,%.9g,%.9g,%.17g,%lld\n", record.flight, record.time_s,
                 static_cast<double>(record.observation[0]), static_cast<double>(record.observation[1]),
                 static_cast<double>(record.force), record.pole_angle, static_cast<long long>(record.step_ns));
  }
  const bool failed = std::ferror(stream) != 0;
  if (std::fclose(stream) != 0 || failed) {
    fs::remove(temporary);
    throw std::runtime_error(file.string() + ": cannot be written");
  }
  fs::rename(temporary, file);
}

void print_summary(const std::vector<Record>& records, ganglion::Engine engine) {
  std::vector<double> microseconds;
  double worst_angle = 0.0;
  for (const Record& record : records) {
    microseconds.push_back(static_cast<double>(record.step_ns) / 1000.0);
    worst_angle = std::max(worst_angle, std::abs(record.pole_angle));
  }
  std::sort(microseconds.begin(), microseconds.end());
  std::printf("%s: %s, worst angle %.4f rad, step median %.1f us, worst %.1f us\n", ganglion::to_string(engine),
              balanced(records) ? "balanced" : "NOT balanced", worst_angle, microseconds[microseconds.size() / 2],
              microseconds.back());
}

}  // namespace

int main(int argc, char** argv) try {
  const Arguments arguments = parse(argc, argv);
  const std::vector<Start> starts = read_starts(arguments.starts);
  Simulation simulation(arguments.model);
  ganglion::LoadOptions options;
  options.engine = arguments.engine;
  auto policy = ganglion::Policy::load(arguments.artifact, options);

  const ganglion::Contract& contract = policy.contract();
  if (policy.batch() != 1 || contract.observation_size() != 2 || contract.action_size() != 1) {
    throw std::runtime_error(arguments.artifact.string() + ": takes other observations or actions than one cart has");
  }
  if (contract.period_s && std::abs(*contract.period_s - simulation.model->opt.timestep) > 1e-9) {
    throw std::runtime_error("the policy was trained at another control period than the model is stepped at");
  }

  const std::vector<Record> records = fly(simulation, policy, starts);
  write(arguments.out, records);
  print_summary(records, policy.engine());
  return balanced(records) ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
