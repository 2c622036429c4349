/* A module that is not quite ours, for test_cuda.c: STAND_IN_VERSION and STAND_IN_SIZE fill the head of its table. */
#include "core/cuda/cuda.h"

#ifdef STAND_IN_VERSION
extern const lmb_cuda_api lmb_cuda_module;
const lmb_cuda_api lmb_cuda_module = { .version = STAND_IN_VERSION, .size = STAND_IN_SIZE };
#else
extern const int lmb_something_else;
const int lmb_something_else = 1;
#endif
