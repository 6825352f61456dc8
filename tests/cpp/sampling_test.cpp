// Random numbers: known answers of Philox, moments, and the rules of steps, episodes and rows.

#include "realtime/sampling.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "check.hpp"
#include "native/kernels/choice.hpp"
#include "realtime/loop.hpp"

namespace {

using namespace ganglion::realtime;
using ganglion::Status;
using Words = std::array<std::uint32_t, 4>;

/// Numbers 0, 1, ... of one stream.
std::vector<std::uint32_t> stream(std::size_t count) {
  std::vector<std::uint32_t> result;
  for (std::uint32_t block = 0; result.size() < count; ++block) {
    for (const std::uint32_t word : philox({block, 1, 2, 3}, {4, 5})) result.push_back(word);
  }
  return result;
}

/// A loop whose engine answers mean 2, -1 and log_std 0, -20 in every row, and remembers its action.
class Rig {
 public:
  explicit Rig(std::size_t batch, std::optional<std::uint64_t> seed, ActionMap map = {})
      : loop_(shape(batch, seed, std::move(map)),
              {ganglion::native::kernels_for(ganglion::Isa::automatic)->all_finite,
               ganglion::native::kernels_for(ganglion::Isa::automatic)->take_as_it_is},
              false),
        batch_(batch) {}

  std::vector<float> step() {
    std::vector<float> action(2 * batch_);
    const auto run = [&](std::size_t phase) {
      float* outputs = loop_.outputs()[1 - phase];
      for (std::size_t row = 0; row < batch_; ++row) {
        outputs[2 * row] = 2.0F;
        outputs[2 * row + 1] = -1.0F;
        outputs[2 * (batch_ + row)] = log_std;
        outputs[2 * (batch_ + row) + 1] = -20.0F;
        float* state = loop_.states()[1 - phase] + 3 * row;
        state[0] = 7.0F;
        state[1] = 2.0F;
        state[2] = -1.0F;
      }
      return true;
    };
    status = loop_.step(std::vector<float>(batch_, 0.0F), action, run);
    return action;
  }

  Loop& loop() { return loop_; }
  Status status = Status::ok;
  float log_std = 0.0F;

 private:
  static LoopShape shape(std::size_t batch, std::optional<std::uint64_t> seed, ActionMap map) {
    LoopShape shape;
    shape.batch = batch;
    shape.observation = 1;
    shape.hidden = 3;
    shape.outputs = {2, 2};
    shape.initial_state = {0.5F, 0.0F, 0.0F};
    shape.applied_action = 1;
    shape.action_map = std::move(map);
    if (seed) shape.sampling = Sampling{Distribution::gaussian, 2, *seed, std::nullopt, 0, {}};
    return shape;
  }

  Loop loop_;
  std::size_t batch_;
};

}  // namespace

TEST_CASE("Philox gives the known answers of Random123") {
  CHECK((philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  CHECK((philox({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, {0xFFFFFFFF, 0xFFFFFFFF}) ==
         Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  CHECK((philox({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}) ==
         Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST_CASE("no step of an episode has the noise of another one, beyond 2^32 neither") {
  using Counter = std::array<std::uint32_t, 4>;
  CHECK(noise_counter(7, 2, 3, 1) == Counter({7, 2, 3, 1}));
  CHECK(noise_counter(0xFFFFFFFF, 2, 3, 1) == Counter({0xFFFFFFFF, 2, 3, 1}));
  // The same numbers stand in tests/python/runtime/test_sampling.py.
  CHECK(noise_counter(std::uint64_t{1} << 32U, 2, 3, 1) == Counter({0, 2, 0x01000003, 1}));
  CHECK(noise_counter((std::uint64_t{0x2A5FF} << 32U) + 9, 2, 0xFFFFFF, 0x3FFFFF) ==
        Counter({9, 2, 0xFFFFFFFF, 0xA97FFFFF}));
}

TEST_CASE("normal and Gumbel numbers have their moments and their quantiles") {
  double sum = 0.0;
  double square = 0.0;
  double fourth = 0.0;
  double gumbel = 0.0;
  const auto bits = stream(400'000);
  for (const std::uint32_t word : bits) {
    const double z = standard_normal(word);
    sum += z;
    square += z * z;
    fourth += z * z * z * z;
    gumbel += standard_gumbel(word);
  }
  const auto count = static_cast<double>(bits.size());
  CHECK(std::abs(sum / count) < 0.01);
  CHECK(std::abs(square / count - 1.0) < 0.01);
  CHECK(std::abs(fourth / count - 3.0) < 0.1);
  CHECK(std::abs(gumbel / count - 0.57721566) < 0.01);
  CHECK(std::abs(standard_normal(0) + 6.3379577545537895) < 1e-9);
  CHECK_EQUAL(standard_normal(0x7FFFFFFF), -standard_normal(0x80000000));
  // The distribution function at the quantile is the quantile again.
  for (std::uint32_t i = 1; i < 1000; ++i) {
    const std::uint32_t word = i * 4294967U;
    const double again = 0.5 * std::erfc(-standard_normal(word) / std::sqrt(2.0));
    CHECK(std::abs(again - (word + 0.5) / 4294967296.0) < 1e-15 + 1e-13 * again);
  }
}

TEST_CASE("without a seed the action is the mean") {
  Rig rig(2, std::nullopt);
  CHECK((rig.step() == std::vector<float>{2.0F, -1.0F, 2.0F, -1.0F}));
}

TEST_CASE("a seed, an episode and a step make the same action again; rows differ") {
  Rig rig(2, 11);
  Rig same(2, 11);
  Rig other(2, 12);
  const auto first = rig.step();
  CHECK(first[0] != first[2] && first[0] != 2.0F);
  CHECK(std::abs(first[1] + 1.0F) < 1e-6F);
  CHECK(first == same.step());
  CHECK(first != other.step());
  const auto second = rig.step();
  CHECK(second != first);
  // The state remembers what was drawn, and the outputs what the distribution was.
  CHECK_EQUAL(rig.loop().state()[1], second[0]);
  CHECK_EQUAL(rig.loop().state()[0], 7.0F);
  CHECK_EQUAL(rig.loop().output(0)[0], 2.0F);
  // The next episode has other noise; a second reset without a step between them changes nothing.
  rig.loop().reset();
  rig.loop().reset();
  static_cast<void>(same.step());
  same.loop().reset();
  const auto next = rig.step();
  CHECK(next == same.step());
  CHECK(next != first && next != second);
}

TEST_CASE("a masked reset begins an episode in its rows only") {
  Rig rig(2, 5);
  Rig whole(2, 5);
  static_cast<void>(rig.step());
  static_cast<void>(whole.step());
  CHECK_EQUAL(rig.loop().reset(std::vector<std::uint8_t>{0, 1}), Status::ok);
  const auto masked = rig.step();
  const auto going_on = whole.step();
  CHECK_EQUAL(masked[0], going_on[0]);
  CHECK(masked[2] != going_on[2]);
}

TEST_CASE("an action that overflows is refused, and its noise is drawn again") {
  Rig rig(1, 5);
  Rig same(1, 5);
  rig.log_std = 200.0F;
  static_cast<void>(rig.step());
  CHECK_EQUAL(rig.status, Status::non_finite_action);
  rig.log_std = 0.0F;
  CHECK(rig.step() == same.step());
}

TEST_CASE("every output is checked, not the action alone") {
  for (const std::optional<std::uint64_t> seed : {std::optional<std::uint64_t>(5), std::optional<std::uint64_t>()}) {
    Rig rig(2, seed);
    for (const float bad : {NAN, INFINITY}) {
      rig.log_std = bad;
      static_cast<void>(rig.step());
      CHECK_EQUAL(rig.status, Status::non_finite_action);
    }
    rig.log_std = 0.0F;
    static_cast<void>(rig.step());
    CHECK_EQUAL(rig.status, Status::ok);
  }
}

TEST_CASE("what is drawn is mapped, and remembered as it was drawn") {
  const ActionMap map({{false, {10.0, 2.0}, {0.0, 1.0}, {}, {}}, {true, {}, {}, {-0.5, -INFINITY}, {}}}, 2);
  Rig plain(2, 11);
  Rig mapped(2, 11, map);
  const auto own = plain.step();
  const auto commands = mapped.step();
  CHECK(std::abs(commands[1] - std::tanh(2.0F * own[1] + 1.0F)) < 1e-6F);
  CHECK(commands[0] >= -0.5F && commands[2] >= -0.5F);
  CHECK(std::equal(plain.loop().state().begin(), plain.loop().state().end(), mapped.loop().state().begin()));
  CHECK_EQUAL(mapped.loop().set_applied_action(commands), Status::ok);
  CHECK(std::equal(plain.loop().state().begin(), plain.loop().state().end(), mapped.loop().state().begin()));
}

TEST_CASE("a drawn action that overflows behind its map is refused") {
  Rig rig(1, 5, ActionMap({{false, {3e38, 1.0}, {}, {}, {}}}, 2));
  static_cast<void>(rig.step());
  CHECK_EQUAL(rig.status, Status::non_finite_action);
}

TEST_CASE("a command leads back to what the policy would have given") {
  const ActionMap map({{true, {2.0, 0.0}, {1.0, 1.0}, {}, {2.5, 5.0}}}, 2);
  for (const float value : {-7.0F, -0.3F, -1e-4F, 0.0F, 0.009F, 0.011F, 0.8F, 7.0F}) {
    std::array<float, 2> action{value, value};
    map.apply(action.data());
    CHECK(std::abs(action[0] - std::fmin(2.0F * std::tanh(value) + 1.0F, 2.5F)) < 1e-6F);
    // One that is known stays, whatever was clipped, and so does one that no command tells of.
    std::array<float, 2> known{value, 9.0F};
    map.undo(action.data(), known.data());
    CHECK_EQUAL(known[0], value);
    CHECK_EQUAL(known[1], 9.0F);
    std::array<float, 2> unknown{0.5F, 9.0F};
    map.undo(action.data(), unknown.data());
    std::array<float, 2> again = unknown;
    map.apply(again.data());
    CHECK(std::abs(again[0] - action[0]) < 1e-5F);
  }
  std::array<float, 2> far{0.0F, 0.0F};
  map.undo(std::array<float, 2>{3e38F, 0.0F}.data(), far.data());
  CHECK(far[0] > 8.0F && far[0] < 9.0F);
}

TEST_CASE("what was executed can be told") {
  Rig rig(2, std::nullopt);
  static_cast<void>(rig.step());
  CHECK_EQUAL(rig.loop().set_applied_action(std::vector<float>{1.0F, 2.0F, 3.0F, 4.0F}), Status::ok);
  const std::vector<float> state(rig.loop().state().begin(), rig.loop().state().end());
  CHECK((state == std::vector<float>{7.0F, 1.0F, 2.0F, 7.0F, 3.0F, 4.0F}));
  CHECK_EQUAL(rig.loop().set_applied_action(std::vector<float>{1.0F}), Status::bad_size);
  CHECK_EQUAL(rig.loop().set_applied_action(std::vector<float>{1.0F, NAN, 3.0F, 4.0F}), Status::non_finite_action);
  CHECK((state == std::vector<float>(rig.loop().state().begin(), rig.loop().state().end())));
}

TEST_CASE("categories are drawn as often as the softmax says") {
  constexpr std::array<float, 4> logits{0.0F, 1.0F, -3.4e38F, 2.0F};
  std::array<int, 4> counts{};
  ActionSampler sampler({Distribution::categorical, logits.size(), 3, 2, 0, {}}, 1);
  constexpr int draws = 100'000;
  for (int i = 0; i < draws; ++i) {
    constexpr std::array<float, 1> best{3.0F};
    float action = -1.0F;
    float log_prob = 1.0F;
    sampler.draw(best, logits.data(), &action, &log_prob);
    CHECK(std::abs(log_prob - (logits.at(static_cast<std::size_t>(action)) -
                               std::log(1.0 + std::exp(1.0) + std::exp(2.0)))) < 1e-6);
    sampler.count_step();
    ++counts.at(static_cast<std::size_t>(action));
  }
  const double total = 1.0 + std::exp(1.0) + std::exp(2.0);
  CHECK_EQUAL(counts[2], 0);
  CHECK(std::abs(counts[0] / double{draws} - 1.0 / total) < 0.005);
  CHECK(std::abs(counts[3] / double{draws} - std::exp(2.0) / total) < 0.005);
}

TEST_CASE("elements of several kinds are drawn each for itself") {
  // Of two rows: a category of 2, two normal elements, a category of 5; outputs behind the action are log_std [2],
  // logits of the last element [5], logits of the first [2], each for both rows together.
  const std::vector<float> log_std{-1.0F, -2.0F, -3.0F, -4.0F};
  const std::vector<float> last{0.0F, 1.0F, 2.0F, 3.0F, 4.0F, 4.0F, 3.0F, 2.0F, 1.0F, 0.0F};
  const std::vector<float> first{0.0F, 1.0F, 1.0F, 0.0F};
  std::vector<float> parameters = log_std;
  parameters.insert(parameters.end(), last.begin(), last.end());
  parameters.insert(parameters.end(), first.begin(), first.end());
  const std::vector<float> mean{9.0F, 5.0F, -5.0F, 9.0F, 9.0F, 1.0F, 2.0F, 9.0F};
  Sampling sampling{Distribution::mixed, 2, 77, std::nullopt, 0, {}};
  sampling.parts = {{Distribution::categorical, 0, 2, 7, 2, 0},
                    {Distribution::gaussian, 1, 2, 0, 2, 0},
                    {Distribution::categorical, 3, 5, 2, 5, 0}};
  ActionSampler sampler(sampling, 2);
  std::vector<float> action(8);
  std::vector<float> log_prob(2);
  sampler.draw(mean, parameters.data(), action.data(), log_prob.data());
  for (std::uint32_t row = 0; row < 2; ++row) {
    // Noise of element k of the step is word k of its stream, whatever part it belongs to: here 2, 2 and 5 of them.
    std::vector<std::uint32_t> words;
    for (std::uint32_t block = 0; block < 3; ++block) {
      const auto four = philox({0, 0, row, block}, {77, 0});
      words.insert(words.end(), four.begin(), four.end());
    }
    const auto best = [&](const float* logits, std::size_t count, std::size_t noise) {
      std::size_t at = 0;
      for (std::size_t i = 1; i < count; ++i) {
        if (logits[i] + standard_gumbel(words[noise + i]) > logits[at] + standard_gumbel(words[noise + at])) at = i;
      }
      return static_cast<float>(at);
    };
    const float* const drawn = action.data() + std::size_t{4} * row;
    CHECK_EQUAL(drawn[0], best(first.data() + std::size_t{2} * row, 2, 0));
    CHECK_EQUAL(drawn[3], best(last.data() + std::size_t{5} * row, 5, 4));
    for (std::size_t i = 0; i < 2; ++i) {
      const double expected =
          mean[4 * row + 1 + i] + std::exp(double{log_std[2 * row + i]}) * standard_normal(words[2 + i]);
      CHECK(std::abs(drawn[1 + i] - expected) < 1e-5);
    }
  }
}

int main() { return check::run_all(); }
