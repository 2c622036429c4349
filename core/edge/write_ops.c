/* core/edge/write_ops.c - see write.h: what each op's record, weights and constants are. */
#include <math.h>
#include <stdlib.h>

#include "core/edge/write_internal.h"

/* ---- conv and gemm ---------------------------------------------------------------------------------------- */

static void put_window(uint8_t *r, const uint16_t kernel[2], const uint16_t stride[2], const uint16_t dilation[2],
                       const uint16_t pads[4])
{
    for (int i = 0; i < 2; i++) {
        lmbi_write_u16(r + 20 + 2 * i, kernel[i]);
        lmbi_write_u16(r + 24 + 2 * i, stride[i]);
        lmbi_write_u16(r + 28 + 2 * i, dilation[i]);
    }
    for (int i = 0; i < 4; i++)
        lmbi_write_u16(r + 32 + 2 * i, pads[i]);
}

/* Output size along one axis; 0, which no tensor can have, where there is none. */
static uint64_t window_size(uint64_t in, uint64_t k, uint64_t stride, uint64_t dilation, uint64_t pads)
{
    if (!k || !stride || !dilation || (k - 1) * dilation + 1 > in + pads)
        return 0;
    return (in + pads - (k - 1) * dilation - 1) / stride + 1;
}

/* Weights as the file has them: what put_weights reads of a lmb_edge_conv or lmb_edge_gemm. */
typedef struct weights {
    size_t outputs, channels, positions;
    const int8_t *w;
    const float *scales;
    const int32_t *bias;
    int bits;
} weights;

size_t lmb_edge_weight_bytes(uint32_t n, int bits) { return (size_t)(((uint64_t)n * (unsigned)bits + 7) / 8); }

/* Number i of a run of narrow ones, zeros so far. */
static void put_bits(uint8_t *to, size_t i, int bits, int v)
{
    uint64_t at = (uint64_t)i * (unsigned)bits;
    unsigned u = ((unsigned)v & ((1u << bits) - 1)) << (at % 8);
    to[at / 8] = (uint8_t)(to[at / 8] | u);
    if (u >> 8)
        to[at / 8 + 1] = (uint8_t)(u >> 8);
}

/* [outputs][channels][positions] -> [outputs][positions][channels], with bias and multipliers; r: the op's record. */
static void put_weights(lmb_edge_writer *w, uint8_t *r, const lmb_edge_tensor *x, float y_scale, const weights *a)
{
    size_t outputs = a->outputs, each = a->channels * a->positions, i = 0;
    int bits = a->bits == 0 ? 8 : a->bits, most = (1 << (bits - 1)) - 1;
    const int8_t *from = a->w;

    if (each > LMB_EDGE_MAX_COUNT / outputs || bits < 2 || bits > 8) {
        lmbi_write_fail(w, LMB_EDGE_E_ARG, "more than %d weights in one op, or %d bits, which must be 2..8",
                        LMB_EDGE_MAX_COUNT, bits);
        return;
    }
    uint8_t *to = lmbi_write_room(w, &w->weights, lmb_edge_weight_bytes((uint32_t)(outputs * each), bits));
    uint8_t *q = lmbi_write_room(w, &w->constants, 8 * outputs);
    if (!to || !q)
        return;
    if (bits < 8) {
        r[0] = (uint8_t)(r[0] == LMB_EDGE_CONV ? LMBI_EDGE_CONV_NARROW : LMBI_EDGE_GEMM_NARROW);
        lmbi_write_u32(r + 44, (uint32_t)bits);
    }
    for (size_t o = 0; o < outputs; o++, from += each)
        for (size_t p = 0; p < a->positions; p++)
            for (size_t c = 0; c < a->channels; c++) {
                int v = from[c * a->positions + p];
                if (bits < 8 && (v < -most - 1 || v > most)) {
                    lmbi_write_fail(w, LMB_EDGE_E_ARG, "a weight is %d: it does not fit in %d bits", v, bits);
                    return;
                }
                if (bits < 8)
                    put_bits(to, i++, bits, v);
                else
                    to[i++] = (uint8_t)v;
            }
    for (size_t o = 0; o < outputs; o++) {
        float product = x->scale * a->scales[o];
        lmbi_write_u32(q + 4 * o, a->bias ? (uint32_t)a->bias[o] : 0);
        lmbi_write_f32(q + 4 * (outputs + o), product / y_scale);
    }
}

int lmb_edge_write_conv(lmb_edge_writer *w, const lmb_edge_conv *op)
{
    const lmb_edge_tensor *x = lmbi_write_input_of(w, op->x, op->name);
    if (!x)
        return -1;
    if (!op->groups || x->c % op->groups || op->channels % op->groups)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: %lu groups must divide %lu input and %lu output channels",
                               op->name, (unsigned long)op->groups, (unsigned long)x->c, (unsigned long)op->channels);
    uint64_t shape[3] = { window_size(x->h, op->kernel[0], op->stride[0], op->dilation[0], op->pads[0] + op->pads[2]),
                          window_size(x->w, op->kernel[1], op->stride[1], op->dilation[1], op->pads[1] + op->pads[3]),
                          op->channels };
    uint8_t *r = lmbi_write_op(w, LMB_EDGE_CONV, &op->x, 1, shape, op->y, op->name);
    if (!r)
        return -1;
    put_window(r, op->kernel, op->stride, op->dilation, op->pads);
    lmbi_write_u32(r + 40, op->groups);
    const weights a = { op->channels, x->c / op->groups, (size_t)op->kernel[0] * op->kernel[1], op->weights,
                        op->weight_scales, op->bias, op->bits };
    put_weights(w, r, x, op->y.scale, &a);
    return lmbi_write_done(w);
}

int lmb_edge_write_gemm(lmb_edge_writer *w, const lmb_edge_gemm *op)
{
    const lmb_edge_tensor *x = lmbi_write_input_of(w, op->x, op->name);
    const uint64_t shape[3] = { 1, 1, op->channels };
    uint8_t *r = x ? lmbi_write_op(w, LMB_EDGE_GEMM, &op->x, 1, shape, op->y, op->name) : NULL;
    if (!r)
        return -1;
    const weights a = { op->channels, x->c, (size_t)x->h * x->w, op->weights, op->weight_scales, op->bias, op->bits };
    put_weights(w, r, x, op->y.scale, &a);
    return lmbi_write_done(w);
}

/* ---- the other ops ---------------------------------------------------------------------------------------- */

static int put_floats(lmb_edge_writer *w, const float *f, int n)
{
    uint8_t *q = lmbi_write_room(w, &w->constants, 4 * (size_t)n);
    for (int i = 0; q && i < n; i++)
        lmbi_write_f32(q + 4 * i, f[i]);
    return lmbi_write_done(w);
}

/* Shape of a tensor as lmbi_write_op takes it. */
#define SHAPE_OF(t) { (t)->h, (t)->w, (t)->c }

int lmb_edge_write_add(lmb_edge_writer *w, int a, int b, lmb_edge_quant y, const char *name)
{
    const lmb_edge_tensor *ta = lmbi_write_input_of(w, a, name), *tb = lmbi_write_input_of(w, b, name);
    if (!ta || !tb)
        return -1;
    const uint64_t shape[3] = SHAPE_OF(ta);
    const int in[2] = { a, b };
    if (!lmbi_write_op(w, LMB_EDGE_ADD, in, 2, shape, y, name))
        return -1;
    float ra = ta->scale / y.scale, rb = tb->scale / y.scale;
    float b_part = rb * (float)tb->zero_point;
    float base = (float)y.zero_point - fmaf(ra, (float)ta->zero_point, b_part);
    const float constants[3] = { ra, rb, base };
    return put_floats(w, constants, 3);
}

int lmb_edge_write_global_average(lmb_edge_writer *w, int x, lmb_edge_quant y, const char *name)
{
    const lmb_edge_tensor *t = lmbi_write_input_of(w, x, name);
    if (!t)
        return -1;
    const uint64_t shape[3] = { 1, 1, t->c };
    if (!lmbi_write_op(w, LMB_EDGE_GLOBAL_AVERAGE, &x, 1, shape, y, name))
        return -1;
    float scaled = y.scale * (float)(t->h * t->w);
    const float m = t->scale / scaled;
    return put_floats(w, &m, 1);
}

int lmb_edge_write_max_pool(lmb_edge_writer *w, int x, const uint16_t kernel[2], const uint16_t stride[2],
                            const uint16_t dilation[2], const uint16_t pads[4], int lo, int hi, const char *name)
{
    const lmb_edge_tensor *t = lmbi_write_input_of(w, x, name);
    if (!t)
        return -1;
    const uint64_t shape[3] = { window_size(t->h, kernel[0], stride[0], dilation[0], pads[0] + pads[2]),
                                window_size(t->w, kernel[1], stride[1], dilation[1], pads[1] + pads[3]), t->c };
    const lmb_edge_quant q = { t->scale, t->zero_point, lo, hi };
    uint8_t *r = lmbi_write_op(w, LMB_EDGE_MAX_POOL, &x, 1, shape, q, name);
    if (!r)
        return -1;
    put_window(r, kernel, stride, dilation, pads);
    return lmbi_write_done(w);
}

int lmb_edge_write_concat(lmb_edge_writer *w, const int *x, int n, const char *name)
{
    uint64_t channels = 0;
    if (n < 2 || n > LMB_EDGE_MAX_INPUTS)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "%s: %d inputs; concat takes 2..%d, join more in steps", name, n,
                    LMB_EDGE_MAX_INPUTS);
    for (int i = 0; i < n; i++) {
        const lmb_edge_tensor *t = lmbi_write_input_of(w, x[i], name);
        if (!t)
            return -1;
        channels += t->c;
    }
    const lmb_edge_tensor *first = &w->tensors[x[0]];
    const uint64_t shape[3] = { first->h, first->w, channels };
    const lmb_edge_quant q = { first->scale, first->zero_point, 0, 255 };
    return lmbi_write_op(w, LMB_EDGE_CONCAT, x, n, shape, q, name) ? lmbi_write_done(w) : -1;
}

int lmb_edge_write_table(lmb_edge_writer *w, int x, lmb_edge_quant y, const uint8_t table[256], const char *name)
{
    const lmb_edge_tensor *t = lmbi_write_input_of(w, x, name);
    if (!t)
        return -1;
    const uint64_t shape[3] = SHAPE_OF(t);
    if (!lmbi_write_op(w, LMB_EDGE_TABLE, &x, 1, shape, y, name))
        return -1;
    uint8_t *q = lmbi_write_room(w, &w->constants, 256);
    if (q)
        memcpy(q, table, 256);
    return lmbi_write_done(w);
}

int lmb_edge_write_requantise(lmb_edge_writer *w, int x, lmb_edge_quant y, const char *name)
{
    const lmb_edge_tensor *t = lmbi_write_input_of(w, x, name);
    uint8_t table[256];
    if (!t)
        return -1;
    for (int q = 0; q < 256; q++) {
        float real = (float)(q - t->zero_point) * t->scale;
        float v = rintf(real / y.scale) + (float)y.zero_point;
        table[q] = (uint8_t)(v > (float)y.lo ? v < (float)y.hi ? (int)v : y.hi : y.lo);
    }
    return lmb_edge_write_table(w, x, y, table, name);
}

int lmb_edge_write_dequantise(lmb_edge_writer *w, int x, const char *name)
{
    const lmb_edge_tensor *t = lmbi_write_input_of(w, x, name);
    if (!t)
        return -1;
    const uint64_t shape[3] = SHAPE_OF(t);
    const lmb_edge_quant q = { 1.0f, 0, 0, 255 };
    if (!lmbi_write_op(w, LMB_EDGE_DEQUANTISE, &x, 1, shape, q, name))
        return -1;
    lmb_edge_tensor *y = &w->tensors[w->n_tensors - 1];
    y->type = LMB_EDGE_F32;
    y->bytes = 4 * y->count;
    return lmbi_write_done(w);
}
