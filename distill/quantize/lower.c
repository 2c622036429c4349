/* distill/quantize/lower.c - frozen FakeQuant graph -> .lmb. See lower.h. */
#include "distill/quantize/lower.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/edge/write.h"
#include "core/graph/op.h"
#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/ops/pool.h"
#include "core/ops/quantize.h"
#include "distill/fold.h"

typedef struct lowering {
    const lmb_graph *g;
    lmb_edge_writer *w;
    int *tensor;      /* [values] number in the .lmb, -1: not there (yet) */
    bool *skip;       /* [nodes] done by an earlier node                  */
    double mean, scale; /* the input's normalisation                      */
    lmb_error *err;
} lowering;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }
static const lmb_value *value(const lowering *l, lmb_vid v) { return &l->g->value[v]; }
static const lmb_node *maker(const lowering *l, lmb_vid v) { return value(l, v)->node == LMB_NONE ? NULL : &l->g->node[value(l, v)->node]; }
static float number(const lowering *l, lmb_vid v) { return *(const float *)value(l, v)->data; }

static lmb_status refuse(const lowering *l, const lmb_node *n, const char *why)
{
    return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "node %s (%s): %s", n->name, n->op->name, why);
}

static lmb_edge_quant quant_of(const lowering *l, const lmb_node *fake)
{
    return (lmb_edge_quant){ number(l, fake->in[1]), (int)number(l, fake->in[2]), 0, 255 };
}

/* Follow v through Relu or Clip to its FakeQuant: its scale, the clamp, and the value where integers begin again. */
static lmb_status quant_after(lowering *l, const lmb_node *n, lmb_edge_quant *q, lmb_vid *end)
{
    const lmb_node *clamp = NULL;
    lmb_vid v = n->out[0];
    int i = lmb_sole_reader(l->g, v);

    if (i >= 0 && (is(&l->g->node[i], "Relu") || is(&l->g->node[i], "Clip"))) {
        clamp = &l->g->node[i];
        l->skip[i] = true;
        v = clamp->out[0];
        i = lmb_sole_reader(l->g, v);
    }
    if (i < 0 || !is(&l->g->node[i], "FakeQuant") || value(l, l->g->node[i].in[1])->role != LMB_ROLE_CONSTANT)
        return refuse(l, n, "no FakeQuant with a frozen scale follows; quantise and freeze the student first");
    *q = quant_of(l, &l->g->node[i]);
    l->skip[i] = true;
    *end = l->g->node[i].out[0];
    if (clamp && is(clamp, "Relu"))
        q->lo = q->zero_point;
    if (clamp && is(clamp, "Clip")) {
        float lo = clamp->n_in > 1 && clamp->in[1] != LMB_NONE ? number(l, clamp->in[1]) : -INFINITY;
        float hi = clamp->n_in > 2 && clamp->in[2] != LMB_NONE ? number(l, clamp->in[2]) : INFINITY;
        float a = rintf(lo / q->scale) + (float)q->zero_point, b = rintf(hi / q->scale) + (float)q->zero_point;
        q->lo = a > 0 ? (int)fminf(a, 255) : 0;
        q->hi = b < 255 ? (int)fmaxf(b, 0) : 255;
    }
    return LMB_OK;
}

static int tensor_of(const lowering *l, lmb_vid v) { return l->tensor[v]; }

/* s8 weights, their scales and s32 biases of a Conv or Gemm; freed by the caller. */
typedef struct integers { int8_t *w; float *scale; int32_t *bias; } integers;

static void drop(integers *q)
{
    free(q->w);
    free(q->scale);
    free(q->bias);
}

static lmb_status quantise_weights(lowering *l, const lmb_node *n, integers *q)
{
    const lmb_node *fake = maker(l, n->in[1]);
    lmb_edge_tensor x;

    if (!fake || !is(fake, "FakeQuant") || !value(l, fake->in[0])->data)
        return refuse(l, n, "its weights have no FakeQuant");
    const lmb_value *w = value(l, fake->in[0]);
    int64_t k = w->shape.d[0], each = lmb_shape_count(&w->shape) / (k ? k : 1);
    const float *b = n->n_in > 2 && n->in[2] != LMB_NONE ? value(l, n->in[2])->data : NULL;
    *q = (integers){ malloc((size_t)(k * each) + 1), malloc(sizeof(float) * (size_t)(k + 1)), malloc(sizeof(int32_t) * (size_t)(k + 1)) };
    if (!q->w || !q->scale || !q->bias || lmb_edge_write_tensor(l->w, tensor_of(l, n->in[0]), &x) != LMB_EDGE_OK) {
        drop(q);
        return LMB_FAIL(l->err, LMB_E_NOMEM, "no memory to lower %s", n->name);
    }
    for (int64_t c = 0; c < k; c++) {
        const float *row = (const float *)w->data + c * each;
        float most = 0;
        for (int64_t i = 0; i < each; i++)
            most = fmaxf(most, fabsf(row[i]));
        float s = most > 1e-12f ? most / 127.0f : 1.0f; /* as WeightScale */
        q->scale[c] = s;
        for (int64_t i = 0; i < each; i++)
            q->w[c * each + i] = (int8_t)fminf(fmaxf(rintf(row[i] / s), -127), 127);
        double v = b ? rint((double)b[c] / ((double)x.scale * s)) : 0;
        if (fabs(v) > 1073741824.0) {
            drop(q);
            return refuse(l, n, "a bias is too large for its scale; train with weight decay or prune the dead channel");
        }
        q->bias[c] = (int32_t)v;
    }
    return LMB_OK;
}

static lmb_status lower_conv(lowering *l, const lmb_node *n)
{
    lmb_shape x = value(l, n->in[0])->shape, w = value(l, n->in[1])->shape;
    lmb_edge_quant y;
    lmb_vid end;
    integers q;
    lmb_conv v;

    if (x.n != 4)
        return refuse(l, n, "only 2-D convolutions run on devices");
    LMB_TRY(lmb_conv_of(n->attr, &x, &w, &v, l->err));
    LMB_TRY(quant_after(l, n, &y, &end));
    LMB_TRY(quantise_weights(l, n, &q));
    lmb_edge_conv op = { .x = tensor_of(l, n->in[0]), .y = y, .channels = (uint32_t)v.k, .groups = (uint32_t)v.group,
                         .kernel = { (uint16_t)v.kh, (uint16_t)v.kw }, .stride = { (uint16_t)v.sh, (uint16_t)v.sw },
                         .dilation = { (uint16_t)v.dh, (uint16_t)v.dw },
                         .pads = { (uint16_t)v.ph, (uint16_t)v.pw, (uint16_t)v.ph2, (uint16_t)v.pw2 },
                         .weights = q.w, .weight_scales = q.scale, .bias = q.bias, .name = value(l, end)->name };
    l->tensor[end] = lmb_edge_write_conv(l->w, &op);
    drop(&q);
    return LMB_OK;
}

static lmb_status lower_gemm(lowering *l, const lmb_node *n)
{
    const lmb_gemm_attr *a = n->attr;
    lmb_edge_quant y;
    lmb_vid end;
    integers q;

    if (a->alpha != 1 || a->beta != 1 || a->transA || !a->transB)
        return refuse(l, n, "only x W' + b has an integer form");
    LMB_TRY(quant_after(l, n, &y, &end));
    LMB_TRY(quantise_weights(l, n, &q));
    lmb_edge_gemm op = { .x = tensor_of(l, n->in[0]), .y = y, .channels = (uint32_t)value(l, n->in[1])->shape.d[0], .weights = q.w,
                         .weight_scales = q.scale, .bias = q.bias, .name = value(l, end)->name };
    l->tensor[end] = lmb_edge_write_gemm(l->w, &op);
    drop(&q);
    return LMB_OK;
}

static lmb_status lower_pool(lowering *l, const lmb_node *n)
{
    lmb_pooling p;
    LMB_TRY(lmb_pooling_of(n->attr, &value(l, n->in[0])->shape, &p, l->err));
    const uint16_t kernel[2] = { (uint16_t)p.kernel[1], (uint16_t)p.kernel[2] }, stride[2] = { (uint16_t)p.stride[1], (uint16_t)p.stride[2] };
    const uint16_t dilation[2] = { (uint16_t)p.dilation[1], (uint16_t)p.dilation[2] };
    const uint16_t pads[4] = { (uint16_t)p.before[1], (uint16_t)p.before[2], (uint16_t)p.after[1], (uint16_t)p.after[2] };
    if (((const lmb_pool_attr *)n->attr)->ceil_mode)
        return refuse(l, n, "ceil_mode has no integer form here");
    l->tensor[n->out[0]] = lmb_edge_write_max_pool(l->w, tensor_of(l, n->in[0]), kernel, stride, dilation, pads, 0, 255,
                                                   value(l, n->out[0])->name);
    return LMB_OK;
}

/* Sub mean, Mul scale behind the input: written as the input's own quantisation once both are known. */
static lmb_status lower_prefix(lowering *l, const lmb_node *n)
{
    const lmb_value *c = value(l, n->in[1]);
    if (c->role != LMB_ROLE_CONSTANT || lmb_shape_count(&c->shape) != 1)
        return refuse(l, n, "only one scalar mean and scale fold into a quantised input");
    if (is(n, "Sub")) {
        l->mean = *(const float *)c->data;
        return LMB_OK;
    }
    const lmb_shape *s = &value(l, n->out[0])->shape;
    lmb_edge_quant q = { *(const float *)c->data, (int)l->mean, 0, 255 };
    if (s->n != 4 || q.zero_point != l->mean || l->mean < 0 || l->mean > 255)
        return refuse(l, n, "the mean must be a whole number in 0 .. 255 and the input an image, so that raw bytes are exact");
    l->tensor[n->out[0]] = lmb_edge_write_input(l->w, (uint32_t)s->d[2], (uint32_t)s->d[3], (uint32_t)s->d[1], LMB_EDGE_CHW, q, "x");
    return LMB_OK;
}

static lmb_status lower_node(lowering *l, const lmb_node *n)
{
    lmb_edge_quant y;
    lmb_vid end;

    if (is(n, "WeightScale") || (is(n, "FakeQuant") && tensor_of(l, n->in[0]) < 0))
        return LMB_OK; /* weights: read by their Conv or Gemm */
    if (is(n, "Sub") || is(n, "Mul"))
        return lower_prefix(l, n);
    if (is(n, "Flatten") || is(n, "Reshape") || is(n, "Identity") || is(n, "Dropout")) {
        l->tensor[n->out[0]] = tensor_of(l, n->in[0]);
        return LMB_OK;
    }
    for (int k = 0; k < (is(n, "Add") ? 2 : 1); k++)
        if (tensor_of(l, n->in[k]) < 0)
            return refuse(l, n, "it reads a value that is not quantised");
    if (is(n, "Conv"))
        return lower_conv(l, n);
    if (is(n, "Gemm"))
        return lower_gemm(l, n);
    if (is(n, "MaxPool"))
        return lower_pool(l, n);
    if (!is(n, "Add") && !is(n, "GlobalAveragePool"))
        return refuse(l, n, "there is no integer operator for it");
    LMB_TRY(quant_after(l, n, &y, &end));
    l->tensor[end] = is(n, "Add") ? lmb_edge_write_add(l->w, tensor_of(l, n->in[0]), tensor_of(l, n->in[1]), y, value(l, end)->name)
                                  : lmb_edge_write_global_average(l->w, tensor_of(l, n->in[0]), y, value(l, end)->name);
    return LMB_OK;
}

static lmb_status lower_all(lowering *l, lmb_str *out)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    char why[200] = "";

    for (int i = 0; i < l->g->n_nodes; i++)
        if (!l->skip[i])
            LMB_TRY(lower_node(l, &l->g->node[i]));
    int logits = tensor_of(l, l->g->output[0].value);
    if (logits < 0)
        return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "the logits are not quantised");
    lmb_edge_write_dequantise(l->w, logits, "logits");
    lmb_edge_write_output_layout(l->w, LMB_EDGE_CHW);
    lmb_edge_write_meta(l->w, "producer", "limbeck");
    if (lmb_edge_write_finish(l->w, 0, &file, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "lowering: %s", why);
    lmb_str_add_n(out, file.data, file.size);
    free(file.data);
    return lmb_str_check(out, l->err);
}

lmb_status lmb_lower(const lmb_graph *g, lmb_str *out, lmb_error *err)
{
    lowering l = { .g = g, .w = lmb_edge_writer_create(), .tensor = malloc(sizeof(int) * (size_t)(g->n_values + 1)),
                   .skip = calloc((size_t)g->n_nodes + 1, sizeof(bool)), .err = err };
    lmb_status st = LMB_OK;

    for (int v = 0; l.tensor && v < g->n_values; v++)
        l.tensor[v] = -1;
    st = l.w && l.tensor && l.skip ? lower_all(&l, out) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to lower a graph");
    lmb_edge_writer_destroy(l.w);
    free(l.tensor);
    free(l.skip);
    return st;
}
