/* core/cpu/batch_norm_bf16.c - the loops of batch_norm_loops.h over activations kept in bf16, for AVX-512 with BF16. */
#define NAME lmbi_batch_norm_bf16
#define DATA_IS_BF16
#include "core/cpu/batch_norm_loops.h"
