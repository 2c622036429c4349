/* core/cpu/conv_avx512.c - the loops of conv_loops.h for AVX-512. */
enum { LANES = 16, WIDE = 2, TALL = 12, ROWS = 8 };
#define NAME lmbi_conv_avx512
#include "core/cpu/conv_loops.h"
