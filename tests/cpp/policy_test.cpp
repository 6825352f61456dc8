// The rules of Policy on one engine, which is named on the command line.

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <ganglion/policy.hpp>
#include <limits>
#include <sstream>

#include "burn_in.hpp"
#include "check.hpp"
#include "moved_from.hpp"

namespace {

namespace fs = std::filesystem;
using ganglion::Engine;
using ganglion::ErrorCode;
using ganglion::LoadOptions;
using ganglion::Policy;
using ganglion::Status;

Engine engine = Engine::automatic;

fs::path artifact(const std::string& name) {
  const char* const suffix = engine == Engine::native ? ".ganglion" : engine == Engine::onnxruntime ? ".onnx" : ".pt";
  return fs::path(GANGLION_ARTIFACTS) / (name + suffix);
}

using Floats = std::vector<float>;

Floats copy(std::span<const float> values) { return {values.begin(), values.end()}; }

bool same_bytes(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

Floats wave(std::size_t size, int step) {
  Floats values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = std::sin(0.3F * static_cast<float>(step) + static_cast<float>(i));
  return values;
}

/// Steps a policy with the same observations from wherever it is; the actions of all steps.
Floats fly(Policy& policy, int steps) {
  Floats action(policy.batch() * policy.contract().action_size());
  Floats all;
  for (int step = 0; step < steps; ++step) {
    CHECK_EQUAL(policy.step(wave(policy.batch() * policy.contract().observation_size(), step), action), Status::ok);
    all.insert(all.end(), action.begin(), action.end());
  }
  return all;
}

/// Checks that a step is refused with `expected` and that action and state keep their bytes.
void check_refused(Policy& policy, const Floats& observation, Status expected) {
  Floats action(policy.contract().action_size(), -7.0F);
  const Floats before = copy(policy.state());
  const Floats output = copy(policy.output(0));
  CHECK_EQUAL(policy.step(observation, action), expected);
  CHECK(same_bytes(action, Floats(action.size(), -7.0F)));
  CHECK(same_bytes(policy.state(), before));
  CHECK(same_bytes(policy.output(0), output));
}

}  // namespace

TEST_CASE("load describes the policy and passes its self-test") {
  const Policy policy = Policy::load(artifact("lstm"));
  CHECK_EQUAL(policy.engine(), engine);
  CHECK_EQUAL(policy.realtime_safe(), engine == Engine::native);
  CHECK_EQUAL(policy.batch(), 1U);
  CHECK_EQUAL(policy.contract().observation_size(), 3U);
  CHECK_EQUAL(policy.contract().hidden_size(), 32U);
  const ganglion::SelfTest test = policy.self_test();
  CHECK(test.ok);
  CHECK(test.steps >= 64U);
  CHECK(test.max_error < 1e-5);
  CHECK(test.worst_step_us >= test.median_step_us && test.median_step_us > 0.0);
}

TEST_CASE("warm-up, self-test and clones leave no trace in the state") {
  LoadOptions cold;
  cold.warmup_steps = 0;
  cold.self_test = false;
  Policy plain = Policy::load(artifact("lstm"), cold);
  Policy warm = Policy::load(artifact("lstm"));
  CHECK(same_bytes(plain.state(), warm.state()));
  CHECK(warm.output(0).empty());
  const Floats expected = fly(plain, 10);
  Policy twin = warm.clone();
  CHECK(same_bytes(fly(warm, 10), expected));
  CHECK(warm.self_test().ok);
  CHECK(same_bytes(fly(twin, 10), expected));
  CHECK(same_bytes(warm.state(), twin.state()));
}

TEST_CASE("a clone carries state and outputs on and then lives alone") {
  Policy policy = Policy::load(artifact("lstm"));
  fly(policy, 5);
  Policy twin = policy.clone();
  CHECK(same_bytes(twin.state(), policy.state()));
  CHECK(same_bytes(twin.output(0), policy.output(0)));
  twin.reset();
  const Floats kept = copy(policy.state());
  fly(twin, 3);
  CHECK(same_bytes(policy.state(), kept));
}

TEST_CASE("reset restores the initial state, and memory matters") {
  Policy policy = Policy::load(artifact("lstm"));
  const Floats first = fly(policy, 8);
  CHECK(!same_bytes(fly(policy, 8), first));
  policy.reset();
  CHECK(same_bytes(policy.state(), policy.contract().initial_state));
  CHECK(same_bytes(fly(policy, 8), first));
}

TEST_CASE("set_state takes a state back and refuses what is none") {
  Policy policy = Policy::load(artifact("lstm"));
  fly(policy, 4);
  const Floats kept = copy(policy.state());
  const Floats next = fly(policy, 4);
  CHECK_EQUAL(policy.set_state(kept), Status::ok);
  CHECK(same_bytes(fly(policy, 4), next));
  const Floats now = copy(policy.state());
  CHECK_EQUAL(policy.set_state(Floats(3)), Status::bad_size);
  Floats bad = kept;
  bad[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK_EQUAL(policy.set_state(bad), Status::non_finite_state);
  CHECK(same_bytes(policy.state(), now));
}

TEST_CASE("a batch equals its rows, and a masked reset touches only its rows") {
  Policy policy = Policy::load(artifact("gru_batch4"));
  CHECK_EQUAL(policy.batch(), 4U);
  const std::size_t hidden = policy.contract().hidden_size();
  const std::size_t actions = policy.contract().action_size();
  fly(policy, 6);
  const Floats before = copy(policy.state());
  const std::vector<std::uint8_t> rows{0, 1, 0, 1};
  CHECK_EQUAL(policy.reset(rows), Status::ok);
  for (std::size_t row = 0; row < 4; ++row) {
    const auto state = policy.state().subspan(row * hidden, hidden);
    const Floats kept(before.begin() + static_cast<std::ptrdiff_t>(row * hidden),
                      before.begin() + static_cast<std::ptrdiff_t>((row + 1) * hidden));
    CHECK(same_bytes(state, rows[row] != 0 ? std::span<const float>(policy.contract().initial_state) : kept));
  }
  CHECK_EQUAL(policy.reset(std::vector<std::uint8_t>(3)), Status::bad_size);

  // Four rows that see the same observations as four batches of one row must act alike.
  Policy other = policy.clone();
  other.reset();
  Floats observation(12);
  for (std::size_t row = 0; row < 4; ++row) {
    for (std::size_t i = 0; i < 3; ++i)
      observation[3 * row + i] = 0.2F * static_cast<float>(row) - 0.1F * static_cast<float>(i);
  }
  Floats together(4 * actions);
  CHECK_EQUAL(other.step(observation, together), Status::ok);
  for (std::size_t row = 0; row < 4; ++row) {
    Floats rotated(12);
    for (std::size_t i = 0; i < 12; ++i) rotated[i] = observation[(3 * row + i) % 12];
    Floats action(4 * actions);
    other.reset();
    CHECK_EQUAL(other.step(rotated, action), Status::ok);
    for (std::size_t i = 0; i < actions; ++i) CHECK(std::abs(action[i] - together[row * actions + i]) < 1e-6F);
  }
}

TEST_CASE("outputs by index") {
  Policy policy = Policy::load(artifact("faulty"));
  Floats action(1);
  CHECK(policy.output(0).empty());
  CHECK_EQUAL(policy.step(Floats{1.0F, 0.0F}, action), Status::ok);
  CHECK_EQUAL(action[0], 2.0F);
  CHECK(same_bytes(policy.output(0), action));
  CHECK_EQUAL(policy.output(1)[0], 1.5F);
  CHECK_EQUAL(policy.state()[0], 1.5F);
  CHECK(policy.output(2).empty());
}

TEST_CASE("every refused step keeps the action and the state") {
  Policy policy = Policy::load(artifact("faulty"));
  Floats action(1);
  CHECK_EQUAL(policy.step(Floats{2.0F, 0.1F}, action), Status::ok);
  check_refused(policy, {1.0F}, Status::bad_size);
  check_refused(policy, {1.0F, 0.0F, 0.0F}, Status::bad_size);
  check_refused(policy, {NAN, 0.0F}, Status::non_finite_observation);
  check_refused(policy, {1.0F, INFINITY}, Status::non_finite_observation);
  check_refused(policy, {1.0F, 1000.0F}, Status::non_finite_action);   // infinite action
  check_refused(policy, {1.0F, -1000.0F}, Status::non_finite_action);  // finite action, infinite state
  // An exception inside the engine; the native one has none: its file keeps the index inside the table.
  if (engine != Engine::native) check_refused(policy, {9.0F, 0.0F}, Status::engine_failure);
  Floats wrong(2);
  CHECK_EQUAL(policy.step(Floats{1.0F, 0.0F}, wrong), Status::bad_size);
  // and the loop goes on as if nothing had been
  const float state = policy.state()[0];
  CHECK_EQUAL(policy.step(Floats{0.0F, 0.0F}, action), Status::ok);
  CHECK_EQUAL(action[0], 1.0F);
  CHECK_EQUAL(policy.state()[0], state + 1.0F);
}

TEST_CASE("a burn-in is so many steps, and stops at the first one that is refused") {
  for (const char* name : {"lstm", "gru_batch4"}) check_burn_in(Policy::load(artifact(name)));
}

TEST_CASE("a policy can be moved") {
  Policy policy = Policy::load(artifact("lstm"));
  const Floats first = fly(policy, 3);
  policy.reset();
  Policy moved = std::move(policy);
  CHECK(same_bytes(fly(moved, 3), first));
  policy = Policy::load(artifact("lstm"));
  CHECK(same_bytes(fly(policy, 3), first));
}

TEST_CASE("options that do not fit are refused") {
  LoadOptions options;
  options.threads = 0;
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::bad_option, "threads");
  if (engine == Engine::native) {
    options.threads = 2;
    CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::bad_option, "threads=1");
  }
  options = {};
  options.batch = 2;
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::bad_option, "fixed to 1");
  options = {};
  options.engine = engine == Engine::onnxruntime ? Engine::libtorch : Engine::onnxruntime;
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::bad_option, "does not run");
  options = {};
  options.batch = std::size_t{1} << 40;
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::bad_option, "fixed to 1");
  if (engine == Engine::native) {
    CHECK_ERROR(Policy::load(artifact("rnn_any"), options), ErrorCode::bad_option, "too large");
    return;
  }
  options = {};
  options.engine = Engine::native;
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::bad_option, "ganglion compile");
}

TEST_CASE("a missing engine says what to install") {
  if (engine == Engine::native) return;  // it is never missing
  LoadOptions options;
  options.onnxruntime_library = "/nowhere/libonnxruntime.so";
  options.libtorch_library = "/nowhere/libganglion_libtorch.so";
  const char* extra = engine == Engine::onnxruntime ? "ganglion[onnx]" : "ganglion[torch]";
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::engine_unavailable, extra);
  CHECK_ERROR(Policy::load(artifact("lstm"), options), ErrorCode::engine_unavailable, "/nowhere");
  CHECK_EQUAL(ganglion::inspect(artifact("lstm"), options).hidden_size(), 32U);  // needs no engine
}

TEST_CASE("rsl_rl files without a contract run with their state fed back") {
  for (const std::string kind : {"lstm", "gru"}) {
    if (!fs::exists(artifact("rsl_rl_" + kind))) continue;  // the GRU is there as ONNX only
    Policy policy = Policy::load(artifact("rsl_rl_" + kind));
    CHECK_EQUAL(policy.contract().hidden_size(), kind == "lstm" ? 48U : 24U);
    std::ifstream recording(fs::path(GANGLION_ARTIFACTS) / ("rsl_rl_" + kind + ".csv"));
    std::string line;
    std::getline(recording, line);
    Floats action(2);
    float worst = 0.0F;
    int steps = 0;
    while (std::getline(recording, line)) {
      std::stringstream fields(line);
      Floats values;
      for (std::string field; std::getline(fields, field, ',');) values.push_back(std::stof(field));
      if (values[0] != 0.0F) policy.reset();
      CHECK_EQUAL(policy.step(std::span(values).subspan(1, 5), action), Status::ok);
      for (std::size_t i = 0; i < 2; ++i) worst = std::max(worst, std::abs(action[i] - values[6 + i]));
      ++steps;
    }
    CHECK_EQUAL(steps, 200);
    CHECK(worst < 1e-6F);
    Policy twin = policy.clone();
    CHECK(same_bytes(twin.state(), policy.state()));
    const Floats kept = copy(policy.state());
    fly(twin, 3);
    CHECK(same_bytes(policy.state(), kept));
  }
}

TEST_CASE("a policy that was moved from says so") {
  check_moved_from(Policy::load(artifact("lstm")), [](const Policy& policy) {
    CHECK(policy.engine() == Engine::automatic && !policy.realtime_safe());
  });
}

int main(int count, char** values) {
  const std::string name = count == 2 ? values[1] : "";
  if (name == "native") {
    engine = Engine::native;
    return check::run_all();
  }
  engine = name == "onnxruntime" ? Engine::onnxruntime : Engine::libtorch;
  const char* library = std::getenv(engine == Engine::onnxruntime ? "GANGLION_ONNXRUNTIME" : "GANGLION_LIBTORCH");
  if (library == nullptr || *library == '\0') {
    std::cout << "skipped: no library for the engine " << name << '\n';
    return 77;
  }
  return check::run_all();
}
