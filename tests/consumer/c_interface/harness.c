/* Calls the block as a simulation does: two runs of it, and a start that fails. harness ARTIFACT INPUTS OUTPUTS */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sfunction.h"

int main(int count, char** words) {
  if (count != 4) return 2;
  void* work[1] = {NULL};
  if (ganglion_block_start(work, "/nowhere/at.all") == NULL || work[0] != NULL) return 3;
  ganglion_block_terminate(work);
  const size_t inputs = (size_t)atoi(words[2]), outputs = (size_t)atoi(words[3]);
  double input[BLOCK_WIDTH], output[BLOCK_WIDTH] = {0}, first[2] = {0};
  for (int run = 0; run < 2; ++run) {
    const char* const wrong = ganglion_block_start(work, words[1]);
    if (wrong != NULL) {
      fprintf(stderr, "%s\n", wrong);
      return 4;
    }
    for (int again = 0; again < 2; ++again) { /* after a reset it does the same */
      ganglion_block_reset(work);
      for (size_t i = 0; i < inputs; ++i) input[i] = 0.1F;
      for (int step = 0; step < 5; ++step) {
        if (ganglion_block_outputs(work, input, inputs, output, outputs) != 0) return 5;
        if (step == 0 && run == 0 && again == 0) first[0] = output[0];
        if (step == 0 && output[0] != first[0]) return 6;
        if (run == 0 && again == 0) printf("%.9g\n", output[0]);
      }
    }
    input[0] = NAN;
    first[1] = output[0];
    if (ganglion_block_outputs(work, input, inputs, output, outputs) == 0 || output[0] != first[1]) return 7;
    ganglion_block_terminate(work);
  }
  return 0;
}
