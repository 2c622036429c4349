/* core/cpu/winograd_avx512.c - the loops of winograd_loops.h for AVX-512. */
enum { LANES = 16, WIDE = 2, TALL = 12, ROWS = 8 };
#define NAME lmbi_winograd_avx512
#include "core/cpu/winograd_loops.h"
