// Drives a written policy.h on any architecture, as driver.cpp does policy.hpp: its self-test, what it refuses, a run
// whose results go to a file.
//
// Reads input.bin: for each step one float (not 0: reset before the step) and the observation.
// Writes output.bin: for each step all outputs and the state behind it.
#include <stdio.h>

#include "policy.h"

static policy_policy pilot;  // static: memory on a microcontroller is planned, its stack is small
static policy_policy tested;
static policy_policy copied;
static float observation[policy_observation_size];
static float action[policy_action_size];

static bool expect(bool holds, const char* what) {
  if (!holds) printf("FAILED: %s\n", what);
  return holds;
}

// Steps with a bad observation or state: nothing may change.
static bool refuses_bad_input(void) {
  static float old_state[policy_hidden_size + 1];
  static float bad_state[policy_hidden_size + 1];
  const float bad_numbers[] = {NAN, INFINITY, -INFINITY};
  bool good = true;
  memcpy(old_state, policy_state(&pilot), sizeof(float) * policy_hidden_size);
  for (size_t b = 0; b < sizeof bad_numbers / sizeof *bad_numbers; ++b) {
    for (size_t i = 0; i < policy_observation_size; ++i) observation[i] = 0.25F;
    for (size_t i = 0; i < policy_action_size; ++i) action[i] = 42.0F;
    observation[policy_observation_size - 1] = bad_numbers[b];
    good &= expect(policy_step(&pilot, observation, action) == policy_non_finite_observation, "refuse an observation");
    for (size_t i = 0; i < policy_action_size; ++i) {
      good &= expect(memcmp(&action[i], &(float){42.0F}, sizeof(float)) == 0, "keep the action");
    }
#if policy_hidden_size > 0
    bad_state[policy_hidden_size - 1] = bad_numbers[b];
    good &= expect(policy_set_state(&pilot, bad_state) == policy_non_finite_state, "refuse a state");
#endif
    good &= expect(memcmp(old_state, policy_state(&pilot), sizeof(float) * policy_hidden_size) == 0, "keep the state");
  }
  (void)bad_state;
  return good;
}

static bool run(void) {
  FILE* const input = fopen("input.bin", "rb");
  FILE* const output = fopen("output.bin", "wb");
  float flag = 0.0F;
  bool good = true;
  if (input == NULL || output == NULL) return expect(false, "open the files");
  while (good && fread(&flag, sizeof flag, 1, input) == 1) {
    good &= expect(fread(observation, sizeof observation, 1, input) == 1, "read an observation");
    if (flag < 0.0F || flag > 0.0F) policy_reset(&pilot);
    good &= expect(policy_step(&pilot, observation, action) == policy_ok, "step");
    if (!good) break;
    good &= expect(memcmp(action, policy_output(&pilot, 0), sizeof action) == 0, "the action is output 0");
    for (size_t index = 0; index < policy_num_outputs; ++index) {
      (void)fwrite(policy_output(&pilot, index), sizeof(float), policy_outputs[index].size, output);
    }
    (void)fwrite(policy_state(&pilot), sizeof(float), policy_hidden_size, output);
  }
  good &= expect(policy_output(&pilot, policy_num_outputs) == NULL, "no output behind the last one");
  (void)fclose(input);
  return expect(fclose(output) == 0, "write the results") && good;
}

int main(void) {
  bool good = true;
  const policy_self_test_result test = policy_self_test(&tested);
  policy_init(&pilot);
  good &= expect(memcmp(&tested, &pilot, sizeof pilot) == 0, "the initial state behind a self-test");
  good &= expect(policy_output(&pilot, 0) == NULL, "no output before the first step");
  printf("self-test: %s, %u steps, max error %g, tolerance %g\n", test.ok ? "ok" : "FAILED", (unsigned)test.steps,
         (double)test.max_error, (double)test.tolerance);
  if (!test.ok) printf("first at step %u, element %u\n", (unsigned)test.bad_step, (unsigned)test.bad_element);
  good &= test.ok && test.steps == policy_golden_steps;
  good &= refuses_bad_input();
  policy_reset(&pilot);
  copied = pilot;
  good &= run();
  good &= expect(policy_set_state(&pilot, policy_state(&copied)) == policy_ok, "take a state over");
  good &= expect(memcmp(copied.state, pilot.state, sizeof(float) * policy_hidden_size) == 0, "have it then");
  printf("%s\n", good ? "done" : "FAILED");
  return good ? 0 : 1;
}
