/* A block of a block diagram, as Simulink calls one: entry points that are called from outside, a work vector of
 * pointers between them, and no main. harness.c stands in for Simulink. */
#include "sfunction.h"

#include <ganglion.h>
#include <stdio.h>

/* As mdlStart: what may take memory and time. */
const char* ganglion_block_start(void** work, const char* artifact) {
  static char sentence[1000]; /* as ssSetErrorStatus wants it */
  ganglion_policy* policy = NULL;
  if (ganglion_policy_load(artifact, NULL, &policy, sentence, sizeof(sentence)) != GANGLION_OK) return sentence;
  work[0] = policy;
  return NULL;
}

/* As mdlInitializeConditions, and where a reset port says so. */
void ganglion_block_reset(void** work) { ganglion_policy_reset(work[0]); }

/* As mdlOutputs: Simulink's signals are doubles here; what is refused holds the last command. */
int ganglion_block_outputs(void** work, const double* input, size_t inputs, double* output, size_t outputs) {
  float observation[BLOCK_WIDTH], action[BLOCK_WIDTH];
  if (inputs > BLOCK_WIDTH || outputs > BLOCK_WIDTH) return GANGLION_STATUS_BAD_SIZE;
  for (size_t i = 0; i < inputs; ++i) observation[i] = (float)input[i];
  const ganglion_status status = ganglion_policy_step(work[0], observation, inputs, action, outputs);
  if (status == GANGLION_OK) {
    for (size_t i = 0; i < outputs; ++i) output[i] = (double)action[i];
  }
  return status;
}

/* As mdlTerminate, which is called after a start that failed, too. */
void ganglion_block_terminate(void** work) {
  ganglion_policy_destroy(work[0]);
  work[0] = NULL;
}
