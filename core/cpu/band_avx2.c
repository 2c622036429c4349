/* core/cpu/band_avx2.c - the loops of band_loops.h for AVX2 and FMA. */
#define LANES 8
#define NAME lmbi_band_avx2
#include "core/cpu/band_loops.h"
