/* distill/quantize/qdq.c - see qdq.h. Each frozen node is shown with its inputs already dequantised; it is emitted as
 * it is, and where the old graph has a FakeQuant the new one has the pair. */
#include "distill/quantize/qdq.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/quantize.h"
#include "core/passes/rewrite.h"
#include "core/passes/fold.h"
#include "distill/quantize/clamp_pair.h"
#include "distill/quantize/steps.h"

typedef struct qdq {
    float mean;      /* of the input's normalisation: its Sub, seen before its Mul */
    lmb_vid *scale;  /* [old values] new constants of the integers a value is made of, LMB_NONE: floats */
    lmb_vid *zero;
} qdq;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }
static const lmb_node *maker(const lmb_graph *g, lmb_vid v)
{
    return g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];
}

static lmb_status refuse(const lmb_node *n, const char *why, lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s (%s): %s", n->name, n->op->name, why);
}

static lmb_vid constant(lmb_builder *b, const char *base, const char *ending, lmb_dtype type, const lmb_shape *shape,
                        const void *data)
{
    char name[220];
    snprintf(name, sizeof name, "%.180s%s", base, ending);
    return lmb_emit_value(b, LMB_ROLE_CONSTANT, name, type, *shape, data);
}

static lmb_vid dequantise(lmb_builder *b, const char *base, lmb_vid q, lmb_vid scale, lmb_vid zero, int64_t axis)
{
    char name[220];
    snprintf(name, sizeof name, "%.180s.dequantized", base);
    return lmb_emit(b, "DequantizeLinear", name, LMB_IN(q, scale, zero), LMB_ATTRS(LMB_AINT("axis", axis)));
}

/* The pair around x, and what its integers mean: for old value v. */
static lmb_vid pair(lmb_rewrite *r, const char *base, lmb_vid x, lmb_vid scale, lmb_vid zero, lmb_vid v)
{
    qdq *t = r->ctx;
    char name[220];
    snprintf(name, sizeof name, "%.180s.quantized", base);
    lmb_vid q = lmb_emit(&r->b, "QuantizeLinear", name, LMB_IN(x, scale, zero), LMB_NO_ATTRS);
    t->scale[v] = scale;
    t->zero[v] = zero;
    return dequantise(&r->b, base, q, scale, zero, 1);
}

/* ---- weights ---- */

typedef struct rows { int64_t k, each; int8_t *q; float *scale; int32_t *bias; float *bias_scale; int8_t *zeros; } rows;

static void drop(rows *w)
{
    free(w->q);
    free(w->scale);
    free(w->bias);
    free(w->bias_scale);
    free(w->zeros);
}

/* One scale an output channel: constants of learned steps, or what WeightScale says. */
static lmb_status weight_scales(const lmb_graph *g, const lmb_node *n, const lmb_node *fake, int64_t k, float *scale,
                                lmb_error *err)
{
    const lmb_value *s = &g->value[fake->in[1]];
    const lmb_node *made = maker(g, fake->in[1]);

    if (made && is(made, "WeightScale"))
        return lmbi_weight_scale(g, made, scale, err);
    if (s->role != LMB_ROLE_CONSTANT || !s->data || lmb_shape_count(&s->shape) != k)
        return refuse(n, "the steps of its weights still move; freeze the student first", err);
    memcpy(scale, s->data, sizeof *scale * (size_t)k);
    return LMB_OK;
}

static const double bias_top = 1 << 30; /* half of an s32, so that sums have room */

/* The scale of a row whose bias fits: of a channel that has all but died the weights' own would make it too large, and
 * beside such a bias it is no loss to round them more coarsely. By 2^n, so that powers of two stay what they are; but no
 * coarser than the layer's coarsest row, beyond which nothing has died and numbers have diverged. */
static float scale_for(float bias, float x_scale, float scale, float coarsest)
{
    double least = fabs((double)bias) / (bias_top * x_scale);
    return least <= coarsest && scale < least ? ldexpf(scale, (int)ceil(log2(least / scale))) : scale;
}

static lmb_status make_rows(const lmb_graph *g, const lmb_node *n, const lmb_node *fake, const float *bias,
                            float x_scale, rows *q, lmb_error *err)
{
    const lmb_value *w = &g->value[fake->in[0]];
    const lmb_fake_quant_attr *range = fake->attr;
    int64_t k = w->shape.d[0], each = lmb_shape_count(&w->shape) / (k ? k : 1);

    *q = (rows){ k,
                 each,
                 malloc((size_t)(k * each) + 1),
                 calloc((size_t)k + 1, sizeof(float)),
                 calloc((size_t)k + 1, sizeof(int32_t)),
                 calloc((size_t)k + 1, sizeof(float)),
                 calloc((size_t)k + 1, 1) };
    if (!q->q || !q->scale || !q->bias || !q->bias_scale || !q->zeros)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the integers of %s", n->name);
    if (range->lo < -128 || range->hi > 127)
        return refuse(n, "its weights are no s8", err);
    LMB_TRY(weight_scales(g, n, fake, k, q->scale, err));
    float coarsest = 0;
    for (int64_t c = 0; c < k; c++)
        coarsest = fmaxf(coarsest, q->scale[c]);
    for (int64_t c = 0; c < k; c++) {
        const float *row = (const float *)w->data + c * each;
        float s = q->scale[c] = scale_for(bias ? bias[c] : 0, x_scale, q->scale[c], coarsest);
        q->bias_scale[c] = x_scale * s;
        for (int64_t i = 0; i < each; i++)
            q->q[c * each + i] = (int8_t)fminf(fmaxf(rintf(row[i] / s), (float)range->lo), (float)range->hi);
        double v = bias ? rint((double)bias[c] / ((double)x_scale * s)) : 0;
        if (!(fabs(v) <= bias_top + 1024))
            return refuse(n, "a bias is too large for the scales of its layer, or no number; train with a lower rate", err);
        q->bias[c] = (int32_t)v;
    }
    return LMB_OK;
}

/* Conv or Gemm with integer constants. */
static lmb_status weighted(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    const qdq *t = r->ctx;
    const lmb_graph *g = r->old;
    const lmb_node *fake = maker(g, n->in[1]);
    lmb_builder *b = &r->b;
    rows q = { 0 };

    if (!fake || !is(fake, "FakeQuant") || !g->value[fake->in[0]].data)
        return refuse(n, "its weights have no FakeQuant; quantise the student first", err);
    if (t->scale[n->in[0]] == LMB_NONE)
        return refuse(n, "it reads a value that is not quantised", err);
    const lmb_value *w = &g->value[fake->in[0]];
    const float *bias = n->n_in > 2 && n->in[2] != LMB_NONE ? g->value[n->in[2]].data : NULL;
    if (n->n_in > 2 && n->in[2] != LMB_NONE && !bias)
        return refuse(n, "its bias is computed, not stored", err);
    if (bias && lmb_shape_count(&g->value[n->in[2]].shape) != w->shape.d[0])
        return refuse(n, "its bias is not one number for each output channel", err);
    lmb_status st = make_rows(g, n, fake, bias, *(const float *)b->g->value[t->scale[n->in[0]]].data, &q, err);
    if (st == LMB_OK) {
        const lmb_shape k = { 1, { q.k } };
        lmb_vid operand[LMB_MAX_IN] = { in[0] };
        lmb_vid weights = constant(b, n->name, ".weight_q", LMB_S8, &w->shape, q.q),
                zeros = constant(b, n->name, ".weight_zero", LMB_S8, &k, q.zeros);
        operand[1] =
            dequantise(b, w->name, weights, constant(b, n->name, ".weight_scale", LMB_F32, &k, q.scale), zeros, 0);
        lmb_vid biases = constant(b, n->name, ".bias_q", LMB_S32, &k, q.bias),
                scale = constant(b, n->name, ".bias_scale", LMB_F32, &k, q.bias_scale);
        char name[220];
        snprintf(name, sizeof name, "%.180s.bias.dequantized", n->name);
        operand[2] = lmb_emit(b, "DequantizeLinear", name, LMB_IN(biases, scale), LMB_ATTRS(LMB_AINT("axis", 0)));
        st = lmb_builder_status(b);
        if (st == LMB_OK) {
            lmb_node three = *n;
            three.n_in = 3;
            st = lmb_graph_node_like(b->g, &three, operand, out, err);
        }
    }
    drop(&q);
    return st;
}

/* ---- activations ---- */

/* What saturation of the bytes does not do already: the bounds of a Clip before, and a range of fewer than 8 bits. */
static lmb_vid clamp(lmb_rewrite *r, const lmb_node *n, const lmb_node *before, lmb_vid x, float s, int zp)
{
    const lmb_graph *g = r->old;
    const lmb_fake_quant_attr *range = n->attr;
    float lo = (float)(range->lo - zp) * s, hi = (float)(range->hi - zp) * s;

    if (before && is(before, "Clip")) {
        if (before->n_in > 1 && before->in[1] != LMB_NONE)
            lo = fmaxf(lo, *(const float *)g->value[before->in[1]].data);
        if (before->n_in > 2 && before->in[2] != LMB_NONE)
            hi = fminf(hi, *(const float *)g->value[before->in[2]].data);
        lo = fminf(lo, hi); /* of a range that was taken where nothing was clipped */
    }
    if (rintf(lo / s) + (float)zp <= 0 && rintf(hi / s) + (float)zp >= 255)
        return x;
    return lmb_emit(&r->b, "Clip", NULL, LMB_IN(x, lmb_emit_scalar(&r->b, lo), lmb_emit_scalar(&r->b, hi)),
                    LMB_NO_ATTRS);
}

/* Integers read with another scale: a depthwise 1x1 convolution by 1 has them, for no runtime requantises otherwise
 * without a float in between. */
static lmb_vid requantise(lmb_rewrite *r, const lmb_node *n, lmb_vid x, lmb_error *err)
{
    int64_t c = r->old->value[n->in[0]].shape.d[1];
    const lmb_shape k = { 1, { c } }, shape = { 4, { c, 1, 1, 1 } };
    float *ones = malloc(sizeof *ones * (size_t)(c + 1));
    int8_t *q = malloc((size_t)c + 1), *zeros = calloc((size_t)c + 1, 1);
    lmb_vid y = LMB_NONE;

    for (int64_t i = 0; ones && q && i < c; i++)
        ones[i] = q[i] = 1;
    if (!ones || !q || !zeros)
        r->b.status = LMB_FAIL(err, LMB_E_NOMEM, "no memory for the integers of %s", n->name);
    else
        y = lmb_emit(&r->b, "Conv", n->name,
                     LMB_IN(x, dequantise(&r->b, n->name, constant(&r->b, n->name, ".one_q", LMB_S8, &shape, q),
                                          constant(&r->b, n->name, ".one_scale", LMB_F32, &k, ones),
                                          constant(&r->b, n->name, ".one_zero", LMB_S8, &k, zeros), 0)),
                     LMB_ATTRS(LMB_AINT("group", c)));
    free(ones);
    free(q);
    free(zeros);
    return y;
}

/* A frozen FakeQuant of an activation: the pair. */
static lmb_status activation(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    const lmb_graph *g = r->old;
    const lmb_node *before = maker(g, n->in[0]);

    if (n->n_in < 3 || g->value[n->in[1]].role != LMB_ROLE_CONSTANT || g->value[n->in[2]].role != LMB_ROLE_CONSTANT)
        return refuse(n, "its range still moves; freeze the student first", err);
    float s = *(const float *)g->value[n->in[1]].data;
    int zp = (int)*(const float *)g->value[n->in[2]].data;
    uint8_t z = (uint8_t)zp;
    if (before && is(before, "Relu") && zp != 0 &&
        zp != (((const lmb_fake_quant_attr *)n->attr)->hi + 1) / 2) /* symmetric */
        return refuse(
            n, "its range begins below zero although a Relu comes before it; train or calibrate the observer longer",
            err);
    const lmb_shape scalar = { 0 };
    lmb_vid zero = constant(&r->b, n->name, ".zero", LMB_U8, &scalar, &z),
            scale = constant(&r->b, n->name, ".scale", LMB_F32, &scalar, &s);
    bool again = ((const qdq *)r->ctx)->scale[n->in[0]] != LMB_NONE; /* integers already, with a scale of their own */
    lmb_vid x = again ? requantise(r, n, in[0], err) : in[0];
    out[0] = pair(r, before && !again ? before->name : n->name, clamp(r, n, before, x, s, zp), scale, zero, n->out[0]);
    return lmb_builder_status(&r->b);
}

/* Sub mean, Mul scale behind the input: bytes, and what they mean. */
static lmb_status prefix(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    qdq *t = r->ctx;
    const lmb_graph *g = r->old;
    const lmb_value *c = &g->value[n->in[1]];

    if (c->role != LMB_ROLE_CONSTANT || lmb_shape_count(&c->shape) != 1)
        return refuse(n, "only one scalar mean and scale fold into a quantised input", err);
    const lmb_node *before = maker(g, n->in[0]);
    if (before && (!is(n, "Mul") || !is(before, "Sub") || maker(g, before->in[0])))
        return refuse(n, "only one Sub and then one Mul behind the input become its zero point and scale", err);
    if (is(n, "Sub")) {
        t->mean = *(const float *)c->data;
        out[0] = in[0];
        return LMB_OK;
    }
    float one = 1, s = *(const float *)c->data;
    uint8_t none = 0, z = (uint8_t)t->mean;
    if (g->value[n->out[0]].shape.n != 4 || (float)z != t->mean || !(s > 0))
        return refuse(
            n, "the mean must be a whole number in 0 .. 255 and the input an image, so that raw bytes are exact", err);
    const lmb_shape scalar = { 0 };
    lmb_builder *b = &r->b;
    lmb_vid bytes = lmb_emit(b, "QuantizeLinear", "input.quantized",
                             LMB_IN(in[0], constant(b, "input", ".byte_scale", LMB_F32, &scalar, &one),
                                    constant(b, "input", ".byte_zero", LMB_U8, &scalar, &none)),
                             LMB_NO_ATTRS);
    t->scale[n->out[0]] = constant(b, "input", ".scale", LMB_F32, &scalar, &s);
    t->zero[n->out[0]] = constant(b, "input", ".zero", LMB_U8, &scalar, &z);
    out[0] = dequantise(b, "input", bytes, t->scale[n->out[0]], t->zero[n->out[0]], 1);
    return lmb_builder_status(b);
}

/* Keeps scale and zero point: the integers of its output are some of its input. */
static lmb_status same_integers(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    const qdq *t = r->ctx;
    lmb_vid made[LMB_MAX_OUT];

    if (t->scale[n->in[0]] == LMB_NONE)
        return refuse(n, "it reads a value that is not quantised", err);
    LMB_TRY(lmb_graph_node_like(r->b.g, n, in, made, err));
    out[0] = pair(r, n->name, made[0], t->scale[n->in[0]], t->zero[n->in[0]], n->out[0]);
    return lmb_builder_status(&r->b);
}

static lmb_status node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err)
{
    qdq *t = r->ctx;

    *done = true;
    if (is(n, "WeightScale") || (is(n, "FakeQuant") && t->scale[n->in[0]] == LMB_NONE && !maker(r->old, n->in[0]))) {
        out[0] = LMB_NONE; /* weights: their Conv or Gemm makes integers of them */
        return LMB_OK;
    }
    if (is(n, "FakeQuant"))
        return activation(r, n, in, out, err);
    if (is(n, "Sub") || is(n, "Mul"))
        return prefix(r, n, in, out, err);
    if (is(n, "Clip")) { /* gone: where saturation does not do it, clamp() says it again */
        out[0] = in[0];
        return LMB_OK;
    }
    if (is(n, "Identity") || is(n, "Dropout")) {
        out[0] = in[0];
        t->scale[n->out[0]] = t->scale[n->in[0]];
        t->zero[n->out[0]] = t->zero[n->in[0]];
        return LMB_OK;
    }
    if (is(n, "Conv") || is(n, "Gemm"))
        return weighted(r, n, in, out, err);
    if (is(n, "MaxPool") || is(n, "Flatten") || is(n, "Reshape"))
        return same_integers(r, n, in, out, err);
    if (is(n, "Add") || is(n, "GlobalAveragePool")) {
        for (int k = 0; k < n->n_in; k++)
            if (t->scale[n->in[k]] == LMB_NONE)
                return refuse(n, "it reads a value that is not quantised", err);
    } else if (!is(n, "Relu")) {
        return refuse(n, "there is no integer operator for it", err);
    }
    *done = false;
    return LMB_OK;
}

/* Float weights stay behind. */
static lmb_status value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    *done = lmb_role_is_state(r->old->value[v].role);
    *out = LMB_NONE;
    return LMB_OK;
}

/* The pass, then without the constants that nobody reads now, then with pairs around clamps. */
static lmb_status run_thrice(qdq *t, const lmb_graph *frozen, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite first = { .node = node, .value = value, .ctx = t, .drop_dead = true }, second = { .drop_dead = true };
    lmb_graph *g = NULL, *small = NULL;

    LMB_TRY(lmb_rewrite_run(&first, frozen, &g, NULL, err));
    lmb_status st = t->scale[frozen->output[0].value] == LMB_NONE
                        ? LMB_FAIL(err, LMB_E_UNSUPPORTED, "the logits are not quantised")
                        : lmb_rewrite_run(&second, g, &small, NULL, err);
    if (st == LMB_OK)
        st = lmb_pass_clamp_pair(small, out, err);
    lmb_graph_destroy(small);
    lmb_graph_destroy(g);
    return st;
}

lmb_status lmb_pass_qdq(const lmb_graph *frozen, lmb_graph **out, lmb_error *err)
{
    qdq t = { .scale = malloc(sizeof(lmb_vid) * (size_t)(frozen->n_values + 1)),
              .zero = malloc(sizeof(lmb_vid) * (size_t)(frozen->n_values + 1)) };
    lmb_status st = LMB_OK;

    for (int v = 0; t.scale && t.zero && v < frozen->n_values; v++)
        t.scale[v] = t.zero[v] = LMB_NONE;
    if (!t.scale || !t.zero)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to write a graph in integers");
    if (st == LMB_OK)
        st = run_thrice(&t, frozen, out, err);
    free(t.scale);
    free(t.zero);
    return st;
}

bool lmb_is_qdq(const lmb_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (is(&g->node[i], "DequantizeLinear"))
            return true;
    return false;
}
