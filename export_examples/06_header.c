// The policy as a header for C99, as 06_header.cpp has it for C++17: nothing to load, nothing to link, no heap.
//
//   cc -std=c99 -O2 -I <folder of policy.h> 06_header.c -o 06_header && ./06_header
#include <stdio.h>

#include "policy.h"

static policy_policy pilot;  // all memory that there is: sizeof(policy_policy) bytes

int main(void) {
  const policy_self_test_result test =
      policy_self_test(&pilot);  // once at start-up: replays a run of the Python policy
  float observation[policy_observation_size];
  float action[policy_action_size];
  if (!test.ok) {
    fprintf(stderr, "self-test failed at step %zu, element %zu\n", test.bad_step, test.bad_element);
    return 1;
  }

  policy_init(&pilot);
  for (size_t i = 0; i < policy_observation_size; ++i) observation[i] = 0.1F;
  for (int step = 0; step < 5; ++step) {  // the same observation every time: what changes is the memory
    if (policy_step(&pilot, observation, action) != policy_ok) return 1;
    printf("%.6f %s\n", (double)action[0], policy_output_elements[0].unit);
  }
  return 0;
}
