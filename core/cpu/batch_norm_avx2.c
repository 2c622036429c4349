/* core/cpu/batch_norm_avx2.c - the loops of batch_norm_loops.h for AVX2. */
#define NAME lmbi_batch_norm_avx2
#include "core/cpu/batch_norm_loops.h"
