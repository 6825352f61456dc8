// Drives a written policy.hpp on any architecture: its self-test, what it refuses, a run whose results go to a file.
//
// Reads input.bin: for each step one float (not 0: reset before the step) and the observation.
// Writes output.bin: for each step all outputs and the state behind it.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "policy.hpp"

namespace {

static policy::Policy pilot;  // static: memory on a microcontroller is planned, its stack is small
static float observation[policy::observation_size];
static float action[policy::action_size];

bool expect(bool holds, const char* what) {
  if (!holds) std::printf("FAILED: %s\n", what);
  return holds;
}

/// Steps with a bad observation or state: nothing may change.
bool refuses_bad_input() {
  static float old_state[policy::hidden_size + 1];
  static float bad_state[policy::hidden_size + 1];
  std::memcpy(old_state, pilot.state(), sizeof(float) * policy::hidden_size);
  bool good = true;
  const float bad_numbers[] = {NAN, INFINITY, -INFINITY};
  for (const float bad : bad_numbers) {
    for (float& element : observation) element = 0.25F;
    for (float& element : action) element = 42.0F;
    observation[policy::observation_size - 1] = bad;
    good &= expect(pilot.step(observation, action) == policy::Status::non_finite_observation, "refuse an observation");
    for (const float element : action) good &= expect(element == 42.0F, "keep the action");
    if (policy::hidden_size > 0) {
      bad_state[policy::hidden_size - 1] = bad;
      good &= expect(pilot.set_state(bad_state) == policy::Status::non_finite_state, "refuse a state");
    }
    good &= expect(std::memcmp(old_state, pilot.state(), sizeof(float) * policy::hidden_size) == 0, "keep the state");
  }
  return good;
}

bool run() {
  std::FILE* const input = std::fopen("input.bin", "rb");
  std::FILE* const output = std::fopen("output.bin", "wb");
  if (input == nullptr || output == nullptr) return expect(false, "open the files");
  float flag = 0.0F;
  bool good = true;
  while (good && std::fread(&flag, sizeof flag, 1, input) == 1) {
    good &= expect(std::fread(observation, sizeof observation, 1, input) == 1, "read an observation");
    if (flag != 0.0F) pilot.reset();
    good &= expect(pilot.step(observation, action) == policy::Status::ok, "step");
    if (!good) break;
    good &= expect(std::memcmp(action, pilot.output(0), sizeof action) == 0, "the action is output 0");
    for (std::size_t index = 0; index < policy::num_outputs; ++index) {
      std::fwrite(pilot.output(index), sizeof(float), policy::outputs[index].size, output);
    }
    std::fwrite(pilot.state(), sizeof(float), policy::hidden_size, output);
  }
  good &= expect(pilot.output(policy::num_outputs) == nullptr, "no output behind the last one");
  std::fclose(input);
  return expect(std::fclose(output) == 0, "write the results") && good;
}

}  // namespace

int main() {
  bool good = expect(pilot.output(0) == nullptr, "no output before the first step");
  const policy::SelfTest test = policy::Policy::self_test();
  std::printf("self-test: %s, %u steps, max error %g, tolerance %g\n", test.ok ? "ok" : "FAILED",
              static_cast<unsigned>(test.steps), static_cast<double>(test.max_error),
              static_cast<double>(test.tolerance));
  if (!test.ok) {
    std::printf("first at step %u, element %u\n", static_cast<unsigned>(test.bad_step),
                static_cast<unsigned>(test.bad_element));
  }
  good &= test.ok && test.steps == policy::golden::steps;
  good &= refuses_bad_input();
  pilot.reset();
  policy::Policy copy = pilot;
  good &= run();
  good &= expect(pilot.set_state(copy.state()) == policy::Status::ok, "take a state over");
  good &= expect(std::memcmp(copy.state(), pilot.state(), sizeof(float) * policy::hidden_size) == 0, "have it then");
  std::printf("%s\n", good ? "done" : "FAILED");
  return good ? 0 : 1;
}
