// Observations beside those of the training.

#include <cstdint>
#include <ganglion/error.hpp>
#include <ganglion/observation_monitor.hpp>
#include <limits>
#include <vector>

#include "check.hpp"
#include "observation_profiles.hpp"

namespace {

using namespace ganglion;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

Contract contract(std::size_t n = 3, std::optional<std::size_t> batch = 1) {
  Contract result;
  result.inputs.push_back({.name = "obs", .size = n, .element_names = {}, .units = {}, .low = {}, .high = {}});
  for (std::size_t i = 0; i < n; ++i) result.inputs[0].element_names.push_back("e" + std::to_string(i));
  result.outputs.push_back({.name = "actions", .size = 1, .element_names = {}, .units = {}, .low = {}, .high = {}});
  result.batch = batch;
  result.period_s = 0.02;
  result.observation_profile = profiles::plain(n, 1);
  return result;
}

Plausibility look(ObservationMonitor& monitor, std::vector<float> observation) { return monitor.check(observation); }

}  // namespace

TEST_CASE("what was in training is plausible, up to its margin") {
  ObservationMonitor monitor(contract());
  CHECK(look(monitor, {1.0F, -1.0F, 0.0F}) == Plausibility::plausible);
  CHECK(look(monitor, {1.15F, -1.15F, 0.15F}) == Plausibility::plausible);
  CHECK(look(monitor, {1.3F, -1.3F, 0.3F}) == Plausibility::plausible);
  CHECK(look(monitor, {1.49F, -1.49F, 0.49F}) == Plausibility::plausible);  // a quarter of the range, 2, at either end
  CHECK(!monitor.worst());
  CHECK_EQUAL(monitor.sentence(), "");
  CHECK(look(monitor, {1.49F, -1.49F, 0.68F}) == Plausibility::plausible);
  CHECK(look(monitor, {1.49F, -1.52F, 0.68F}) == Plausibility::outside);
  CHECK_EQUAL(monitor.worst()->element, 1U);
  CHECK_EQUAL(monitor.worst()->name, "e1");
  CHECK_EQUAL(monitor.worst()->value, -1.52F);
}

TEST_CASE("the worst element is the one that was wrong most often, and the sentence names it") {
  ObservationMonitor monitor(contract());
  for (int i = 0; i < 5; ++i) look(monitor, {0.0F, i < 2 ? 9.0F : 0.0F, 57.3F});
  CHECK_EQUAL(monitor.worst()->element, 2U);
  CHECK_EQUAL(monitor.worst()->counts.outside, 5U);
  CHECK_EQUAL(monitor.counts(1).outside, 2U);
  CHECK_EQUAL(monitor.counts(1).jumped, 1U);  // back from 9; the 9 itself was the first that was seen
  CHECK(monitor.sentence().find("'e2') was implausible in 5 of 5 checks") != std::string::npos);
  monitor.reset();
  CHECK(!monitor.worst() && monitor.checks() == 0U);
}

TEST_CASE("a change per step beyond twice the largest one of training is a jump, not behind a reset") {
  ObservationMonitor monitor(contract());
  CHECK(look(monitor, {0.0F, 0.0F, 0.0F}) == Plausibility::plausible);
  CHECK(look(monitor, {0.19F, -0.19F, 0.0F}) == Plausibility::plausible);
  CHECK(look(monitor, {0.0F, 0.05F, 0.0F}) == Plausibility::jumped);
  CHECK_EQUAL(monitor.worst()->element, 1U);
  CHECK_EQUAL(monitor.worst()->counts.jumped, 1U);
  CHECK(monitor.reset(std::vector<std::uint8_t>{1}));
  CHECK(look(monitor, {1.0F, 1.0F, 1.0F}) == Plausibility::plausible);
  CHECK(!monitor.reset(std::vector<std::uint8_t>{1, 0}));
}

TEST_CASE("a NaN is counted, and is no jump") {
  ObservationMonitor monitor(contract());
  CHECK(look(monitor, {0.0F, 0.0F, 0.0F}) == Plausibility::plausible);
  CHECK(look(monitor, {0.0F, nan, 0.0F}) == Plausibility::not_finite);
  CHECK(look(monitor, {0.0F, std::numeric_limits<float>::infinity(), 0.0F}) == Plausibility::not_finite);
  CHECK(look(monitor, {1.0F, 1.0F, 1.0F}) == Plausibility::plausible);
  CHECK_EQUAL(monitor.counts(1).not_finite, 2U);
  CHECK_EQUAL(monitor.counts(1).total(), 2U);
}

TEST_CASE("to arm, every check of the last so many seconds must have been plausible") {
  ObservationMonitor monitor(contract());
  CHECK(!monitor.plausible(0.0));  // nothing was seen
  for (int i = 0; i < 49; ++i) look(monitor, {0.0F, 0.0F, 0.0F});
  CHECK(!monitor.plausible(1.0));
  look(monitor, {0.0F, 0.0F, 0.0F});
  CHECK(monitor.plausible(1.0));
  CHECK(!monitor.plausible(1.1));
  CHECK(!monitor.plausible(std::numeric_limits<double>::quiet_NaN()));
  look(monitor, {0.0F, 0.0F, 57.3F});
  CHECK(!monitor.plausible(0.0) && !monitor.plausible(0.02));
  CHECK(look(monitor, {0.0F, 0.0F, 0.0F}) == Plausibility::jumped);  // back again
  look(monitor, {0.0F, 0.0F, 0.0F});
  CHECK(monitor.plausible(0.02) && !monitor.plausible(0.04));
  CHECK(look(monitor, {0.0F}) == Plausibility::bad_size);
  CHECK(!monitor.plausible(0.02));
}

TEST_CASE("rows of a batch have their own past") {
  ObservationMonitor monitor(contract(2, 3));
  CHECK_EQUAL(monitor.rows(), 3U);
  CHECK(look(monitor, {0.0F, 0.0F, 1.0F, 1.0F, -1.0F, -1.0F}) == Plausibility::plausible);
  CHECK(look(monitor, {0.0F, 0.0F, 1.0F, 1.0F, -1.0F, 0.0F}) == Plausibility::jumped);
  CHECK(monitor.reset(std::vector<std::uint8_t>{0, 1, 0}));
  CHECK(look(monitor, {0.0F, 0.0F, 0.0F, 0.0F, -1.0F, 0.0F}) == Plausibility::plausible);
  CHECK(look(monitor, {0.0F, 0.0F}) == Plausibility::bad_size);
  ObservationMonitor any(contract(2, std::nullopt), {.rows = 2});
  CHECK_EQUAL(any.rows(), 2U);
}

TEST_CASE("a constant may not move, and float32's rounding is no motion") {
  Contract given = contract(1);
  auto& profile = *given.observation_profile;
  profile.quantiles = {9.81F, 9.81F, 9.81F};
  profile.change = {0.0F, 0.0F, 0.0F};
  ObservationMonitor monitor(given);
  CHECK(look(monitor, {9.81F}) == Plausibility::plausible);
  CHECK(look(monitor, {9.8100014F}) == Plausibility::plausible);
  CHECK(look(monitor, {9.9F}) == Plausibility::outside);
}

TEST_CASE("without a profile, a period or sensible options there is no monitor") {
  Contract given = contract();
  given.observation_profile.reset();
  CHECK_ERROR(ObservationMonitor{given}, ErrorCode::bad_option, "ganglion profile FILE --recording");
  given = contract();
  given.period_s.reset();
  CHECK_ERROR(ObservationMonitor{given}, ErrorCode::bad_option, "ObservationOptions::period_s");
  CHECK_EQUAL(ObservationMonitor(given, {.period_s = 0.01}).size(), 3U);
  const auto refused = [](const ObservationOptions& options, const char* says) {
    CHECK_ERROR(ObservationMonitor(contract(), options), ErrorCode::bad_option, says);
  };
  refused({.margin = -0.1}, "ObservationOptions::margin is -0.1");
  refused({.change_factor = 0.5}, "ObservationOptions::change_factor is 0.5; give a number of 1 or more");
  refused({.rows = 0}, "ObservationOptions::rows");
  refused({.period_s = 0.0}, "ObservationOptions::period_s");
}

TEST_CASE("a profile survives JSON without loss, and damage is refused") {
  Contract given = contract(4);
  given.observation_profile->unit_norm = {{0, 3}};
  given.observation_profile->discrete = {{3, {-1.0, 0.5}}};
  const std::string text = given.to_json();
  const Contract back = Contract::from_json(text);
  CHECK_EQUAL(back.to_json(), text);
  CHECK(back.observation_profile->quantiles == given.observation_profile->quantiles);
  CHECK(back.observation_profile->correlation == given.observation_profile->correlation);
  CHECK(back.observation_profile->response_deviation == given.observation_profile->response_deviation);
  CHECK_EQUAL(back.observation_profile->unit_norm[0].size, 3U);
  CHECK_EQUAL(back.observation_profile->discrete[0].values[1], 0.5);
  const auto damaged = [&](auto&& damage, const char* says) {
    Contract other = given;
    damage(*other.observation_profile);
    CHECK_ERROR(Contract::from_json(other.to_json()), ErrorCode::bad_artifact, says);
  };
  damaged([](ObservationProfile& p) { p.size = 5; }, "bytes of Base64");
  damaged([](ObservationProfile& p) { p.mean[1] = nan; }, "mean has an element that is not finite");
  damaged([](ObservationProfile& p) { p.quantiles[4] = 3.0F; }, "must not fall");
  damaged([](ObservationProfile& p) { p.spread[0] = -1.0F; }, "must not be negative");
  damaged([](ObservationProfile& p) { p.levels[2] = 0.9; }, "levels must ascend from 0 to 1");
  damaged([](ObservationProfile& p) { p.lags = {0}; }, "lags has a wrong lag");
  damaged([](ObservationProfile& p) { p.response[0] = -32768; }, "response has a number below -1");
  damaged([](ObservationProfile& p) { p.unit_norm = {{2, 3}}; }, "unit-norm group");
  damaged([](ObservationProfile& p) { p.discrete[0].element = 4; }, "element must be a whole number");
  damaged([](ObservationProfile& p) { p = profiles::plain(3, 1); }, "it is of another policy");
}

int main() { return check::run_all(); }
