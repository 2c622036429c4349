/* core/cpu/band_avx512.c - the loops of band_loops.h for AVX-512. */
#define LANES 16
#define NAME lmbi_band_avx512
#include "core/cpu/band_loops.h"
