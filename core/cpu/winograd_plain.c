/* core/cpu/winograd_plain.c - the loops of winograd_loops.h for any processor: 4 lanes. */
enum { LANES = 4, WIDE = 4, TALL = 2, ROWS = 2 };
#define NAME lmbi_winograd_plain
#include "core/cpu/winograd_loops.h"
