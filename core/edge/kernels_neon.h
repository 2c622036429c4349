/* core/edge/kernels_neon.h - what the aarch64 kernels share; kernels_tiles.h says what these are. */
#include <arm_neon.h>

#define UNIT_INLINE UNIT __attribute__((always_inline)) static inline
#define LANES 4
#define TAPS 1

typedef int16_t tap_weight;
typedef int32x4_t ints;
typedef float32x4_t floats;
typedef uint8x16_t bytes;

typedef struct output {
    bytes lo, hi;
    int16x8_t zp;
} output;

UNIT_INLINE bytes load_bytes(const void *p) { return vld1q_u8((const uint8_t *)p); }
UNIT_INLINE bytes every_byte(int v) { return vdupq_n_u8((uint8_t)v); }
UNIT_INLINE bytes larger(bytes a, bytes b) { return vmaxq_u8(a, b); }
UNIT_INLINE bytes smaller(bytes a, bytes b) { return vminq_u8(a, b); }

UNIT_INLINE output output_of(int zp, int lo, int hi)
{
    output q = { every_byte(lo), every_byte(hi), vdupq_n_s16((int16_t)zp) };
    return q;
}

UNIT_INLINE ints load_ints(const int32_t *p) { return vld1q_s32(p); }
UNIT_INLINE floats load_floats(const float *p) { return vld1q_f32(p); }
UNIT_INLINE floats every_lane(float v) { return vdupq_n_f32(v); }
UNIT_INLINE ints load_line(const void *p) { return vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)p)); }
UNIT_INLINE floats scaled(ints acc, floats m) { return vmulq_f32(vcvtq_f32_s32(acc), m); }
UNIT_INLINE floats multiply_add(floats a, floats b, floats c) { return vfmaq_f32(c, a, b); }

UNIT_INLINE floats from_bytes(const uint8_t *p)
{
    uint8_t all[8] = { p[0], p[1], p[2], p[3] };
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vld1_u8(all)))));
}

/* Conversions saturate; they round to nearest even here. */
UNIT_INLINE int16x8_t pair(floats a, floats b, const output *q)
{
    int16x8_t v = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)), vqmovn_s32(vcvtnq_s32_f32(b)));
    return vqaddq_s16(v, q->zp);
}

UNIT_INLINE bytes narrow(floats a, floats b, floats c, floats d, const output *q)
{
    bytes v = vcombine_u8(vqmovun_s16(pair(a, b, q)), vqmovun_s16(pair(c, d, q)));
    return larger(smaller(v, q->hi), q->lo);
}

UNIT_INLINE bytes ordered(bytes v) { return v; }

UNIT_INLINE void store(uint8_t *p, bytes v) { vst1q_u8(p, v); }

UNIT_INLINE void store_some(uint8_t *p, bytes v, size_t n)
{
    uint8_t all[16];
    store(all, v);
    memcpy(p, all, n);
}

/* One tap of 16 channels. */
UNIT_INLINE void taps(ints acc[4], const uint8_t *x, const int64_t *at, const tap_weight *w)
{
    uint8x16_t v = vld1q_u8(x + at[0]);
    int16x8_t lo = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v))),
              hi = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(v)));
    int16x8_t wl = vld1q_s16(w), wh = vld1q_s16(w + 8);
    acc[0] = vmlal_s16(acc[0], vget_low_s16(lo), vget_low_s16(wl));
    acc[1] = vmlal_s16(acc[1], vget_high_s16(lo), vget_high_s16(wl));
    acc[2] = vmlal_s16(acc[2], vget_low_s16(hi), vget_low_s16(wh));
    acc[3] = vmlal_s16(acc[3], vget_high_s16(hi), vget_high_s16(wh));
}
