/* federated/secagg/mask_avx2.c - masks, eight blocks at once. */
#include "federated/secagg/mask_lanes.h"

#if LMBI_MASK_X86
#include <immintrin.h>

#define NAME lmbi_mask_avx2
#define TITLE "avx2"
#define LANES 8
#define UNIT __attribute__((target("avx2")))
/* Turning by whole bytes is one shuffle instead of two shifts and an or. */
#define SHUFFLED(x, hi, lo) (vec) _mm256_shuffle_epi8((__m256i)(x), _mm256_set_epi64x(hi, lo, hi, lo))
#define TURN_16(x) SHUFFLED(x, 0x0d0c0f0e09080b0a, 0x0504070601000302)
#define TURN_8(x) SHUFFLED(x, 0x0e0d0c0f0a09080b, 0x0605040702010003)

static bool have(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

#define LMBI_MASK_BODY
#include "federated/secagg/mask_lanes.h"
#else
typedef int lmbi_mask_no_avx2;
#endif
