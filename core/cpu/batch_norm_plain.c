/* core/cpu/batch_norm_plain.c - the loops of batch_norm_loops.h for any processor. */
#define NAME lmbi_batch_norm_plain
#include "core/cpu/batch_norm_loops.h"
