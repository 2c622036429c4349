/* distill/quantize/lower.c - QDQ graph -> .lmb. See lower.h. */
#include "distill/quantize/lower.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/edge/write.h"
#include "core/graph/op.h"
#include "core/ops/attrs.h"
#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/ops/pool.h"
#include "core/passes/fold.h"
#include "distill/quantize/bias_form.h"

typedef struct lowering {
    const lmb_graph *g;
    lmb_edge_writer *w;
    int *tensor; /* [values] number in the .lmb of integers, or of reals that stand for them; -1: not there */
    bool *skip;  /* [nodes] done by an earlier node                                                        */
    lmb_error *err;
} lowering;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }
static const lmb_value *value(const lowering *l, lmb_vid v) { return &l->g->value[v]; }
static const lmb_node *maker(const lowering *l, lmb_vid v)
{
    return v == LMB_NONE || value(l, v)->node == LMB_NONE ? NULL : &l->g->node[value(l, v)->node];
}

static lmb_status refuse(const lowering *l, const lmb_node *n, const char *why)
{
    return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "node %s (%s): %s", n->name, n->op->name, why);
}

/* ---- what Q and DQ nodes say ---- */

/* Scale and zero point of an activation's QuantizeLinear or DequantizeLinear: scalars; u8, or s8, which is the same
 * less 128. */
static lmb_status quant_of(const lowering *l, const lmb_node *n, lmb_edge_quant *q)
{
    const lmb_value *s = value(l, n->in[1]), *z = n->n_in > 2 && n->in[2] != LMB_NONE ? value(l, n->in[2]) : NULL;

    if (!s->data || lmb_shape_count(&s->shape) != 1 || s->dtype != LMB_F32 ||
        (z && (!z->data || (z->dtype != LMB_U8 && z->dtype != LMB_S8))))
        return refuse(l, n, "activations need one constant scale and a u8 or s8 zero point");
    int zero = !z ? 0 : z->dtype == LMB_U8 ? *(const uint8_t *)z->data : *(const int8_t *)z->data + 128;
    *q = (lmb_edge_quant){ *(const float *)s->data, zero, 0, 255 };
    if (!(q->scale > 0) || !isfinite(q->scale))
        return refuse(l, n, "its scale must be a positive number");
    return LMB_OK;
}

static bool same(const lmb_edge_quant *a, const lmb_edge_quant *b)
{
    return a->scale == b->scale && a->zero_point == b->zero_point;
}

/* A Relu or Clip narrows the clamp. */
static lmb_status narrow(const lowering *l, const lmb_node *clamp, lmb_edge_quant *q)
{
    const lmb_value *bound[2] = { NULL, NULL };

    if (is(clamp, "Relu")) {
        q->lo = q->zero_point > q->lo ? q->zero_point : q->lo;
        return LMB_OK;
    }
    for (int k = 0; k < 2; k++)
        if (clamp->n_in > 1 + k && clamp->in[1 + k] != LMB_NONE)
            bound[k] = value(l, clamp->in[1 + k]);
    if ((bound[0] && !bound[0]->data) || (bound[1] && !bound[1]->data))
        return refuse(l, clamp, "its bounds must be constants");
    float lo = bound[0] ? *(const float *)bound[0]->data : -INFINITY,
          hi = bound[1] ? *(const float *)bound[1]->data : INFINITY;
    float a = rintf(lo / q->scale) + (float)q->zero_point, b = rintf(hi / q->scale) + (float)q->zero_point;
    if (!(a <= b)) /* also a NaN of a file from elsewhere */
        return refuse(l, clamp, "its lower bound must not be above its upper one");
    q->lo = a > (float)q->lo ? (int)fminf(a, 255) : q->lo;
    q->hi = b < (float)q->hi ? (int)fmaxf(b, 0) : q->hi;
    return LMB_OK;
}

/* Follow n through Relu and Clip to its QuantizeLinear: its scale, the clamp, and the integers. */
static lmb_status first_after(lowering *l, const lmb_node *n, lmb_edge_quant *q, lmb_vid *end)
{
    const lmb_node *clamp[4];
    int i = lmb_sole_reader(l->g, n->out[0]), k = 0;

    for (; i >= 0 && k < 4 && (is(&l->g->node[i], "Relu") || is(&l->g->node[i], "Clip"));
         i = lmb_sole_reader(l->g, clamp[k++]->out[0])) {
        clamp[k] = &l->g->node[i];
        l->skip[i] = true;
    }
    if (i < 0 || !is(&l->g->node[i], "QuantizeLinear"))
        return refuse(l, n, "no QuantizeLinear follows; quantise the student first");
    LMB_TRY(quant_of(l, &l->g->node[i], q));
    l->skip[i] = true;
    *end = l->g->node[i].out[0];
    while (k-- > 0)
        LMB_TRY(narrow(l, clamp[k], q));
    return q->lo <= q->hi ? LMB_OK : refuse(l, n, "the clamps behind it leave nothing");
}

/* The DequantizeLinear through which nothing but a clamp reads the integers v; -1: others do, or nobody. */
static int clamp_behind(const lowering *l, lmb_vid v)
{
    int dq = lmb_sole_reader(l->g, v);
    int i = dq >= 0 && is(&l->g->node[dq], "DequantizeLinear") ? lmb_sole_reader(l->g, l->g->node[dq].out[0]) : -1;
    return i >= 0 && (is(&l->g->node[i], "Relu") || is(&l->g->node[i], "Clip")) ? dq : -1;
}

/* The same, and through a clamp that stands between two pairs (clamp_pair.h): what saturates first and is clamped then
 * was clamped at once. */
static lmb_status quant_after(lowering *l, const lmb_node *n, lmb_edge_quant *q, lmb_vid *end)
{
    LMB_TRY(first_after(l, n, q, end));
    for (int dq; (dq = clamp_behind(l, *end)) >= 0;) {
        lmb_edge_quant x, y;
        LMB_TRY(quant_of(l, &l->g->node[dq], &x));
        LMB_TRY(first_after(l, &l->g->node[dq], &y, end));
        l->skip[dq] = true;
        if (!same(q, &x) || !same(q, &y))
            return refuse(l, &l->g->node[dq], "the clamp behind it must leave its scale and zero point as they are");
        q->lo = q->lo > y.lo ? q->lo : y.lo;
        q->hi = q->hi < y.hi ? q->hi : y.hi;
    }
    return q->lo <= q->hi ? LMB_OK : refuse(l, n, "the clamps behind it leave nothing");
}

/* Weights and biases of a Conv or Gemm as they stand in the graph. */
typedef struct integers { const int8_t *w; const float *scale; const int32_t *bias; } integers;

static lmb_status constants_of(const lowering *l, const lmb_node *n, integers *q)
{
    const lmb_node *w = maker(l, n->in[1]), *b = n->n_in > 2 ? maker(l, n->in[2]) : NULL;
    lmb_edge_tensor x;

    if (!w || !is(w, "DequantizeLinear") || !value(l, w->in[0])->data || value(l, w->in[0])->dtype != LMB_S8 ||
        !value(l, w->in[1])->data)
        return refuse(l, n, "its weights must be constant s8 behind a DequantizeLinear");
    const lmb_shape *shape = &value(l, w->in[0])->shape;
    int64_t k = shape->d[0], axis = ((const lmb_axis_attr *)w->attr)->axis;
    if (lmb_shape_count(&value(l, w->in[1])->shape) != k || (k > 1 && axis != 0 && axis != -shape->n))
        return refuse(l, w, "one scale for each output channel is needed");
    const int8_t *zero = w->n_in > 2 && w->in[2] != LMB_NONE ? value(l, w->in[2])->data : NULL;
    for (int64_t c = 0; c < k && zero; c++)
        if (zero[c])
            return refuse(l, w, "zero points of weights must be 0");
    *q = (integers){ value(l, w->in[0])->data, value(l, w->in[1])->data, NULL };
    if (n->n_in < 3 || n->in[2] == LMB_NONE)
        return LMB_OK;
    if (!b || !is(b, "DequantizeLinear") || !value(l, b->in[0])->data || value(l, b->in[0])->dtype != LMB_S32 ||
        !value(l, b->in[1])->data || lmb_shape_count(&value(l, b->in[0])->shape) != k ||
        lmb_shape_count(&value(l, b->in[1])->shape) != k)
        return refuse(l, n, "its bias must be constant, s32 behind a DequantizeLinear or f32, one for each output channel");
    if (lmb_edge_write_tensor(l->w, l->tensor[n->in[0]], &x) != LMB_EDGE_OK)
        return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "lowering: an earlier operator has no integer form");
    const float *s = value(l, b->in[1])->data;
    for (int64_t c = 0; c < k; c++)
        if (fabsf(s[c] - x.scale * q->scale[c]) > 1e-5f * fabsf(s[c]))
            return refuse(l, b, "scales of biases must be the input's scale times the weights'");
    q->bias = value(l, b->in[0])->data;
    return LMB_OK;
}

/* The fewest bits that hold all weights of a layer: what the file packs them in. */
static int bits_of(const int8_t *w, int64_t n)
{
    int lo = 0, hi = 0, bits = 2;

    for (int64_t i = 0; i < n; i++) {
        lo = w[i] < lo ? w[i] : lo;
        hi = w[i] > hi ? w[i] : hi;
    }
    while (bits < 8 && (lo < -(1 << (bits - 1)) || hi > (1 << (bits - 1)) - 1))
        bits++;
    return bits;
}

/* ---- operators ---- */

/* The file has 16 bits for each number of a window: kernel, stride, dilation, pads before and behind. */
static lmb_status check_window(const lowering *l, const lmb_node *n, const int64_t window[10])
{
    char why[120];

    for (int i = 0; i < 10; i++)
        if (window[i] < 0 || window[i] > UINT16_MAX) {
            snprintf(why, sizeof why, "a kernel, stride, dilation or padding of %lld; the integer form has 0 to %d",
                     (long long)window[i], UINT16_MAX);
            return refuse(l, n, why);
        }
    return LMB_OK;
}

/* Has tensor x of the file the shape that the graph says, as an image or as a list? */
static bool has_shape(const lmb_edge_tensor *x, const lmb_shape *y)
{
    return (y->n == 2 && y->d[1] == (int64_t)x->c * x->h * x->w) ||
           (y->n == 4 && y->d[1] == x->c && y->d[2] == x->h && y->d[3] == x->w);
}

/* Tensor t of the file is what n makes, at the end of what is done at once. */
static lmb_status made(lowering *l, const lmb_node *n, lmb_vid end, int t)
{
    lmb_edge_tensor x;

    l->tensor[end] = t;
    if (t < 0 || lmb_edge_write_tensor(l->w, t, &x) != LMB_EDGE_OK)
        return LMB_OK; /* the writer says why, at the end */
    return has_shape(&x, &value(l, n->out[0])->shape) ? LMB_OK
                                                      : refuse(l, n, "its integer form makes another shape of it");
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
    LMB_TRY(check_window(l, n, (const int64_t[]){ v.kh, v.kw, v.sh, v.sw, v.dh, v.dw, v.ph, v.pw, v.ph2, v.pw2 }));
    LMB_TRY(quant_after(l, n, &y, &end));
    LMB_TRY(constants_of(l, n, &q));
    lmb_edge_conv op = { .x = l->tensor[n->in[0]], .y = y, .channels = (uint32_t)v.k, .groups = (uint32_t)v.group,
                         .kernel = { (uint16_t)v.kh, (uint16_t)v.kw }, .stride = { (uint16_t)v.sh, (uint16_t)v.sw },
                         .dilation = { (uint16_t)v.dh, (uint16_t)v.dw },
                         .pads = { (uint16_t)v.ph, (uint16_t)v.pw, (uint16_t)v.ph2, (uint16_t)v.pw2 },
                         .weights = q.w, .weight_scales = q.scale, .bias = q.bias, .name = value(l, n->out[0])->name,
                         .bits = bits_of(q.w, lmb_shape_count(&w)) };
    return made(l, n, end, lmb_edge_write_conv(l->w, &op));
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
    LMB_TRY(constants_of(l, n, &q));
    lmb_edge_gemm op = { .x = l->tensor[n->in[0]],
                         .y = y,
                         .channels = (uint32_t)value(l, n->in[1])->shape.d[0],
                         .weights = q.w,
                         .weight_scales = q.scale,
                         .bias = q.bias,
                         .name = value(l, n->out[0])->name,
                         .bits = bits_of(q.w, lmb_shape_count(&value(l, n->in[1])->shape)) };
    return made(l, n, end, lmb_edge_write_gemm(l->w, &op));
}

/* Integers stay where they are, in rows of an image's channels: as one list they are what they were, as an image only
 * of the same channels, height and width. */
static lmb_status check_unmoved(const lowering *l, const lmb_node *n)
{
    lmb_edge_tensor x;

    if (lmb_edge_write_tensor(l->w, l->tensor[n->in[0]], &x) != LMB_EDGE_OK)
        return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "lowering: an earlier operator has no integer form");
    return has_shape(&x, &value(l, n->out[0])->shape)
               ? LMB_OK
               : refuse(l, n, "it makes another image of the numbers; only a list of them has an integer form");
}

/* MaxPool, Flatten, Reshape: the QuantizeLinear behind must have the scale of the DequantizeLinear before. */
static lmb_status lower_same(lowering *l, const lmb_node *n)
{
    const lmb_node *before = maker(l, n->in[0]);
    lmb_edge_quant x, y;
    lmb_vid end;
    lmb_pooling p;

    LMB_TRY(quant_after(l, n, &y, &end));
    if (!before || !is(before, "DequantizeLinear"))
        return refuse(l, n, "it reads a value that is not quantised");
    LMB_TRY(quant_of(l, before, &x));
    if (!same(&x, &y) || y.lo != 0 || y.hi != 255)
        return refuse(l, n, "scale and zero point must be the same on both sides");
    if (!is(n, "MaxPool")) {
        LMB_TRY(check_unmoved(l, n));
        l->tensor[end] = l->tensor[n->in[0]];
        return LMB_OK;
    }
    LMB_TRY(lmb_pooling_of(n->attr, &value(l, n->in[0])->shape, &p, l->err));
    LMB_TRY(check_window(l, n, (const int64_t[]){ p.kernel[1], p.kernel[2], p.stride[1], p.stride[2], p.dilation[1],
                                                  p.dilation[2], p.before[1], p.before[2], p.after[1], p.after[2] }));
    const uint16_t kernel[2] = { (uint16_t)p.kernel[1], (uint16_t)p.kernel[2] },
                   stride[2] = { (uint16_t)p.stride[1], (uint16_t)p.stride[2] };
    const uint16_t dilation[2] = { (uint16_t)p.dilation[1], (uint16_t)p.dilation[2] };
    const uint16_t pads[4] = { (uint16_t)p.before[1], (uint16_t)p.before[2], (uint16_t)p.after[1],
                               (uint16_t)p.after[2] };
    if (((const lmb_pool_attr *)n->attr)->ceil_mode)
        return refuse(l, n, "ceil_mode has no integer form here");
    return made(l, n, end, lmb_edge_write_max_pool(l->w, l->tensor[n->in[0]], kernel, stride, dilation, pads, 0, 255,
                                                   value(l, n->out[0])->name));
}

/* The 128 that is subtracted from the input in front of its QuantizeLinear, for runtimes without zero points; 0: none
 * is. */
static int shift_of_input(const lowering *l, const lmb_node *n)
{
    const lmb_node *sub = maker(l, n->in[0]);
    const lmb_value *c =
        sub && is(sub, "Sub") && value(l, sub->in[0])->role == LMB_ROLE_INPUT ? value(l, sub->in[1]) : NULL;
    return c && c->data && c->dtype == LMB_F32 && lmb_shape_count(&c->shape) == 1 && *(const float *)c->data == 128
               ? 128
               : 0;
}

/* QuantizeLinear of the model's input to raw bytes, and the one DequantizeLinear that says what they mean. */
static lmb_status lower_input(lowering *l, const lmb_node *n)
{
    const lmb_shape *s = &value(l, n->out[0])->shape;
    lmb_edge_quant bytes, q;
    int i = lmb_sole_reader(l->g, n->out[0]);

    LMB_TRY(quant_of(l, n, &bytes));
    if (bytes.scale != 1 || bytes.zero_point != shift_of_input(l, n) || s->n != 4)
        return refuse(l, n, "the input must be an image of raw bytes: scale 1, zero point 0");
    if (i < 0 || !is(&l->g->node[i], "DequantizeLinear"))
        return refuse(l, n, "one DequantizeLinear must follow");
    LMB_TRY(quant_of(l, &l->g->node[i], &q));
    l->tensor[n->out[0]] =
        lmb_edge_write_input(l->w, (uint32_t)s->d[2], (uint32_t)s->d[3], (uint32_t)s->d[1], LMB_EDGE_CHW, q, "x");
    return LMB_OK;
}

/* Of constants: read by their Conv or Gemm. Of the input: it says what the bytes mean. Else it must say what the
 * QuantizeLinear before it has said. */
static lmb_status lower_dequantise(lowering *l, const lmb_node *n)
{
    const lmb_node *before = maker(l, n->in[0]);
    lmb_edge_quant q, x;

    l->tensor[n->out[0]] = l->tensor[n->in[0]];
    if (!before || !is(before, "QuantizeLinear") || value(l, before->in[0])->role == LMB_ROLE_INPUT ||
        shift_of_input(l, before))
        return LMB_OK;
    LMB_TRY(quant_of(l, before, &q));
    LMB_TRY(quant_of(l, n, &x));
    return same(&q, &x) ? LMB_OK : refuse(l, n, "its scale and zero point must be those of the QuantizeLinear before");
}

static lmb_status lower_node(lowering *l, const lmb_node *n)
{
    lmb_edge_quant y;
    lmb_vid end;

    if (is(n, "QuantizeLinear") && (value(l, n->in[0])->role == LMB_ROLE_INPUT || shift_of_input(l, n)))
        return lower_input(l, n);
    if (is(n, "Sub")) { /* its QuantizeLinear reads it as part of the input */
        int reader = lmb_sole_reader(l->g, n->out[0]);
        if (reader >= 0 && is(&l->g->node[reader], "QuantizeLinear") && shift_of_input(l, &l->g->node[reader]))
            return LMB_OK;
    }
    if (is(n, "DequantizeLinear"))
        return lower_dequantise(l, n);
    for (int k = 0; k < (is(n, "Add") ? 2 : 1); k++)
        if (l->tensor[n->in[k]] < 0)
            return refuse(l, n, "it reads a value that is not quantised");
    if (is(n, "Conv"))
        return lower_conv(l, n);
    if (is(n, "Gemm"))
        return lower_gemm(l, n);
    if (is(n, "MaxPool") || is(n, "Flatten") || is(n, "Reshape"))
        return lower_same(l, n);
    if (!is(n, "Add") && !is(n, "GlobalAveragePool"))
        return refuse(l, n, "there is no integer operator for it");
    LMB_TRY(quant_after(l, n, &y, &end));
    return made(l, n, end, is(n, "Add") ? lmb_edge_write_add(l->w, l->tensor[n->in[0]], l->tensor[n->in[1]], y,
                                                             value(l, n->out[0])->name)
                                        : lmb_edge_write_global_average(l->w, l->tensor[n->in[0]], y,
                                                                        value(l, n->out[0])->name));
}

static lmb_status lower_all(lowering *l, lmb_str *out)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    char why[200] = "";

    for (int i = 0; i < l->g->n_nodes; i++)
        if (!l->skip[i])
            LMB_TRY(lower_node(l, &l->g->node[i]));
    int logits = l->g->n_outputs ? l->tensor[l->g->output[0].value] : -1;
    if (logits < 0)
        return LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "the logits are not quantised");
    lmb_edge_write_dequantise(l->w, logits, "logits");
    lmb_edge_write_output_layout(l->w, LMB_EDGE_CHW);
    lmb_edge_write_meta(l->w, "producer", "limbeck");
    lmb_edge_status s = lmb_edge_write_finish(l->w, 0, &file, why, sizeof why);
    if (s == LMB_EDGE_OK)
        lmb_str_add_n(out, file.data, file.size);
    free(file.data);
    return s == LMB_EDGE_OK ? lmb_str_check(out, l->err) : LMB_FAIL(l->err, LMB_E_UNSUPPORTED, "lowering: %s", why);
}

lmb_status lmb_lower(const lmb_graph *qdq, lmb_str *out, lmb_error *err)
{
    lmb_graph *whole;
    LMB_TRY(lmb_pass_integer_bias(qdq, &whole, err)); /* f32 biases, as other runtimes want them */
    const lmb_graph *g = whole ? whole : qdq;
    lowering l = { .g = g, .w = lmb_edge_writer_create(), .tensor = malloc(sizeof(int) * (size_t)(g->n_values + 1)),
                   .skip = calloc((size_t)g->n_nodes + 1, sizeof(bool)), .err = err };
    lmb_status st = LMB_OK;

    for (int v = 0; l.tensor && v < g->n_values; v++)
        l.tensor[v] = -1;
    st = l.w && l.tensor && l.skip ? lower_all(&l, out) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to lower a graph");
    lmb_edge_writer_destroy(l.w);
    lmb_graph_destroy(whole);
    free(l.tensor);
    free(l.skip);
    return st;
}
