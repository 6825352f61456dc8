// Every loop call of ganglion.h, 20,000 times: no heap, no lock, no system call inside of libganglion.so. The functions
// that the guard counts are those of the whole process, the library's own among them; a set-up call shows that.

#include <ganglion.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "check.hpp"
#include "guard.hpp"

namespace {

constexpr int steps = 20'000;
constexpr std::size_t inputs = 3;
constexpr std::size_t actions = 2;

std::array<char, 1000> sentence;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void good(ganglion_status status) {
  check::report(status == GANGLION_OK, "a call is good", __FILE__, __LINE__,
                std::string(ganglion_status_name(status)) + " " + sentence.data());
}

template <class Struct>
Struct sized() {
  Struct empty{};
  empty.size = sizeof(empty);
  return empty;
}

struct Flight {
  ganglion_policy* policy = nullptr;
  ganglion_recorder* recorder = nullptr;
  ganglion_recorder_channel* channel = nullptr;
  ganglion_cadence* cadence = nullptr;
  ganglion_tick_monitor* monitor = nullptr;
  ganglion_guard* guard = nullptr;
  ganglion_switch* flight = nullptr;
};

/// Everything that a loop may call. Answers how many calls were not as they should be.
int fly(const Flight& all) {
  std::array<float, inputs> observation{0.1F, 0.2F, 0.3F};
  std::array<float, actions> action{};
  std::array<float, actions> command{};
  const std::uint8_t row = 1;
  const float* values = nullptr;
  std::size_t count = 0;
  std::int32_t number = 0;
  auto info = sized<ganglion_policy_info>();
  auto tensor = sized<ganglion_tensor>();
  auto slot = sized<ganglion_slot>();
  auto cadence_info = sized<ganglion_cadence_info>();
  auto ticks = sized<ganglion_tick_statistics>();
  auto mismatch = sized<ganglion_mismatch>();
  auto report = sized<ganglion_switch_report>();
  int wrong = ganglion_guard_engage(all.guard, command.data(), actions) == GANGLION_OK ? 0 : 1;
  const auto expect = [&wrong](ganglion_status status, ganglion_status expected = GANGLION_OK) {
    wrong += status == expected ? 0 : 1;
  };
  for (int i = 0; i < steps; ++i) {
    const std::int64_t now = std::int64_t{i} * 1'000'000;
    expect(ganglion_recorder_set_time(all.recorder, now));
    expect(ganglion_tick_monitor_tick(all.monitor, now, &number));
    expect(ganglion_cadence_due(all.cadence, now, &number));
    expect(ganglion_policy_step(all.policy, observation.data(), inputs, action.data(), actions));
    expect(ganglion_cadence_take(all.cadence, action.data(), actions));
    expect(ganglion_cadence_action(all.cadence, now, command.data(), actions));
    expect(ganglion_guard_apply(all.guard, command.data(), actions, now, command.data(), actions, &number, &count));
    expect(ganglion_guard_hold(all.guard, now, command.data(), actions, &number, nullptr));
    expect(ganglion_recorder_channel_record(all.channel, command.data(), actions));
    expect(ganglion_policy_output(all.policy, 0, &values, &count));
    expect(ganglion_policy_state(all.policy, &values, &count));
    expect(ganglion_policy_set_state(all.policy, values, count));
    expect(ganglion_switch_step(all.flight, observation.data(), inputs, action.data(), actions));
    expect(ganglion_switch_output(all.flight, 0, &values, &count));
    expect(ganglion_switch_state(all.flight, &values, &count));
    expect(ganglion_switch_set_state(all.flight, values, count));
    expect(ganglion_switch_get_report(all.flight, &report));
    if (i % 100 == 0) {
      observation[0] = NAN;  // refused steps, too
      expect(ganglion_policy_step(all.policy, observation.data(), inputs, action.data(), actions),
             GANGLION_STATUS_NON_FINITE_OBSERVATION);
      observation[0] = 0.1F;
      expect(ganglion_policy_step(nullptr, observation.data(), inputs, action.data(), actions),
             GANGLION_CALL_NULL_POINTER);
      expect(ganglion_policy_burn_in(all.policy, observation.data(), inputs, &count));
      expect(ganglion_policy_reset_rows(all.policy, &row, 1));
      expect(ganglion_switch_reset_rows(all.flight, &row, 1));
      wrong += ganglion_policy_set_applied_action(all.policy, action.data(), actions) < 0 ? 1 : 0;
      wrong += ganglion_switch_set_applied_action(all.flight, action.data(), actions) < 0 ? 1 : 0;
      expect(ganglion_policy_mark(all.policy, GANGLION_EVENT_TOOK_OVER, 1));
      expect(ganglion_policy_get_info(all.policy, &info));
      expect(ganglion_policy_input(all.policy, 0, &tensor));
      expect(ganglion_policy_output_spec(all.policy, 0, &tensor));
      expect(ganglion_policy_slot(all.policy, 0, &slot));
      expect(ganglion_cadence_get_info(all.cadence, &cadence_info));
      expect(ganglion_tick_monitor_get_statistics(all.monitor, &ticks));
      expect(ganglion_tick_monitor_get_mismatch(all.monitor, &mismatch), GANGLION_CALL_NO_VALUE);
      expect(ganglion_switch_take_over(all.flight));
      expect(ganglion_policy_reset(all.policy));
      expect(ganglion_switch_reset(all.flight));
      wrong += *ganglion_version() == '\0' || *ganglion_status_name(0) != 'o' || *ganglion_tick_name(0) != 'o' ? 1 : 0;
      wrong += *ganglion_guard_reason_name(0) != 'n' || *ganglion_switch_phase_name(0) != 'f' ? 1 : 0;
      wrong += *ganglion_switch_outcome_name(0) != 'n' ? 1 : 0;
    }
    if (i == steps / 2) {
      expect(ganglion_switch_roll_back(all.flight));
      expect(ganglion_cadence_reset(all.cadence));
      expect(ganglion_tick_monitor_reset(all.monitor));
      expect(ganglion_guard_disengage(all.guard));
      expect(ganglion_guard_engage(all.guard, command.data(), actions));
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("the loop calls of C touch neither heap nor locks nor kernel") {
  Flight all;
  const std::string path = std::string(GANGLION_ARTIFACTS) + "/lstm.ganglion";
  const std::string file = "/tmp/ganglion-c-realtime-" + std::to_string(getpid()) + ".mcap";
  realtime::watch(true);
  good(ganglion_policy_load(path.c_str(), nullptr, &all.policy, sentence.data(), sentence.size()));
  realtime::watch(false);
  CHECK(realtime::violations() > 100);  // what the library allocates is seen
  good(ganglion_recorder_open(file.c_str(), nullptr, &all.recorder, sentence.data(), sentence.size()));
  good(ganglion_recorder_open_channel(all.recorder, "command", actions, &all.channel, sentence.data(), 1000));
  ganglion_cadence_options cadence{};
  good(ganglion_cadence_options_init(&cadence, sizeof(cadence)));
  cadence.period_s = 0.02;
  good(ganglion_cadence_create(all.policy, 0.001, &cadence, &all.cadence, sentence.data(), 1000));
  ganglion_tick_options ticks{};
  good(ganglion_tick_options_init(&ticks, sizeof(ticks)));
  ticks.period_s = 0.001;
  good(ganglion_tick_monitor_create(all.policy, &ticks, &all.monitor, sentence.data(), 1000));
  const double rate = 1.0;
  ganglion_guard_options guard{};
  good(ganglion_guard_options_init(&guard, sizeof(guard)));
  guard.rate = &rate;
  guard.rate_count = 1;
  guard.longest_tick_s = 0.01;
  good(ganglion_guard_create(all.policy, &guard, &all.guard, sentence.data(), 1000));
  good(ganglion_switch_create(all.policy, &all.flight, sentence.data(), 1000));
  good(ganglion_switch_stage(all.flight, all.policy, nullptr, sentence.data(), 1000));
  good(ganglion_policy_attach(all.policy, all.recorder, sentence.data(), 1000));
  good(ganglion_tick_monitor_attach(all.monitor, all.recorder, sentence.data(), 1000));
  good(ganglion_guard_attach(all.guard, all.recorder, sentence.data(), 1000));

  realtime::watch(true);
  const int wrong = fly(all);
  realtime::watch(false);
  CHECK_EQUAL(wrong, 0);
  check::report(realtime::violations() == 0, "the loop keeps still", __FILE__, __LINE__, realtime::last_violation());

  auto report = sized<ganglion_switch_report>();
  good(ganglion_switch_get_report(all.flight, &report));
  CHECK(report.exchanges == 1 && report.roll_backs <= 1);
  good(ganglion_recorder_close(all.recorder, GANGLION_COMPRESSION_NONE, sentence.data(), 1000));
  auto statistics = sized<ganglion_recorder_statistics>();
  good(ganglion_recorder_get_statistics(all.recorder, &statistics, sentence.data(), 1000));
  CHECK(statistics.events > steps);
  good(ganglion_switch_destroy(all.flight));
  good(ganglion_guard_destroy(all.guard));
  good(ganglion_tick_monitor_destroy(all.monitor));
  good(ganglion_cadence_destroy(all.cadence));
  good(ganglion_recorder_channel_destroy(all.channel));
  good(ganglion_recorder_destroy(all.recorder));
  good(ganglion_policy_destroy(all.policy));
  static_cast<void>(std::remove(file.c_str()));
}

int main() { return check::run_all(); }
