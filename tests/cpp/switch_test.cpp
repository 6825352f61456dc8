// A policy is exchanged while it flies: when, how far an action can jump, what happens to faults, and who frees what.
// Run under ThreadSanitizer, too. "switch_test exchanges 1000000" is that many exchanges between two threads.

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <ganglion/flight_recorder.hpp>
#include <ganglion/native_policy.hpp>
#include <ganglion/policy.hpp>
#include <ganglion/policy_switch.hpp>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "flight/exchange/switch_loop.hpp"

namespace {

using namespace ganglion;
using Floats = std::vector<float>;

std::filesystem::path artifact(const std::string& name) {
  return std::filesystem::path(GANGLION_ARTIFACTS) / (name + ".ganglion");
}

bool same_bytes(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

Floats wave(std::size_t size, std::uint64_t step) {
  Floats values(size);
  for (std::size_t i = 0; i < size; ++i) {
    values[i] = std::sin(0.3F * static_cast<float>(step % 1000) + static_cast<float>(i));
  }
  return values;
}

/// What a policy of a test does: a written one, of one observation and two actions.
struct Script {
  std::function<float(std::size_t call, std::size_t element)> action = [](std::size_t, std::size_t) { return 0.0F; };
  std::function<Status(std::size_t call)> status = [](std::size_t) { return Status::ok; };
  std::size_t calls = 0;
  std::size_t resets = 0;
  std::size_t masked_resets = 0;
  std::vector<Floats> actions;  ///< of every call; empty where it failed
  std::vector<Floats> told;
  std::vector<std::pair<FlightEvent, std::uint64_t>> marks;
  Floats state{0.0F};
  std::thread::id freed_by;
};

/// With the verbs of a policy that a switch needs.
class Written {
 public:
  explicit Written(std::shared_ptr<Script> script, Contract contract = contract_of())
      : script_(std::move(script)), contract_(std::move(contract)) {}
  Written(Written&&) = default;
  Written& operator=(Written&&) = default;
  Written(const Written&) = delete;
  Written& operator=(const Written&) = delete;
  ~Written() {
    if (script_) script_->freed_by = std::this_thread::get_id();
  }

  static Contract contract_of() {
    Contract contract;
    contract.inputs.push_back({.name = "obs", .size = 1, .element_names = {}, .units = {}, .low = {}, .high = {}});
    contract.outputs.push_back({.name = "actions", .size = 2, .element_names = {}, .units = {}, .low = {}, .high = {}});
    contract.state.push_back({"prev_action", {2}});
    contract.period_s = 0.01;
    return contract;
  }

  Status step(std::span<const float> observation, std::span<float> action) noexcept {
    if (observation.size() != 1 || action.size() != 2) return Status::bad_size;
    if (!std::isfinite(observation[0])) return Status::non_finite_observation;
    const std::size_t call = script_->calls++;
    const Status status = script_->status(call);
    script_->actions.emplace_back();
    if (status != Status::ok) return status;
    for (std::size_t i = 0; i < 2; ++i) {
      action[i] = script_->action(call, i);
      script_->actions.back().push_back(action[i]);
    }
    return status;
  }
  void reset() noexcept { ++script_->resets; }
  Status reset(std::span<const std::uint8_t>) noexcept {
    ++script_->masked_resets;
    return Status::ok;
  }
  Status set_applied_action(std::span<const float> action) noexcept {
    script_->told.emplace_back(action.begin(), action.end());
    return Status::ok;
  }
  void attach(FlightRecorder&) {}
  void mark(FlightEvent event, std::uint64_t count) noexcept { script_->marks.emplace_back(event, count); }
  [[nodiscard]] std::span<const float> state() const noexcept { return script_->state; }
  Status set_state(std::span<const float> state) noexcept {
    script_->state.assign(state.begin(), state.end());
    return Status::ok;
  }
  [[nodiscard]] const Contract& contract() const noexcept { return contract_; }
  [[nodiscard]] std::size_t batch() const noexcept { return script_ ? 1 : 0; }

 private:
  std::shared_ptr<Script> script_;
  Contract contract_;
};

using Loop = flight::SwitchLoop<Written>;

std::shared_ptr<Script> always(float value) {
  auto script = std::make_shared<Script>();
  script->action = [value](std::size_t, std::size_t) { return value; };
  return script;
}

/// Flies a switch with a plain observation.
struct Flown {
  Loop loop;
  Floats action = {-7.0F, -7.0F};
  float observation = 0.5F;

  explicit Flown(const std::shared_ptr<Script>& first) : loop(Written(first)) {}
  Status step() { return loop.step(std::span(&observation, 1), action); }
  void steps(int count) {
    for (int i = 0; i < count; ++i) CHECK_EQUAL(step(), Status::ok);
  }
};

SwitchOptions at_once() {
  SwitchOptions options;
  options.blend_steps = 0;
  options.keep_steps = 0;
  return options;
}

}  // namespace

TEST_CASE("a switch alone is its policy, bit for bit") {
  NativePolicy bare = NativePolicy::load(artifact("lstm"));
  PolicySwitch flight(bare.clone());
  Floats expected(2);
  Floats action(2);
  for (std::uint64_t i = 0; i < 100; ++i) {
    CHECK(bare.step(wave(3, i), expected) == flight.step(wave(3, i), action));
    CHECK(same_bytes(expected, action));
    CHECK(same_bytes(bare.state(), flight.state()) && same_bytes(bare.output(0), flight.output(0)));
  }
  CHECK_EQUAL(flight.report().steps, 100U);
  CHECK_EQUAL(flight.step(wave(2, 0), action), Status::bad_size);
  CHECK(flight.report().phase == SwitchPhase::flying && flight.report().outcome == SwitchOutcome::none);
  CHECK(same_bytes(expected, action));
}

template <class AnyPolicy>
void check_unseen_exchange() {
  AnyPolicy bare = AnyPolicy::load(artifact("lstm"));
  PolicySwitch flight(bare.clone());
  Floats expected(2);
  Floats action(2);
  std::uint64_t now = 0;
  const auto fly = [&](std::uint64_t steps) {
    for (const std::uint64_t end = now + steps; now < end; ++now) {
      CHECK_EQUAL(bare.step(wave(3, now), expected), Status::ok);
      CHECK_EQUAL(flight.step(wave(3, now), action), Status::ok);
      CHECK(same_bytes(expected, action));
    }
  };
  fly(20);
  SwitchOptions options;
  options.gate = {0.0};
  options.agreeing_steps = 10;
  options.patience = 10;
  options.blend_steps = 7;
  options.keep_steps = 100;
  options.state = StateHandOver::copied;
  flight.stage(AnyPolicy::load(artifact("lstm")), options);
  fly(10);
  CHECK(flight.report().phase == SwitchPhase::blending && flight.report().agreeing == 10);
  fly(7);
  CHECK_EQUAL(flight.report().exchanges, 0U);
  fly(1);
  CHECK(flight.report().phase == SwitchPhase::keeping && flight.report().exchanges == 1);
  fly(50);
  flight.roll_back();
  fly(1);
  CHECK(flight.report().phase == SwitchPhase::flying && flight.report().roll_backs == 1);
  fly(50);
  CHECK_EQUAL(flight.collect(), 1U);
  CHECK_EQUAL(flight.collect(), 0U);
  // Resets reach both; rows too.
  options.agreeing_steps = options.patience = 30;
  flight.stage(bare.clone(), options);
  fly(5);
  bare.reset();
  flight.reset();
  fly(5);
  CHECK_EQUAL(bare.reset(std::vector<std::uint8_t>{1}), flight.reset(std::vector<std::uint8_t>{1}));
  fly(40);
  CHECK_EQUAL(flight.report().exchanges, 2U);
  CHECK_EQUAL(flight.report().difference, 0.0F);
}

TEST_CASE("an exchange for the same policy with a copied state is not to be seen in any bit") {
  check_unseen_exchange<NativePolicy>();
  check_unseen_exchange<Policy>();
}

TEST_CASE("a candidate that remembers as long as it ran beside takes over, and one that differs does not") {
  NativePolicy bare = NativePolicy::load(artifact("lstm"));
  PolicySwitch flight(bare.clone());
  Floats expected(2);
  Floats action(2);
  for (std::uint64_t i = 0; i < 200; ++i) static_cast<void>(flight.step(wave(3, i), action));
  SwitchOptions options;
  options.gate = {0.02};
  options.agreeing_steps = 20;
  options.patience = 400;
  flight.stage(NativePolicy::load(artifact("lstm")), options);  // burned in: its memory begins empty
  for (std::uint64_t i = 200; i < 500; ++i) static_cast<void>(flight.step(wave(3, i), action));
  CHECK_EQUAL(flight.report().exchanges, 1U);
  CHECK(flight.report().difference > 0.0F);  // at first
  // Another policy altogether.
  options.gate = {0.02, 1e-6};
  flight.stage(NativePolicy::load(artifact("rnn_any")), options);
  for (std::uint64_t i = 500; i < 1000; ++i) static_cast<void>(flight.step(wave(3, i), action));
  const SwitchReport found = flight.report();
  CHECK(found.outcome == SwitchOutcome::diverged && found.rejections == 1 && found.phase == SwitchPhase::flying);
  CHECK_EQUAL(found.element, 1U);  // by its gate, which is narrower
  CHECK(found.step > 500 && found.step <= 900 && found.difference > 1e-6F);
  CHECK(check::contains(found.sentence(), "rejected: it was off by"));
}

TEST_CASE("the report names the step and the element that was farthest off") {
  Flown flown(always(0.0F));
  flown.steps(10);
  const auto candidate = always(0.01F);
  candidate->action = [](std::size_t call, std::size_t element) { return call == 3 && element == 1 ? -0.5F : 0.01F; };
  SwitchOptions options = at_once();
  options.gate = {0.1, 0.25};
  options.agreeing_steps = 20;
  options.patience = 20;
  flown.loop.stage(Written(candidate), options);
  flown.steps(19);
  CHECK(flown.loop.report().phase == SwitchPhase::shadowing && flown.loop.report().agreeing == 15);
  flown.steps(1);
  const SwitchReport found = flown.loop.report();
  CHECK(found.outcome == SwitchOutcome::diverged && found.step == 14 && found.element == 1 && found.row == 0);
  CHECK_EQUAL(found.difference, 0.5F);
  CHECK_EQUAL(flown.action[0], 0.0F);
  CHECK_EQUAL(candidate->calls, 20U);
}

TEST_CASE("on command alone, with a blend that is a line") {
  Flown flown(always(1.0F));
  const auto candidate = always(2.0F);
  SwitchOptions options;
  options.blend_s = 0.03;  // three steps of the contract's period
  options.keep_steps = 4;
  flown.steps(1);
  flown.loop.stage(Written(candidate), options);
  flown.steps(100);
  CHECK(flown.loop.report().phase == SwitchPhase::shadowing);
  flown.loop.command(flight::Command::take_over);
  Floats seen;
  for (int i = 0; i < 6; ++i) {
    flown.steps(1);
    seen.push_back(flown.action[0]);
  }
  CHECK((seen == Floats{1.25F, 1.5F, 1.75F, 2.0F, 2.0F, 2.0F}));
  CHECK(flown.loop.report().phase == SwitchPhase::keeping);
  flown.steps(2);
  CHECK(flown.loop.report().phase == SwitchPhase::flying);
  CHECK_EQUAL(flown.loop.collect(), 1U);
  // What went out in place of its own action, both were told.
  CHECK((candidate->told.at(99) == Floats{1.0F, 1.0F}) && (candidate->told.at(101) == Floats{1.5F, 1.5F}));
}

TEST_CASE("no command is left over for a candidate that comes later") {
  Flown flown(always(1.0F));
  flown.loop.command(flight::Command::take_over);
  flown.steps(1);
  flown.loop.command(flight::Command::take_over);
  flown.loop.stage(Written(always(2.0F)), at_once());
  flown.steps(5);
  CHECK(flown.loop.report().phase == SwitchPhase::shadowing);
}

TEST_CASE("a candidate that fails is rejected and the flight does not notice") {
  for (const Status status : {Status::non_finite_action, Status::engine_failure}) {
    const auto first = always(1.0F);
    Flown flown(first);
    const auto candidate = always(1.0F);
    candidate->status = [status](std::size_t call) { return call == 5 ? status : Status::ok; };
    SwitchOptions options = at_once();
    options.gate = {1.0};
    flown.loop.stage(Written(candidate), options);
    flown.steps(50);
    const SwitchReport found = flown.loop.report();
    CHECK(found.outcome == SwitchOutcome::failed && found.status == status && found.step == 6);
    CHECK_EQUAL(candidate->calls, 6U);
    CHECK_EQUAL(first->calls, 50U);
    CHECK(first->told.empty());
  }
}

TEST_CASE("a bad observation is nobody's fault") {
  const auto first = always(1.0F);
  Flown flown(first);
  const auto candidate = always(1.0F);
  SwitchOptions options = at_once();
  options.gate = {1.0};
  options.agreeing_steps = options.patience = 20;
  options.blend_steps = 5;
  options.keep_steps = 5;
  flown.loop.stage(Written(candidate), options);
  int good = 0;
  for (int i = 0; i < 100; ++i) {
    flown.observation = i % 3 == 1 ? std::numeric_limits<float>::quiet_NaN() : 0.5F;
    const Status status = flown.step();
    CHECK_EQUAL(status, i % 3 == 1 ? Status::non_finite_observation : Status::ok);
    good += status == Status::ok ? 1 : 0;
  }
  CHECK_EQUAL(flown.loop.report().exchanges, 1U);
  CHECK_EQUAL(flown.loop.report().steps, 100U);
  CHECK_EQUAL(candidate->calls, static_cast<std::size_t>(good));
}

TEST_CASE("who fails in a blend leaves without a jump, and the other one flies") {
  for (const bool the_new_one : {true, false}) {
    Flown flown(always(0.0F));
    const auto candidate = always(1.0F);
    const auto fails = [](std::size_t at) {
      return [at](std::size_t call) { return call >= at ? Status::non_finite_action : Status::ok; };
    };
    const auto first = always(0.0F);
    Flown other(first);
    if (the_new_one) {
      candidate->status = fails(5);
    } else {
      first->status = fails(5);
    }
    SwitchOptions options;
    options.blend_steps = 9;
    other.loop.stage(Written(candidate), options);
    other.loop.command(flight::Command::take_over);
    float last = 0.0F;
    for (int i = 0; i < 30; ++i) {
      CHECK_EQUAL(other.step(), Status::ok);
      CHECK(std::abs(other.action[0] - last) <= 0.1F + 1e-6F);
      last = other.action[0];
    }
    CHECK_EQUAL(last, the_new_one ? 0.0F : 1.0F);
    const SwitchReport found = other.loop.report();
    CHECK(found.phase == SwitchPhase::flying);
    CHECK(found.outcome == (the_new_one ? SwitchOutcome::failed : SwitchOutcome::took_over));
    CHECK_EQUAL(other.loop.collect(), 1U);
  }
}

TEST_CASE("where both fail in a blend, the status says so and nothing is written") {
  const auto first = always(0.0F);
  first->status = [](std::size_t call) { return call == 3 ? Status::engine_failure : Status::ok; };
  Flown flown(first);
  const auto candidate = always(1.0F);
  candidate->status = [](std::size_t call) { return call == 3 ? Status::non_finite_action : Status::ok; };
  SwitchOptions options;
  flown.loop.stage(Written(candidate), options);
  flown.loop.command(flight::Command::take_over);
  flown.steps(3);
  const Floats before = flown.action;
  CHECK_EQUAL(flown.step(), Status::engine_failure);
  CHECK(flown.action == before);
  flown.steps(10);
  CHECK_EQUAL(flown.action[0], 0.0F);
}

TEST_CASE("the one before flies again within one step, and has gone on remembering") {
  for (const int after : {5, 12, 40, 200}) {  // beside it, in the blend, kept, and too late
    const auto first = always(0.0F);
    first->action = [](std::size_t call, std::size_t) { return 0.001F * static_cast<float>(call); };
    Flown flown(first);
    SwitchOptions options;
    options.gate = {100.0};
    options.agreeing_steps = 10;
    options.blend_steps = 9;
    options.keep_steps = 100;
    flown.loop.stage(Written(always(5.0F)), options);
    flown.steps(after);
    flown.loop.command(flight::Command::roll_back);
    flown.steps(1);
    const SwitchReport found = flown.loop.report();
    CHECK(found.phase == SwitchPhase::flying);
    CHECK_EQUAL(flown.action[0], after == 200 ? 5.0F : 0.001F * static_cast<float>(after));
    CHECK(found.outcome == (after == 5     ? SwitchOutcome::withdrawn
                            : after == 200 ? SwitchOutcome::took_over
                                           : SwitchOutcome::rolled_back));
    CHECK_EQUAL(flown.loop.collect(), 1U);
  }
}

TEST_CASE("what becomes of a policy is noted of it") {
  const auto first = always(0.0F);
  const auto second = always(0.0F);
  const auto third = always(9.0F);
  Flown flown(first);
  SwitchOptions options;
  options.gate = {1.0};
  options.agreeing_steps = 5;
  options.patience = 5;
  options.blend_steps = 1;
  flown.loop.stage(Written(second), options);
  flown.steps(10);
  flown.loop.command(flight::Command::roll_back);
  flown.steps(1);
  flown.loop.stage(Written(third), options);
  flown.steps(10);
  using Marks = std::vector<std::pair<FlightEvent, std::uint64_t>>;
  CHECK((second->marks == Marks{{FlightEvent::took_over, 7}}));
  CHECK((first->marks == Marks{{FlightEvent::rolled_back, 11}}));
  CHECK((third->marks == Marks{{FlightEvent::rejected, 16}}));
}

TEST_CASE("what a candidate remembers is what was asked for") {
  for (const StateHandOver state : {StateHandOver::fresh, StateHandOver::burned_in, StateHandOver::copied}) {
    const auto first = always(0.0F);
    first->state = {42.0F};
    Flown flown(first);
    const auto candidate = always(0.0F);
    candidate->state = {7.0F};
    SwitchOptions options = at_once();
    options.gate = {1.0};
    options.agreeing_steps = 10;
    options.state = state;
    flown.loop.stage(Written(candidate), options);
    flown.steps(10);
    CHECK_EQUAL(candidate->resets, 0U + (state == StateHandOver::fresh ? 1 : 0));
    CHECK_EQUAL(candidate->state[0], state == StateHandOver::copied ? 42.0F : 7.0F);
    flown.steps(5);
    CHECK_EQUAL(flown.loop.report().exchanges, 1U);
  }
}

TEST_CASE("a candidate that does not fit is refused with a sentence, and the flight goes on") {
  Flown flown(always(1.0F));
  const auto refused = [&](const std::function<void(Contract&)>& change, const std::string& says) {
    Contract contract = Written::contract_of();
    change(contract);
    CHECK_ERROR(flown.loop.stage(Written(always(0.0F), contract), {}), ErrorCode::bad_option, says);
    flown.steps(1);
    CHECK(flown.loop.report().phase == SwitchPhase::flying);
  };
  refused([](Contract& one) { one.inputs[0].size = 2; }, "input 0 has 2 elements");
  refused([](Contract& one) { one.inputs[0].name = "observations"; }, "input 0 has the name observations");
  refused([](Contract& one) { one.inputs[0].element_names = {"x"}; }, "the elements x");
  refused([](Contract& one) { one.inputs[0].units = {"rad"}; }, "the units rad");
  refused([](Contract& one) { one.inputs.push_back(one.inputs[0]); }, "it has 2 inputs");
  refused([](Contract& one) { one.outputs[0].name = "torques"; }, "output 0 has the name torques");
  refused([](Contract& one) { one.outputs.push_back(one.outputs[0]); }, "it has 2 outputs");
  refused([](Contract& one) { one.period_s = 0.02; }, "its period is 0.02");
  refused([](Contract& one) { one.period_s.reset(); }, "its period is unknown");

  const auto wrong = [&](const std::function<void(SwitchOptions&)>& change, const std::string& says) {
    SwitchOptions options;
    change(options);
    CHECK_ERROR(flown.loop.stage(Written(always(0.0F)), options), ErrorCode::bad_option, says);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  wrong([](SwitchOptions& one) { one.gate = {0.1, 0.1, 0.1}; }, "3 numbers and the action has 2");
  wrong([&](SwitchOptions& one) { one.gate = {nan}; }, "SwitchOptions::gate of element 0");
  wrong([](SwitchOptions& one) { one.gate = {0.1, -0.1}; }, "SwitchOptions::gate of element 1");
  wrong([](SwitchOptions& one) { one.gate = {0.1}, one.agreeing_steps = 0; }, "agreeing_steps is 0");
  wrong([](SwitchOptions& one) { one.gate = {0.1}, one.patience = 99; }, "always be rejected");
  wrong([&](SwitchOptions& one) { one.blend_s = nan; }, "SwitchOptions::blend_s");
  wrong([](SwitchOptions& one) { one.blend_s = -1.0; }, "SwitchOptions::blend_s");

  PolicySwitch native(NativePolicy::load(artifact("lstm")));
  SwitchOptions copied;
  copied.state = StateHandOver::copied;
  CHECK_ERROR(native.stage(NativePolicy::load(artifact("rnn_any")), copied), ErrorCode::bad_option, "cannot be copied");
  CHECK_ERROR(native.stage(NativePolicy::load(artifact("gru_batch4"))), ErrorCode::bad_option, "it steps 4 rows");
  NativePolicy moved = NativePolicy::load(artifact("lstm"));
  const NativePolicy away = std::move(moved);
  CHECK_ERROR(native.stage(std::move(moved)), ErrorCode::bad_option, "moved to another object");
  CHECK_ERROR(PolicySwitch(NativePolicy(std::move(moved))), ErrorCode::bad_option, "moved to another object");
}

TEST_CASE("a state is copied from the policy that it was checked against, or not at all") {
  Flown flown(always(0.0F));
  Contract wide = Written::contract_of();
  wide.state[0].name = "h";
  SwitchOptions options = at_once();
  options.gate = {1.0};
  options.agreeing_steps = 1;
  options.keep_steps = 1000;
  flown.loop.stage(Written(always(0.0F), wide), options);
  flown.steps(3);
  CHECK_EQUAL(flown.loop.report().exchanges, 1U);
  options.state = StateHandOver::copied;
  CHECK_ERROR(flown.loop.stage(Written(always(0.0F)), options), ErrorCode::bad_option, "cannot be copied");
  const auto candidate = always(0.0F);
  flown.loop.stage(Written(candidate, wide), options);
  flown.loop.command(flight::Command::roll_back);  // now the first one is to fly again, whose state is another
  flown.steps(5);
  CHECK(flown.loop.report().outcome != SwitchOutcome::took_over || candidate->state[0] == 0.0F);
}

TEST_CASE("an action never jumps farther than the blend allows, whatever happens") {
  std::mt19937 random(5);
  const auto chance = [&](double part) { return std::uniform_real_distribution<>(0.0, 1.0)(random) < part; };
  std::array<int, 6> outcomes{};
  for (int round = 0; round < 300; ++round) {
    const double faults = chance(0.5) ? 0.02 : 0.0;
    const auto drawn = [&] {
      auto script = std::make_shared<Script>();
      auto generator = std::make_shared<std::mt19937>(random());
      auto now = std::make_shared<std::array<float, 2>>();
      const float level = std::uniform_real_distribution<float>(-1.0F, 1.0F)(random);
      now->fill(level);
      script->action = [=](std::size_t, std::size_t i) {
        return (*now)[i] += std::uniform_real_distribution<float>(-0.05F, 0.05F)(*generator);
      };
      script->status = [=](std::size_t) {
        return std::uniform_real_distribution<>(0.0, 1.0)(*generator) < faults ? Status::non_finite_action : Status::ok;
      };
      return script;
    };
    std::vector<std::shared_ptr<Script>> all{drawn()};
    Flown flown(all[0]);
    SwitchOptions options;
    options.blend_steps = std::uniform_int_distribution<std::size_t>(0, 30)(random);
    options.keep_steps = std::uniform_int_distribution<std::size_t>(0, 30)(random);
    if (chance(0.7)) options.gate = {std::uniform_real_distribution<>(0.0, 3.0)(random)};
    options.agreeing_steps = std::uniform_int_distribution<std::size_t>(1, 20)(random);
    options.patience = options.agreeing_steps + std::uniform_int_distribution<std::size_t>(0, 50)(random);
    Floats last;
    double apart_before = 0.0;
    for (int i = 0; i < 300; ++i) {
      if (chance(0.02)) {
        all.push_back(drawn());
        flown.loop.stage(Written(all.back()), options);
      }
      bool is_free = last.empty();
      const std::uint64_t back = flown.loop.report().roll_backs;
      if (chance(0.02)) flown.loop.command(flight::Command::take_over);
      if (chance(0.01)) flown.loop.command(flight::Command::roll_back);
      std::vector<std::size_t> calls;
      for (const auto& one : all) calls.push_back(one->calls);
      const Status status = flown.step();
      is_free |= flown.loop.report().roll_backs != back;
      // What the policies that ran said, and how far they moved.
      double moved = 0.0;
      double low = std::numeric_limits<double>::infinity();
      double high = -low;
      for (std::size_t p = 0; p < all.size(); ++p) {
        const auto& said = all[p]->actions;
        if (all[p]->calls == calls[p] || said.back().empty()) continue;
        low = std::min<double>(low, said.back()[0]);
        high = std::max<double>(high, said.back()[0]);
        if (said.size() < 2 || said[said.size() - 2].empty()) continue;
        moved = std::max(moved, std::abs(static_cast<double>(said.back()[0]) - said[said.size() - 2][0]));
      }
      if (status != Status::ok) {
        last.clear();
        continue;
      }
      const double apart = std::max(high - low, 0.0);
      const double most = moved + std::max(apart, apart_before) / static_cast<double>(options.blend_steps + 1);
      if (!is_free && !(std::abs(static_cast<double>(flown.action[0]) - last[0]) <= most + 1e-5)) {
        check::report(false, "no jump", __FILE__, __LINE__,
                      "round " + std::to_string(round) + ", step " + std::to_string(i) + ": from " +
                          std::to_string(last[0]) + " to " + std::to_string(flown.action[0]) + ", allowed " +
                          std::to_string(most) + ", " + flown.loop.report().sentence());
      }
      apart_before = apart > 0.0 ? apart : apart_before;
      last = flown.action;
      ++outcomes[static_cast<std::size_t>(flown.loop.report().outcome)];
    }
  }
  for (const int count : outcomes) CHECK(count > 0);  // all of it happened
}

TEST_CASE("every policy is freed, and never by the loop") {
  std::vector<std::shared_ptr<Script>> all;
  std::thread::id loop_thread;
  {
    all.push_back(always(0.0F));
    Flown flown(all[0]);
    std::atomic<bool> is_over = false;
    std::thread loop([&] {
      loop_thread = std::this_thread::get_id();
      while (!is_over) static_cast<void>(flown.step());
    });
    for (int i = 0; i < 300; ++i) {
      all.push_back(always(0.0F));
      flown.loop.stage(Written(all.back()), at_once());
      if (i % 3 != 0) flown.loop.command(flight::Command::take_over);
      if (i % 5 == 0) flown.loop.command(flight::Command::roll_back);
      if (i % 7 == 0) static_cast<void>(flown.loop.collect());
      std::this_thread::yield();
    }
    is_over = true;
    loop.join();
  }
  for (const auto& script : all) {
    CHECK(script->freed_by == std::this_thread::get_id() && script->freed_by != loop_thread);
    CHECK_EQUAL(script.use_count(), 1);
  }
}

/// So many exchanges between a thread that stages and a loop that never misses a step.
void exchange(std::uint64_t wanted) {
  const NativePolicy original = NativePolicy::load(artifact("lstm"));
  PolicySwitch flight(original.clone());
  std::atomic<bool> is_over = false;
  std::uint64_t steps = 0;
  std::uint64_t bad = 0;
  std::thread loop([&] {
    const Floats observation = wave(3, 1);
    Floats action(2);
    while (!is_over.load(std::memory_order_relaxed)) {
      ++steps;
      if (flight.step(observation, action) != Status::ok || !std::isfinite(action[0] + action[1])) ++bad;
    }
  });
  SwitchOptions options = at_once();
  options.gate = {100.0};
  options.agreeing_steps = 1;
  SwitchReport before;
  bool is_whole = true;
  while (before.exchanges < wanted) {
    flight.stage(original.clone(), options);
    const SwitchReport now = flight.report();
    is_whole &= now.steps >= before.steps && now.exchanges >= before.exchanges && now.roll_backs == 0;
    // What one reads is what one step wrote: an exchange takes a step beside the other policy, and one more.
    is_whole &= now.steps >= 2 * now.exchanges + now.rejections && now.status == Status::ok;
    if (now.steps == before.steps) std::this_thread::yield();
    before = now;
  }
  is_over = true;
  loop.join();
  CHECK(is_whole);
  CHECK_EQUAL(bad, 0U);
  CHECK(flight.report().exchanges >= wanted);
  CHECK_EQUAL(flight.report().steps, steps);
  std::cout << flight.report().exchanges << " exchanges in " << steps << " steps, " << bad << " of them missed\n";
}

TEST_CASE("a switch records all its policies, and what became of them") {
  const auto path = std::filesystem::temp_directory_path() / "ganglion_switch_test.mcap";
  RecorderOptions recording;
  recording.overwrite = true;
  FlightRecorder recorder = FlightRecorder::open(path, recording);
  const NativePolicy original = NativePolicy::load(artifact("lstm"));
  {
    PolicySwitch flight(original.clone());
    flight.attach(recorder);
    std::atomic<bool> is_over = false;
    std::thread loop([&] {
      const Floats observation = wave(3, 1);
      Floats action(2);
      while (!is_over.load()) static_cast<void>(flight.step(observation, action));
    });
    SwitchOptions options = at_once();
    options.gate = {100.0};
    options.agreeing_steps = 2;
    for (int i = 0; i < 10; ++i) {
      flight.stage(original.clone(), options);
      while (flight.report().exchanges <= static_cast<std::uint64_t>(i)) std::this_thread::yield();
    }
    flight.detach();
    flight.stage(original.clone(), options);
    is_over = true;
    loop.join();
  }
  recorder.close();
  const RecorderStatistics found = recorder.statistics();
  CHECK(found.events > 60 && found.error.empty());
  std::filesystem::remove(path);
}

TEST_CASE("a thread stages and a loop steps") { exchange(300); }

int main(int count, char** values) {
  if (count == 3 && std::string(values[1]) == "exchanges") {
    exchange(std::strtoull(values[2], nullptr, 10));
    return check::failures == 0 ? 0 : 1;
  }
  return check::run_all();
}
