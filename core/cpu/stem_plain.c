/* core/cpu/stem_plain.c - the loops of stem_loops.h for any processor: 4 lanes, which NEON and SSE have. */
#define LANES 4
#define ABREAST 1
#define NAME lmbi_stem_plain
#include "core/cpu/stem_loops.h"
