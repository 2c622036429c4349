/* core/cpu/stem_avx512.c - the loops of stem_loops.h for AVX-512. */
#define LANES 16
#define ABREAST 3
#define NAME lmbi_stem_avx512
#include "core/cpu/stem_loops.h"
