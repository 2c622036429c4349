/* core/cpu/conv_avx2.c - the loops of conv_loops.h for AVX2 and FMA. */
#define LANES 8
enum { WIDE = 2, TALL = 6, ROWS = 4 };
#define NAME lmbi_conv_avx2
#include "core/cpu/conv_loops.h"
