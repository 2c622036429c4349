/* core/edge/layout.h - the numbers of a conv, gemm, depthwise convolution or average in the order in which a kernel set
 * reads them: its layout.
 *
 * Kernels lay numbers out when they are prepared; a file may have them laid out already (laid.h), made on a machine
 * that need not be able to run these kernels. So this is plain C, and a few numbers say what differs between the sets.
 * It has one version for all (laid.h): who changes an order here, or which kernel takes an op first, raises it.
 *
 *   conv, gemm    weights [out / lanes][segment][group][line]: a line is what one `mac` of kernels_tiles.h takes, 4
 *                 bytes of activations for each of `lanes` outputs; zeros at the ragged ends. Where two lanes share a
 *                 channel (kernels_half.h), a line of the last block has half as many outputs and twice as many of
 *                 their activations
 *   deep          depthwise and averages: s32 bias, f32 multiplier, weights, each in the order of `narrow`: of a block
 *                 of 4 * lanes channels, lane 4 l + i of sum j is channel 16 l + 4 j + i
 */
#ifndef LMB_CORE_EDGE_LAYOUT_H
#define LMB_CORE_EDGE_LAYOUT_H

#include "core/edge/internal.h"

typedef struct lmbi_edge_layout {
    size_t lanes;       /* int32 of a vector                                              */
    size_t tap;         /* bytes of an activation and of a weight of conv, gemm: 1 or 2   */
    int flip;           /* 0x80 if activations are x - 128, else 0                        */
    int by_channel;     /* a line is [lanes][4 / tap]; 0: [4 / tap][lanes]                */
    size_t taps;        /* of deep, a step                                                */
    size_t deep_weight; /* bytes of a weight of deep: 1 or 2                              */
    size_t half;        /* pixels of a tile of half a block; 0: there is none             */
} lmbi_edge_layout;

#if defined(__GNUC__)
#define LMBI_LAYOUT __attribute__((always_inline)) static inline /* where `l` is a constant, it folds */
#else
#define LMBI_LAYOUT static inline
#endif

/* ---- which kernel ----------------------------------------------------------------------------------------- */

enum { LMBI_EDGE_MAX_AVERAGE = 1024 }; /* taps; larger averages are rare */

LMBI_LAYOUT int lmbi_averages(const lmbi_edge_step *s) { return s->op.kind == LMB_EDGE_GLOBAL_AVERAGE; }
LMBI_LAYOUT int lmbi_conv_accepts(const lmbi_edge_step *s) { return s->op.groups == 1; }
LMBI_LAYOUT int lmbi_deep_accepts(const lmbi_edge_step *s) { return s->op.groups == s->x.c && s->y.c == s->x.c; }
LMBI_LAYOUT int lmbi_average_accepts(const lmbi_edge_step *s)
{
    return (uint64_t)s->x.h * s->x.w <= LMBI_EDGE_MAX_AVERAGE;
}

/* ---- conv and gemm ---------------------------------------------------------------------------------------- */

/* Elements of one row of the input with its border. */
LMBI_LAYOUT size_t lmbi_row_of(const lmbi_edge_step *s)
{
    return ((size_t)s->x.w + s->op.pads[1] + s->op.pads[3]) * s->x.c;
}

/* Windows of a row; all of them, if they are evenly spaced across rows. */
LMBI_LAYOUT size_t lmbi_columns_of(const lmbi_edge_step *s, size_t row)
{
    size_t next_row = s->op.stride[0] * row, next = (size_t)s->op.stride[1] * s->x.c;
    return next_row == s->y.w * next ? (size_t)s->y.w * s->y.h : s->y.w;
}

/* The last block is for so few channels, and a row long enough. */
LMBI_LAYOUT int lmbi_halves(const lmbi_edge_layout l, const lmbi_edge_step *s, size_t columns)
{
    return l.half && (s->y.c - 1) % l.lanes < l.lanes / 2 && columns >= l.half;
}

LMBI_LAYOUT size_t lmbi_segments_of(const lmbi_edge_step *s)
{
    return s->op.dilation[1] == 1 ? s->op.kernel[0] : (size_t)s->op.kernel[0] * s->op.kernel[1];
}

/* 4-byte groups of a segment of n elements. */
LMBI_LAYOUT size_t lmbi_groups_of(const lmbi_edge_layout l, size_t n) { return (n + 4 / l.tap - 1) / (4 / l.tap); }

LMBI_LAYOUT uint64_t lmbi_blocks_of(const lmbi_edge_layout l, const lmbi_edge_step *s)
{
    return ((uint64_t)s->y.c + l.lanes - 1) / l.lanes;
}

LMBI_LAYOUT size_t lmbi_segment_length(const lmbi_edge_step *s, size_t segments)
{
    return s->op.n_weights / s->y.c / segments;
}

LMBI_LAYOUT uint64_t lmbi_conv_bytes(const lmbi_edge_layout l, const lmbi_edge_step *s, size_t segments)
{
    return lmbi_blocks_of(l, s) * segments * lmbi_groups_of(l, lmbi_segment_length(s, segments)) * 4 * l.lanes;
}

LMBI_LAYOUT int32_t lmbi_less_zero_point(const lmbi_edge_step *s, int32_t bias, const int8_t *w, size_t n, int flip)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)w[i];
    return (int32_t)((uint32_t)bias - (uint32_t)(s->x.zero_point - flip) * sum);
}

/* What a conv is laid out by. */
typedef struct lmbi_conv_shape {
    size_t segments, length; /* of a window; elements of a segment         */
    size_t groups;           /* of 4 bytes, of a segment                   */
    size_t half;             /* the block whose channels have two lanes    */
} lmbi_conv_shape;

/* Biases, less their zero points, to `bias`, which may be s->bias; weights to `to`, which is lmbi_conv_bytes() of
 * zeros. */
LMBI_LAYOUT void lmbi_conv_lay(const lmbi_edge_layout l, const lmbi_edge_step *s, const lmbi_conv_shape z,
                               int32_t *bias, uint8_t *to)
{
    const int8_t *from = s->op.weights;
    for (size_t o = 0; o < s->y.c; o++) {
        bias[o] = lmbi_less_zero_point(s, s->bias[o], from, z.length * z.segments, l.flip);
        size_t c = o % l.lanes, one = 4 / l.tap, group = one, groups = z.groups;
        if (o / l.lanes == z.half) {
            c *= 2;
            group *= 2;
            groups = (z.groups + 1) / 2;
        }
        for (size_t i = 0; i < z.segments; i++)
            for (size_t j = 0; j < z.length; j++) {
                uint8_t *line = to + (o / l.lanes * z.segments * z.groups + i * groups + j / group) * 4 * l.lanes;
                size_t lane = c + j % group / one, k = j % one;
                k = l.by_channel ? lane * one + k : k * l.lanes + lane;
                if (l.tap == 1)
                    ((int8_t *)line)[k] = *from++;
                else
                    ((int16_t *)(void *)line)[k] = *from++;
            }
    }
}

/* ---- depthwise and averages ------------------------------------------------------------------------------- */

LMBI_LAYOUT size_t lmbi_taps_of(const lmbi_edge_step *s)
{
    return lmbi_averages(s) ? (size_t)s->x.h * s->x.w : (size_t)s->op.kernel[0] * s->op.kernel[1];
}

/* A row whose channels repeat within a block is one long vector, with weights that repeat. */
LMBI_LAYOUT int lmbi_repeats(const lmbi_edge_layout l, const lmbi_edge_step *s)
{
    return s->x.c < 4 * l.lanes && 4 * l.lanes % s->x.c == 0;
}

/* Channels of all blocks; one block where all are alike. */
LMBI_LAYOUT size_t lmbi_deep_channels(const lmbi_edge_layout l, const lmbi_edge_step *s, int repeats)
{
    size_t wide = 4 * l.lanes;
    return lmbi_averages(s) || repeats ? wide : ((size_t)s->x.c + wide - 1) / wide * wide;
}

/* Of biases, multipliers and weights of so many channels. */
LMBI_LAYOUT uint64_t lmbi_deep_bytes(const lmbi_edge_layout l, size_t channels, size_t groups)
{
    return (uint64_t)channels * (8 + l.taps * groups * l.deep_weight);
}

/* All, of `all` channels and n taps, to `to`, which is lmbi_deep_bytes() of zeros. */
LMBI_LAYOUT void lmbi_deep_lay(const lmbi_edge_layout l, const lmbi_edge_step *s, size_t all, size_t n, size_t groups,
                               uint8_t *to)
{
    size_t wide = 4 * l.lanes;
    int32_t *bias = (int32_t *)(void *)to;
    float *m = (float *)(void *)(to + 4 * all);
    uint8_t *weights = to + 8 * all;
    for (size_t at = 0; at < all; at++) {
        size_t c = at % s->x.c, block = at / wide; /* past the last channel: what comes of it is not stored */
        size_t lane = at % 16 / 4 * l.lanes + at % wide / 16 * 4 + at % 4;
        size_t first = (block * groups * wide + lane) * l.taps;
        bias[block * wide + lane] = lmbi_averages(s) ? -(int32_t)n * s->x.zero_point
                                                     : lmbi_less_zero_point(s, s->bias[c], s->op.weights + c * n, n, 0);
        m[block * wide + lane] = lmbi_averages(s) ? s->constant[0] : s->m[c];
        for (size_t k = 0; k < n; k++) {
            int8_t q = lmbi_averages(s) ? 1 : s->op.weights[c * n + k];
            size_t place = first + k / l.taps * wide * l.taps + k % l.taps;
            if (l.deep_weight == 1)
                ((int8_t *)weights)[place] = q;
            else
                ((int16_t *)(void *)weights)[place] = q;
        }
    }
}

#endif
