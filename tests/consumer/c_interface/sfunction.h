#ifndef GANGLION_BLOCK_H
#define GANGLION_BLOCK_H

#include <stddef.h>

enum { BLOCK_WIDTH = 64 };

const char* ganglion_block_start(void** work, const char* artifact);
void ganglion_block_reset(void** work);
int ganglion_block_outputs(void** work, const double* input, size_t inputs, double* output, size_t outputs);
void ganglion_block_terminate(void** work);

#endif
