/* core/cpu/conv_avx512.c - the loops of conv_loops.h for AVX-512. */
#define LANES 16
enum { WIDE = 2, TALL = 12, ROWS = 8 };
#define NAME lmbi_conv_avx512
#include "core/cpu/conv_loops.h"
