/* core/cpu/batch_norm_avx512.c - the loops of batch_norm_loops.h for AVX-512. */
#define NAME lmbi_batch_norm_avx512
#include "core/cpu/batch_norm_loops.h"
