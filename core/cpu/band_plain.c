/* core/cpu/band_plain.c - the loops of band_loops.h for any processor: 4 lanes, which NEON and SSE have. */
#define LANES 4
#define NAME lmbi_band_plain
#include "core/cpu/band_loops.h"
