// What stands around a step: when it is due, whether the loop keeps time, and what the motors get.

#include <cmath>
#include <cstdint>
#include <ganglion/action_guard.hpp>
#include <ganglion/cadence.hpp>
#include <ganglion/error.hpp>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

namespace {

using namespace ganglion;

constexpr std::int64_t millisecond = 1'000'000;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinite = std::numeric_limits<float>::infinity();

Contract contract(std::optional<double> period_s, std::size_t actions = 2) {
  Contract result;
  result.outputs.push_back(
      {.name = "actions", .size = actions, .element_names = {}, .units = {}, .low = {}, .high = {}});
  result.period_s = period_s;
  return result;
}

/// Ticks, by number, in which a policy steps.
std::vector<int> due_ticks(Cadence& cadence, double loop_s, int ticks, std::int64_t begin = 0) {
  std::vector<int> result;
  for (int i = 0; i < ticks; ++i) {
    if (cadence.due(begin + std::llround(i * loop_s * 1e9))) result.push_back(i);
  }
  return result;
}

TEST_CASE("a policy of 50 Hz steps in every 20th tick of 1 kHz, from the first one") {
  Cadence cadence(contract(0.02), 0.001);
  CHECK(due_ticks(cadence, 0.001, 61) == std::vector<int>({0, 20, 40, 60}));
  cadence.reset();
  // Whatever the clock says at the beginning.
  CHECK(due_ticks(cadence, 0.001, 41, std::numeric_limits<std::int64_t>::max() - 100 * millisecond) ==
        std::vector<int>({0, 20, 40}));
}

TEST_CASE("where the ratio is no whole number, the state advances at the trained rate all the same") {
  for (const double period : {1.0 / 60.0, 0.0123, 0.001, 0.0015, 0.0333333}) {
    Cadence cadence(contract(period), 0.001);
    constexpr int ticks = 600'000;  // ten minutes
    const auto found = due_ticks(cadence, 0.001, ticks);
    for (std::size_t n = 0; n < found.size(); ++n) {
      // The nearest tick: no farther than half a tick, and the one that a tie goes to.
      if (std::abs(found[n] * 0.001 - static_cast<double>(n) * period) > 0.0005 + 1e-9) CHECK(false);
    }
    CHECK_EQUAL(found.size(), static_cast<std::size_t>(std::floor((ticks - 1 + 0.5) * 0.001 / period)) + 1);
    CHECK_EQUAL(cadence.skipped(), 0U);
  }
}

TEST_CASE("ticks that come a little early or late move no step to another tick") {
  std::mt19937 generator(1);
  std::uniform_int_distribution<std::int64_t> jitter(-300'000, 300'000);
  Cadence cadence(contract(0.02), 0.001);
  std::vector<int> found;
  for (int i = 0; i < 10'000; ++i) {
    if (cadence.due(1000 * millisecond + i * millisecond + (i == 0 ? 0 : jitter(generator)))) found.push_back(i);
  }
  CHECK_EQUAL(found.size(), 500U);
  for (std::size_t n = 0; n < found.size(); ++n) {
    if (found[n] != static_cast<int>(20 * n)) CHECK(false);
  }
}

TEST_CASE("steps that a stalled loop left out are counted, not made up for") {
  Cadence cadence(contract(0.02), 0.001);
  CHECK(cadence.due(0));
  CHECK(!cadence.due(19 * millisecond));
  CHECK(cadence.due(95 * millisecond));  // 20, 40 and 60 were left out, and this is that of 80
  CHECK_EQUAL(cadence.skipped(), 3U);
  CHECK(!cadence.due(96 * millisecond));
  CHECK(cadence.due(100 * millisecond));
}

TEST_CASE("a clock that is set back stops nothing: no time passed") {
  Cadence cadence(contract(0.02), 0.001);
  CHECK(cadence.due(1'000'000 * millisecond));
  CHECK(!cadence.due(1'000'015 * millisecond));
  CHECK(!cadence.due(5 * millisecond));
  CHECK(!cadence.due(9 * millisecond));
  CHECK(cadence.due(10 * millisecond));
  CHECK_EQUAL(cadence.skipped(), 0U);
}

TEST_CASE("between two steps the newest action is held, or the line to it is followed") {
  std::vector<float> out(2, 7.0F);
  Cadence hold(contract(0.02), 0.001);
  CHECK(!hold.action(0, out));
  CHECK(out == std::vector<float>({7.0F, 7.0F}));
  CHECK(hold.due(0));
  CHECK(hold.take(std::vector<float>{1.0F, -1.0F}) == Status::ok);
  CHECK(hold.action(13 * millisecond, out));
  CHECK(out == std::vector<float>({1.0F, -1.0F}));

  Cadence line(contract(0.02), 0.001, {.period_s = std::nullopt, .between = Between::linear, .rows = 1});
  CHECK(line.due(0));
  CHECK(line.take(std::vector<float>{1.0F, -1.0F}) == Status::ok);
  CHECK(line.action(10 * millisecond, out));
  CHECK(out == std::vector<float>({1.0F, -1.0F}));  // there is nothing before the first one
  CHECK(line.due(20 * millisecond));
  CHECK(line.take(std::vector<float>{2.0F, 3.0F}) == Status::ok);
  CHECK(line.action(20 * millisecond, out));
  CHECK(out == std::vector<float>({1.0F, -1.0F}));
  CHECK(line.action(25 * millisecond, out));
  CHECK(out == std::vector<float>({1.25F, 0.0F}));
  CHECK(line.action(40 * millisecond, out));
  CHECK(out == std::vector<float>({2.0F, 3.0F}));
  CHECK(line.action(90 * millisecond, out));
  CHECK(out == std::vector<float>({2.0F, 3.0F}));
  CHECK(line.action(-90 * millisecond, out));
  CHECK(out == std::vector<float>({1.0F, -1.0F}));
}

TEST_CASE("a cadence refuses what is no action and what is no period") {
  Cadence cadence(contract(0.02), 0.001);
  std::vector<float> out(2);
  CHECK(cadence.take(std::vector<float>{1.0F}) == Status::bad_size);
  CHECK(cadence.take(std::vector<float>{1.0F, nan}) == Status::non_finite_action);
  CHECK(cadence.take(std::vector<float>{-infinite, 1.0F}) == Status::non_finite_action);
  CHECK(!cadence.action(0, out));
  for (const double period : {0.0, -0.02, std::nan(""), HUGE_VAL}) {
    CHECK_ERROR(Cadence(contract(period), 0.001), ErrorCode::bad_option, "positive number of seconds");
    CHECK_ERROR(Cadence(contract(0.02), period), ErrorCode::bad_option, "the period of the loop");
    CHECK_ERROR(Cadence(contract(0.02), 0.001, {.period_s = period}), ErrorCode::bad_option, "CadenceOptions");
    CHECK_ERROR(TickMonitor{period}, ErrorCode::bad_option, "positive number");
  }
  CHECK_ERROR(Cadence(contract(std::nullopt), 0.001), ErrorCode::bad_option, "CadenceOptions::period_s");
  CHECK_ERROR(TickMonitor(contract(std::nullopt)), ErrorCode::bad_option, "period_s");
  CHECK_ERROR(Cadence(contract(0.001), 0.02), ErrorCode::bad_option, "too seldom");
  CHECK_ERROR(TickMonitor(0.02, {.tolerance = 0.0}), ErrorCode::bad_option, "tolerance");
}

TEST_CASE("ticks are on time, early, late or missed, and all are counted") {
  TickMonitor monitor(0.01);
  const auto tick = [&](double milliseconds) { return monitor.tick(std::llround(milliseconds * 1e6)); };
  CHECK(tick(0.0) == Tick::on_time);
  CHECK(tick(10.5) == Tick::on_time);
  CHECK(tick(18.0) == Tick::early);
  CHECK(tick(30.0) == Tick::late);
  CHECK(tick(70.0) == Tick::missed);  // 40, 50 and 60 never came
  CHECK(tick(80.0) == Tick::on_time);
  CHECK(tick(75.0) == Tick::clock_set_back);
  CHECK(tick(75.0) == Tick::early);  // no time at all
  const TickStatistics& found = monitor.statistics();
  CHECK_EQUAL(found.ticks, 8U);
  CHECK_EQUAL(found.early, 2U);
  CHECK_EQUAL(found.late, 1U);
  CHECK_EQUAL(found.missed, 3U);
  CHECK_EQUAL(found.clock_set_back, 1U);
  CHECK_EQUAL(found.longest_run, 5U);  // the late one, three that never came, and the one after them
  CHECK(std::fabs(found.longest_s - 0.04) < 1e-12 && found.shortest_s == 0.0);
  CHECK(std::fabs(found.mean_s - 0.08 / 6) < 1e-12);
  std::uint64_t counted = 0;
  for (const std::uint64_t count : found.off_ns) counted += count;
  CHECK_EQUAL(counted, 6U);
  CHECK_EQUAL(found.off_ns[18], 1U);  // 0.5 ms is 2^18.9 ns
  monitor.reset();
  CHECK_EQUAL(monitor.statistics().ticks, 0U);
  CHECK(tick(5.0) == Tick::on_time);
}

TEST_CASE("a loop that runs at another period is found within 100 ticks, and said in one sentence") {
  std::mt19937 generator(2);
  const auto runs_at = [&](double period, double jitter, double late) {
    TickMonitor monitor(contract(0.02));
    std::uniform_real_distribution<double> shift(-jitter, jitter);
    std::bernoulli_distribution is_late(late);
    double time = 1.0;
    for (int i = 0; i < 100; ++i) {
      monitor.tick(std::llround((time + period * shift(generator)) * 1e9));
      time += is_late(generator) ? 3.0 * period : period;
    }
    return monitor.mismatch();
  };
  for (const double jitter : {0.0, 0.1, 0.3}) {
    for (const double late : {0.0, 0.1}) {
      for (const double period : {0.001, 0.01, 0.018, 0.0215, 0.04, 1.0})
        CHECK(runs_at(period, jitter, late).has_value());
      CHECK(!runs_at(0.02, jitter, late).has_value());
    }
  }
  const auto found = runs_at(0.001, 0.0, 0.0);
  CHECK(std::fabs(found->found_s - 0.001) < 1e-9 && std::fabs(found->trained_s - 0.02) < 1e-12);
  const std::string sentence = found->sentence();
  CHECK(check::contains(sentence, "cadence_mismatch") && check::contains(sentence, "50 Hz") &&
        check::contains(sentence, "1000 Hz") && check::contains(sentence, "Cadence"));
  // Stepped by a cadence in a loop of 1 kHz, after 16 or 17 ms, 60 Hz is 60 Hz.
  TickMonitor monitor(1.0 / 60.0);
  Cadence cadence(contract(1.0 / 60.0), 0.001);
  for (int i = 0; i < 3000; ++i) {
    if (cadence.due(i * millisecond)) monitor.tick(i * millisecond);
  }
  CHECK(!monitor.mismatch().has_value());
}

GuardOptions options(double rate, double blend_s = 1.0) {
  GuardOptions result;
  result.rate = {rate};
  result.blend_s = blend_s;
  return result;
}

TEST_CASE("an engage begins where the robot is and ends where the policy is") {
  ActionGuard guard(contract(0.01), options(10.0));
  std::vector<float> out(2, 7.0F);
  const std::vector<float> action{1.0F, -3.0F};
  CHECK(guard.apply(action, 0, out).reason == GuardReason::not_engaged);
  CHECK(out == std::vector<float>({7.0F, 7.0F}));
  CHECK(guard.engage(std::vector<float>{0.0F, 1.0F}));
  CHECK(guard.apply(action, 5 * millisecond, out).reason == GuardReason::blending);
  CHECK(out == std::vector<float>({0.0F, 1.0F}));
  for (int i = 1; i <= 50; ++i)
    CHECK(guard.apply(action, (5 + 10 * i) * millisecond, out).reason == GuardReason::blending);
  CHECK(std::fabs(out[0] - 0.5F) < 1e-6F && std::fabs(out[1] + 1.0F) < 1e-6F);
  for (int i = 51; i <= 101; ++i) static_cast<void>(guard.apply(action, (5 + 10 * i) * millisecond, out));
  CHECK(out == action);
  CHECK(guard.apply(action, 1025 * millisecond, out).reason == GuardReason::none);
  guard.disengage();
  CHECK(guard.apply(action, 1035 * millisecond, out).reason == GuardReason::not_engaged);
}

TEST_CASE("no step is above the rate, whatever policy, clock and faults do") {
  std::mt19937 generator(3);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  for (int run = 0; run < 300; ++run) {
    const std::size_t size = 1 + generator() % 5;
    GuardOptions given;
    for (std::size_t i = 0; i < size; ++i) given.rate.push_back(std::exp(3.0 * normal(generator)));
    given.blend_s = run % 3 == 0 ? 0.0 : uniform(generator);
    given.longest_hold_s = 0.1 * uniform(generator);
    if (run % 2 == 0) given.damping = {normal(generator)};
    if (run % 4 == 0) {
      given.low = {-1.0};
      given.high = {1.0};
    }
    const double period = 0.0005 + 0.02 * uniform(generator);
    ActionGuard guard(contract(period, size), given);
    std::vector<float> last(size);
    const double scale = std::exp(3.0 * normal(generator));
    for (float& value : last) value = static_cast<float>(scale * normal(generator));
    CHECK(guard.engage(last));
    std::int64_t now = static_cast<std::int64_t>(generator());
    std::vector<float> action(size);
    std::vector<float> out = last;
    bool is_first = true;
    for (int step = 0; step < 400; ++step) {
      const double passed = generator() % 20 == 0 ? 50.0 * period : 2.0 * period * uniform(generator);
      const std::int64_t before = now;
      now += generator() % 50 == 0 ? -3 * millisecond : std::llround(passed * 1e9);
      for (float& value : action) value = static_cast<float>(scale * normal(generator));
      if (generator() % 30 == 0) action[generator() % size] = generator() % 2 == 0 ? nan : infinite;
      const GuardStatus status = generator() % 10 == 0 ? guard.hold(now, out) : guard.apply(action, now, out);
      CHECK(status.reason != GuardReason::bad_size && status.element < size);
      const double counted =
          is_first || now < before ? 0.0 : std::min(static_cast<double>(now - before) * 1e-9, 2.0 * period);
      is_first = false;
      for (std::size_t i = 0; i < size; ++i) {
        const double moved = std::fabs(static_cast<double>(out[i]) - static_cast<double>(last[i]));
        if (!(moved <= given.rate[i] * counted)) CHECK(false);
      }
      last = out;
    }
  }
}

TEST_CASE("what a guard did is said, with the element") {
  Contract bounded = contract(0.01);
  bounded.outputs[0].low = {-1.0, -2.0};
  bounded.outputs[0].high = {1.0, 2.0};
  ActionGuard guard(bounded, options(1000.0, 0.0));
  std::vector<float> out(2);
  CHECK(guard.engage(std::vector<float>{0.0F, 0.0F}));
  CHECK(guard.apply(std::vector<float>{0.0F, 0.0F}, 0, out).reason == GuardReason::none);
  const GuardStatus clamped = guard.apply(std::vector<float>{0.5F, 5.0F}, 10 * millisecond, out);
  CHECK(clamped.reason == GuardReason::clamped && clamped.element == 1);
  CHECK(out == std::vector<float>({0.5F, 2.0F}));
  const GuardStatus backwards = guard.apply(std::vector<float>{0.5F, 2.0F}, 5 * millisecond, out);
  CHECK(backwards.reason == GuardReason::clock_set_back);
  ActionGuard slow(bounded, options(1.0, 0.0));
  CHECK(slow.engage(std::vector<float>{0.0F, 0.0F}));
  CHECK(slow.apply(std::vector<float>{0.0F, 0.0F}, 0, out).reason == GuardReason::none);
  const GuardStatus limited = slow.apply(std::vector<float>{0.001F, -1.0F}, 10 * millisecond, out);
  CHECK(limited.reason == GuardReason::limited && limited.element == 1);
  CHECK(out[0] == 0.001F && std::fabs(out[1] + 0.01F) < 1e-8F);
}

TEST_CASE("a policy that gives nothing is held, then damped, then blended nowhere") {
  GuardOptions given = options(1.0, 0.0);
  given.longest_hold_s = 0.025;
  given.damping = {0.0};
  ActionGuard guard(contract(0.01), given);
  std::vector<float> out(2);
  CHECK(guard.engage(std::vector<float>{0.5F, -0.5F}));
  CHECK(guard.apply(std::vector<float>{0.5F, -0.5F}, 0, out).reason == GuardReason::none);
  CHECK(guard.hold(10 * millisecond, out).reason == GuardReason::holding);
  const GuardStatus broken = guard.apply(std::vector<float>{0.5F, nan}, 20 * millisecond, out);
  CHECK(broken.reason == GuardReason::holding && broken.element == 1);
  CHECK(out == std::vector<float>({0.5F, -0.5F}));
  CHECK(guard.hold(30 * millisecond, out).reason == GuardReason::expired);
  CHECK(std::fabs(out[0] - 0.49F) < 1e-6F && std::fabs(out[1] + 0.49F) < 1e-6F);
  for (int i = 4; i < 100; ++i) static_cast<void>(guard.hold(10 * i * millisecond, out));
  CHECK(out == std::vector<float>({0.0F, 0.0F}));
  // Back again, at the rate and no faster.
  CHECK(guard.apply(std::vector<float>{1.0F, 1.0F}, 1000 * millisecond, out).reason == GuardReason::limited);
  CHECK(std::fabs(out[0] - 0.01F) < 1e-6F);
}

TEST_CASE("a fault now and then never adds up to one that is too long") {
  GuardOptions given = options(1.0, 0.0);
  given.longest_hold_s = 0.025;
  ActionGuard guard(contract(0.01), given);
  const std::vector<float> action{0.5F, -0.5F};
  std::vector<float> out(2);
  CHECK(guard.engage(action));
  for (int i = 0; i < 100; ++i) {
    const bool is_fault = i % 3 != 0;
    const GuardReason reason =
        (is_fault ? guard.hold(10 * i * millisecond, out) : guard.apply(action, 10 * i * millisecond, out)).reason;
    CHECK(reason == (is_fault ? GuardReason::holding : GuardReason::none));
  }
}

TEST_CASE("a guard refuses what would let it jump") {
  CHECK_ERROR(ActionGuard(contract(0.01), {}), ErrorCode::bad_option, "rate is empty");
  for (const double rate : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    CHECK_ERROR(ActionGuard(contract(0.01), options(rate)), ErrorCode::bad_option, "GuardOptions::rate of element 0");
  }
  GuardOptions given = options(1.0);
  given.low = {0.0, 0.0, 0.0};
  CHECK_ERROR(ActionGuard(contract(0.01), given), ErrorCode::bad_option, "3 numbers and the action has 2");
  given.low = {2.0};
  given.high = {1.0};
  CHECK_ERROR(ActionGuard(contract(0.01), given), ErrorCode::bad_option, "lower bound of element 0");
  CHECK_ERROR(ActionGuard(contract(std::nullopt), options(1.0)), ErrorCode::bad_option, "longest_tick_s");
  for (const double period : {0.0, -0.01, std::nan("")}) {
    CHECK_ERROR(ActionGuard(contract(period), options(1.0)), ErrorCode::bad_option, "the period in the contract");
  }
  CHECK_ERROR(ActionGuard(contract(0.01), options(1.0, -1.0)), ErrorCode::bad_option, "blend_s");
  given = options(1.0);
  given.damping = {std::nan("")};
  CHECK_ERROR(ActionGuard(contract(0.01), given), ErrorCode::bad_option, "damping");
  ActionGuard guard(contract(0.01), options(1.0));
  CHECK(!guard.engage(std::vector<float>{1.0F}));
  CHECK(!guard.engage(std::vector<float>{1.0F, nan}));
  std::vector<float> out(1);
  CHECK(guard.engage(std::vector<float>{1.0F, 1.0F}));
  CHECK(guard.apply(std::vector<float>{1.0F, 1.0F}, 0, out).reason == GuardReason::bad_size);
  CHECK(guard.hold(0, out).reason == GuardReason::bad_size);
}

}  // namespace

int main() { return check::run_all(); }
