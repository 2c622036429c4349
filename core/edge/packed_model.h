/* core/edge/packed_model.h - what packing and unpacking agree on: the contexts of the code, and its layout. */
#ifndef LMB_CORE_EDGE_PACKED_MODEL_H
#define LMB_CORE_EDGE_PACKED_MODEL_H

#include "core/edge/internal.h"

enum {
    LMBI_PACKED_HEAD = 16,
    LMBI_PACKED_BYTES = 1,      /* coding: a weight in each byte    */
    LMBI_PACKED_RUNS = 2,       /* coding: some weights are narrow  */
    LMBI_PACKED_RUN = 8,        /* bytes of a run in the list       */
    LMBI_PACKED_MAX_RUNS = 2 * LMB_EDGE_MAX_OPS + 1,
    LMBI_PACKED_MAX = 1 << 30,  /* bytes of WTS */
    LMBI_PACKED_FLUSH = 5,      /* bytes of the coder's own: the least there can be */
    LMBI_PACKED_MIN_RATE = 2,   /* probabilities move by 1/4 of the way at first, and by 1/128 in the end */
    LMBI_PACKED_MAX_RATE = 7
};
#define LMBI_PACKED_TYPE LMBI_EDGE_TYPE('W', 'T', 'S', 'C')
#define LMBI_PACKED_TOP ((uint32_t)1 << 24)

/* How likely a bit is 0, of 65536, and how often it was seen, up to 255. */
typedef struct lmbi_packed_bit { uint16_t p; uint8_t seen; } lmbi_packed_bit;

/* Weights that follow each other in WTS, with as many bits each. */
typedef struct lmbi_packed_run { uint32_t weights, bits; } lmbi_packed_run;
static inline uint64_t lmbi_packed_run_bytes(lmbi_packed_run r) { return ((uint64_t)r.weights * r.bits + 7) / 8; }

typedef struct lmbi_packed_model {
    lmbi_packed_bit zero[3], sign, tree[128];
    int before; /* how many of the last two weights were zero, as two bits */
} lmbi_packed_model;

static inline void lmbi_packed_begin(lmbi_packed_model *m)
{
    const lmbi_packed_bit even = { 32768, 0 };
    for (int i = 0; i < 3; i++)
        m->zero[i] = even;
    for (int i = 0; i < 128; i++)
        m->tree[i] = even;
    m->sign = even;
    m->before = 0;
}

static inline void lmbi_packed_learn(lmbi_packed_bit *b, int bit)
{
    int rate = LMBI_PACKED_MIN_RATE;
    for (int n = b->seen; n > 1 && rate < LMBI_PACKED_MAX_RATE; n >>= 1)
        rate++;
    if (bit)
        b->p = (uint16_t)(b->p - (b->p >> rate));
    else
        b->p = (uint16_t)(b->p + ((65536u - b->p) >> rate));
    if (b->seen < 255)
        b->seen++;
}

/* What a zero or another weight is coded by. */
static inline lmbi_packed_bit *lmbi_packed_zero(lmbi_packed_model *m)
{
    return &m->zero[(m->before & 1) + (m->before >> 1)];
}
static inline void lmbi_packed_next(lmbi_packed_model *m, int is_zero) { m->before = (m->before << 1 | is_zero) & 3; }

/* Below `bound` of the range is a 0. Never nothing, never all: p is clamped. */
static inline uint32_t lmbi_packed_bound(uint32_t range, const lmbi_packed_bit *b)
{
    uint32_t p = b->p < 64 ? 64 : b->p > 65536 - 64 ? 65536 - 64 : b->p;
    return (range >> 16) * p;
}

#endif
