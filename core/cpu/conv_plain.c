/* core/cpu/conv_plain.c - the loops of conv_loops.h for any processor: 4 lanes, which NEON and SSE have. */
#define LANES 4
enum { WIDE = 2, TALL = 6, ROWS = 4 };
#define NAME lmbi_conv_plain
#include "core/cpu/conv_loops.h"
