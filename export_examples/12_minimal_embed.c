/* The smallest controller in C: load, reset, step. Needs libganglion.so and ganglion.h, and no C++ compiler.
 *
 *   12_minimal_embed policy.ganglion
 */
#include <ganglion.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: 12_minimal_embed ARTIFACT\n");
    return 2;
  }
  char sentence[1000];
  ganglion_policy* policy = NULL; /* set-up: may allocate, and says what is wrong */
  if (ganglion_policy_load(argv[1], NULL, &policy, sentence, sizeof sentence) != GANGLION_OK) {
    fprintf(stderr, "%s\n", sentence);
    return 1;
  }
  ganglion_policy_info info = {.size = sizeof info};
  ganglion_policy_get_info(policy, &info);
  const size_t observations = info.batch * info.observation_size;
  const size_t actions = info.batch * info.action_size;
  float* const observation = malloc(observations * sizeof *observation);
  float* const action = malloc(actions * sizeof *action);
  int failed = observation == NULL || action == NULL;
  for (size_t i = 0; i < observations && !failed; ++i) observation[i] = 0.1F;

  ganglion_policy_reset(policy);
  for (int step = 0; step < 5 && !failed; ++step) { /* the same observation every time: what changes is the memory */
    failed = ganglion_policy_step(policy, observation, observations, action, actions) != GANGLION_OK;
    if (!failed) printf("%.9g\n", action[0]);
  }
  free(observation);
  free(action);
  ganglion_policy_destroy(policy);
  return failed;
}
