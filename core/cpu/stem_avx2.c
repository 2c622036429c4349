/* core/cpu/stem_avx2.c - the loops of stem_loops.h for AVX2 and FMA. */
#define LANES 8
#define ABREAST 1
#define NAME lmbi_stem_avx2
#include "core/cpu/stem_loops.h"
