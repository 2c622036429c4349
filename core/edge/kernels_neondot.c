/* core/edge/kernels_neondot.c - aarch64 with sdot (from Cortex-A55 and A76): 4 products of s8 in each of 4 lanes.
 * Activations become s8 by their top bit, x - 128; the bias makes up for it. */
#include "core/edge/internal.h"

#if LMBI_EDGE_NEONDOT
#define UNIT __attribute__((target("arch=armv8.2-a+dotprod")))
#include "core/edge/kernels_neon.h"

#define SET lmbi_edge_neondot
#define TAP 1
#define FLIP 0x80
#define BY_CHANNEL 1
#define TILES X(8, 2) X(4, 4) X(4, 1) X(1, 4)

UNIT_INLINE ints four(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return vreinterpretq_s32_u32(veorq_u32(vdupq_n_u32(v), vdupq_n_u32(0x80808080u)));
}

UNIT_INLINE ints mac(ints acc, ints x, ints line)
{
    return vdotq_s32(acc, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(line));
}

#include "core/edge/kernels_tiles.h"
#else
typedef int lmbi_edge_neondot_is_left_out; /* ISO C wants a declaration in every file */
#endif
