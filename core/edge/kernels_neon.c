/* core/edge/kernels_neon.c - aarch64 as it was at first (Cortex-A53, A72): smlal adds products of s16 in 4 lanes. */
#include "core/edge/internal.h"

#if LMBI_EDGE_NEON
#define UNIT
#include "core/edge/kernels_neon.h"

#define SET lmbi_edge_neon
#define TAP 2
#define FLIP 0
#define BY_CHANNEL 0
#define TILES X(8, 2) X(4, 4) X(4, 1) X(1, 4)

UNIT_INLINE ints four(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return vdupq_n_s32(v);
}

UNIT_INLINE ints mac(ints acc, ints x, ints line)
{
    int16x4_t two = vget_low_s16(vreinterpretq_s16_s32(x));
    int16x8_t w = vreinterpretq_s16_s32(line);
    acc = vmlal_lane_s16(acc, vget_low_s16(w), two, 0);
    return vmlal_lane_s16(acc, vget_high_s16(w), two, 1);
}

UNIT_INLINE void widen(int16_t *to, const uint8_t *from)
{
    uint8x16_t v = vld1q_u8(from);
    vst1q_s16(to, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v))));
    vst1q_s16(to + 8, vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(v))));
}

#include "core/edge/kernels_tiles.h"
#else
typedef int lmbi_edge_neon_is_left_out; /* ISO C wants a declaration in every file */
#endif
