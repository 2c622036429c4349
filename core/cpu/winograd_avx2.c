/* core/cpu/winograd_avx2.c - the loops of winograd_loops.h for AVX2 and FMA. */
enum { LANES = 8, WIDE = 2, TALL = 6, ROWS = 4 };
#define NAME lmbi_winograd_avx2
#include "core/cpu/winograd_loops.h"
