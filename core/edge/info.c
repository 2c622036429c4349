/* core/edge/info.c - records as structs. */
#include "core/edge/internal.h"

void lmb_edge_tensor_at(const lmb_edge_model *m, uint32_t i, lmb_edge_tensor *t)
{
    const uint8_t *r = m->tensors + (size_t)i * LMBI_EDGE_TENSOR;
    t->h = lmbi_edge_u32(r);
    t->w = lmbi_edge_u32(r + 4);
    t->c = lmbi_edge_u32(r + 8);
    t->count = t->h * t->w * t->c;
    t->type = (lmb_edge_type)r[12];
    t->layout = (lmb_edge_layout)r[13];
    t->bytes = t->type == LMB_EDGE_F32 ? 4 * t->count : t->count;
    t->zero_point = r[14];
    t->scale = lmbi_edge_f32(r + 16);
    t->name = (const char *)m->names + lmbi_edge_u32(r + 20);
    t->place = lmbi_edge_u64(r + 24);
}

/* Open decodes records before it has checked their offsets: never form a pointer outside the section. */
static const uint8_t *inside(const uint8_t *base, size_t bytes, uint64_t offset)
{
    return offset <= bytes ? base + offset : base;
}

int8_t lmb_edge_weight_at(const lmb_edge_op *op, uint32_t i)
{
    const uint8_t *p = (const uint8_t *)op->weights;
    int bits = op->bits;
    uint64_t at = (uint64_t)i * (unsigned)bits;
    size_t byte = (size_t)(at / 8);
    unsigned shift = (unsigned)(at % 8), v = p[byte];
    if (shift + (unsigned)bits > 8)
        v |= (unsigned)p[byte + 1] << 8;
    v = v >> shift & ((1u << bits) - 1);
    return (int8_t)(v >> (bits - 1) ? (int)v - (1 << bits) : (int)v);
}

void lmb_edge_op_at(const lmb_edge_model *m, uint32_t i, lmb_edge_op *op)
{
    const uint8_t *r = m->ops + (size_t)i * LMBI_EDGE_OP;
    lmb_edge_tensor x, y;
    int narrow = r[0] >= LMBI_EDGE_CONV_NARROW; /* the two last kinds, in the order of the wide ones */
    op->kind = (lmb_edge_kind)(narrow ? r[0] - LMBI_EDGE_CONV_NARROW + LMB_EDGE_CONV : r[0]);
    op->n_in = r[1];
    op->lo = r[2];
    op->hi = r[3];
    for (int j = 0; j < LMB_EDGE_MAX_INPUTS; j++)
        op->in[j] = lmbi_edge_u16(r + 4 + 2 * j);
    for (int j = 0; j < 2; j++) {
        op->kernel[j] = lmbi_edge_u16(r + 20 + 2 * j);
        op->stride[j] = lmbi_edge_u16(r + 24 + 2 * j);
        op->dilation[j] = lmbi_edge_u16(r + 28 + 2 * j);
    }
    for (int j = 0; j < 4; j++)
        op->pads[j] = lmbi_edge_u16(r + 32 + 2 * j);
    op->groups = lmbi_edge_u32(r + 40);
    lmb_edge_tensor_at(m, op->in[0], &x);
    lmb_edge_tensor_at(m, i + 1, &y);
    op->weights = NULL;
    op->n_weights = 0;
    op->bits = 0;
    if (op->kind == LMB_EDGE_CONV || op->kind == LMB_EDGE_GEMM) {
        op->bits = narrow ? r[44] : 8;
        op->weights = (const int8_t *)inside(m->weights, m->weights_bytes, lmbi_edge_u64(r + 48));
        op->n_weights = op->kind == LMB_EDGE_GEMM ? y.c * x.count
                                                  : y.c * op->kernel[0] * op->kernel[1] * (x.c / op->groups);
    }
    int none = op->kind == LMB_EDGE_MAX_POOL || op->kind == LMB_EDGE_CONCAT || op->kind == LMB_EDGE_DEQUANTISE;
    op->constants = none ? NULL : inside(m->constants, m->constants_bytes, lmbi_edge_u64(r + 56));
}
