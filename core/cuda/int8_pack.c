/* core/cuda/int8_pack.c - see int8_pack.h. */
#include "core/cuda/int8_pack.h"

#include <stdlib.h>
#include <string.h>

static uint32_t u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float f32(const uint8_t *p)
{
    uint32_t u = u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Offsets travel as pointers until there is memory. */
static uint8_t *offset(uint64_t at) { return (uint8_t *)(uintptr_t)at; }

static lmb_int8_tensor tensor(const lmb_edge_model *m, uint32_t i, lmb_edge_tensor *t)
{
    lmb_edge_tensor_at(m, i, t);
    return (lmb_int8_tensor){ offset(t->place), (int32_t)t->h, (int32_t)t->w, (int32_t)t->c };
}

/* Room for n bytes of zeros at the end of the blob; its offset. */
static lmb_status take(lmb_str *blob, uint64_t n, size_t *at, lmb_error *err)
{
    static const char zeros[4096];

    *at = (blob->n + LMBI_INT8_ALIGN - 1) / LMBI_INT8_ALIGN * LMBI_INT8_ALIGN;
    if (n > LMBI_INT8_CONSTANTS_MAX || *at + n > LMBI_INT8_CONSTANTS_MAX)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "an integer network with more than %d MiB of packed weights does not go on a GPU; "
                        "run it on the processor",
                        LMBI_INT8_CONSTANTS_MAX >> 20);
    while (blob->n < *at + n) {
        uint64_t left = *at + n - blob->n;
        lmb_str_add_n(blob, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros);
        LMB_TRY(lmb_str_check(blob, err));
    }
    return LMB_OK;
}

/* ---- convolutions ---- */

static void pack_dense(const lmb_edge_op *op, const lmb_int8_step *s, int8_t *to)
{
    uint32_t channels = (uint32_t)(s->x.c / s->groups), outputs = (uint32_t)(s->y.c / s->groups),
             width = s->width == 16 ? 16 : 4;
    uint32_t taps = (uint32_t)(s->kernel[0] * s->kernel[1]), loads = (channels + width - 1) / width;
    uint32_t tiles = (outputs + LMB_INT8_OUTPUTS - 1) / LMB_INT8_OUTPUTS;

    for (uint32_t o = 0; o < (uint32_t)s->y.c; o++) {
        uint32_t tile = o / outputs * tiles + o % outputs / LMB_INT8_OUTPUTS, lane = o % outputs % LMB_INT8_OUTPUTS;
        for (uint32_t t = 0; t < taps; t++)
            for (uint32_t c = 0; c < channels; c++) {
                size_t at = ((size_t)tile * taps + t) * loads + c / width;
                to[(at * LMB_INT8_OUTPUTS + lane) * width + c % width] =
                    lmb_edge_weight_at(op, (o * taps + t) * channels + c);
            }
    }
}

static void pack_depthwise(const lmb_edge_op *op, const lmb_int8_step *s, int8_t *to)
{
    uint32_t taps = (uint32_t)(s->kernel[0] * s->kernel[1]), outputs = (uint32_t)s->y.c;

    for (uint32_t o = 0; o < outputs; o++)
        for (uint32_t t = 0; t < taps; t++)
            to[(size_t)t * outputs + o] = lmb_edge_weight_at(op, o * taps + t);
}

static lmb_status pack_weights(const lmb_edge_op *op, lmb_int8_step *s, lmb_str *blob, lmb_error *err)
{
    uint64_t channels = (uint64_t)(s->x.c / s->groups), outputs = (uint64_t)(s->y.c / s->groups),
             width = s->width == 16 ? 16 : 4;
    uint64_t taps = (uint64_t)s->kernel[0] * (uint64_t)s->kernel[1], bytes;
    size_t at;

    if (s->kind == LMB_INT8_DEPTHWISE)
        bytes = taps * (uint64_t)s->y.c;
    else
        bytes = (uint64_t)s->groups * ((outputs + LMB_INT8_OUTPUTS - 1) / LMB_INT8_OUTPUTS) * LMB_INT8_OUTPUTS * taps *
                ((channels + width - 1) / width * width);
    LMB_TRY(take(blob, bytes, &at, err));
    s->weights = (const int8_t *)offset(at);
    if (s->kind == LMB_INT8_DEPTHWISE)
        pack_depthwise(op, s, (int8_t *)blob->text + at);
    else
        pack_dense(op, s, (int8_t *)blob->text + at);
    return LMB_OK;
}

/* Biases, and the zero point's share off them where padding is read as zero points. */
static lmb_status pack_constants(const lmb_edge_op *op, lmb_int8_step *s, lmb_str *blob, lmb_error *err)
{
    uint32_t outputs = (uint32_t)s->y.c, of_one = op->n_weights / outputs;
    size_t bias, m;

    LMB_TRY(take(blob, (uint64_t)outputs * 4, &bias, err));
    LMB_TRY(take(blob, (uint64_t)outputs * 4, &m, err));
    for (uint32_t o = 0; o < outputs; o++) {
        uint32_t sum = 0, b;
        float scale = f32(op->constants + 4 * (size_t)(outputs + o));
        for (uint32_t k = 0; k < of_one; k++)
            sum += (uint32_t)lmb_edge_weight_at(op, o * of_one + k);
        b = u32(op->constants + 4 * (size_t)o) - (uint32_t)s->zero_x * sum;
        memcpy(blob->text + bias + 4 * (size_t)o, &b, 4);
        memcpy(blob->text + m + 4 * (size_t)o, &scale, 4);
    }
    s->bias = (const int32_t *)(const void *)offset(bias);
    s->m = (const float *)(const void *)offset(m);
    return LMB_OK;
}

static lmb_status convolution(const lmb_edge_op *op, lmb_int8_step *s, lmb_str *blob, lmb_error *err)
{
    s->groups = (int32_t)op->groups;
    for (int j = 0; j < 2; j++) {
        s->kernel[j] = op->kernel[j];
        s->stride[j] = op->stride[j];
        s->dilation[j] = op->dilation[j];
        s->pads[j] = op->pads[j];
    }
    if (op->kind == LMB_EDGE_GEMM) { /* a convolution of one pixel */
        s->x = (lmb_int8_tensor){ s->x.at, 1, 1, s->x.h * s->x.w * s->x.c };
        s->groups = 1;
        for (int j = 0; j < 2; j++) {
            s->kernel[j] = s->stride[j] = s->dilation[j] = 1;
            s->pads[j] = 0;
        }
    }
    int32_t channels = s->x.c / s->groups;
    s->kind = channels == 1 && s->groups > 1 ? LMB_INT8_DEPTHWISE : LMB_INT8_CONV;
    if (s->kind == LMB_INT8_DEPTHWISE)
        s->width = s->y.c == s->groups && s->y.c % 4 == 0 ? 4 : 1;
    else
        s->width = channels % 16 == 0 ? 16 : channels % 4 == 0 ? 4 : 1;
    LMB_TRY(pack_weights(op, s, blob, err));
    return pack_constants(op, s, blob, err);
}

/* ---- the others ---- */

static lmb_status table(const lmb_edge_op *op, lmb_int8_step *s, lmb_str *blob, lmb_error *err)
{
    size_t at;

    LMB_TRY(take(blob, 256, &at, err));
    memcpy(blob->text + at, op->constants, 256);
    s->table = offset(at);
    s->kind = LMB_INT8_TABLE;
    return LMB_OK;
}

static void max_pool(const lmb_edge_op *op, lmb_int8_step *s)
{
    s->kind = LMB_INT8_MAX_POOL;
    for (int j = 0; j < 2; j++) {
        s->kernel[j] = op->kernel[j];
        s->stride[j] = op->stride[j];
        s->dilation[j] = op->dilation[j];
        s->pads[j] = op->pads[j];
    }
}

/* One input after the other. */
static int concat(const lmb_edge_model *m, const lmb_edge_op *op, const lmb_int8_step *like, lmb_int8_step *step)
{
    int32_t first = 0;

    for (int j = 0; j < op->n_in; j++) {
        lmb_edge_tensor t;
        step[j] = *like;
        step[j].kind = LMB_INT8_CHANNELS;
        step[j].x = tensor(m, op->in[j], &t);
        step[j].first = first;
        first += (int32_t)t.c;
    }
    return op->n_in;
}

lmb_status lmbi_int8_pack(const lmb_edge_model *m, uint32_t i, lmb_str *blob, lmb_int8_step *step, int *n,
                          lmb_error *err)
{
    lmb_edge_tensor x, y, b;
    lmb_int8_step s = { .groups = 1 };
    lmb_edge_op op;

    lmb_edge_op_at(m, i, &op);
    s.x = tensor(m, op.in[0], &x);
    s.y = tensor(m, i + 1, &y);
    s.zero_x = x.zero_point;
    s.zero_y = y.zero_point;
    s.lo = op.lo;
    s.hi = op.hi;
    *n = 1;
    switch (op.kind) {
    case LMB_EDGE_CONV:
    case LMB_EDGE_GEMM:
        LMB_TRY(convolution(&op, &s, blob, err));
        break;
    case LMB_EDGE_ADD:
        s.kind = LMB_INT8_ADD;
        s.b = tensor(m, op.in[1], &b);
        for (int k = 0; k < 3; k++)
            s.f[k] = f32(op.constants + 4 * k);
        break;
    case LMB_EDGE_GLOBAL_AVERAGE:
        s.kind = LMB_INT8_AVERAGE;
        s.f[0] = f32(op.constants);
        break;
    case LMB_EDGE_MAX_POOL:
        max_pool(&op, &s);
        break;
    case LMB_EDGE_TABLE:
        LMB_TRY(table(&op, &s, blob, err));
        break;
    case LMB_EDGE_DEQUANTISE:
        s.kind = LMB_INT8_DEQUANTISE;
        s.f[0] = x.scale;
        break;
    case LMB_EDGE_CONCAT:
        *n = concat(m, &op, &s, step);
        return LMB_OK;
    default:
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "op %u of the model, %s, has no kernel on a GPU", i,
                        lmb_edge_kind_name(op.kind));
    }
    *step = s;
    return LMB_OK;
}

static void move(uint8_t **at, uint8_t *base, int64_t batch) { *at = base + (uintptr_t)*at * (uint64_t)batch; }

void lmbi_int8_place(lmb_int8_step *s, uint8_t *constants, uint8_t *arena, int64_t batch)
{
    move(&s->x.at, arena, batch);
    move(&s->b.at, arena, batch);
    move(&s->y.at, arena, batch);
    s->weights = (const int8_t *)(constants + (uintptr_t)s->weights);
    s->bias = (const int32_t *)(const void *)(constants + (uintptr_t)s->bias);
    s->m = (const float *)(const void *)(constants + (uintptr_t)s->m);
    s->table = constants + (uintptr_t)s->table;
}
