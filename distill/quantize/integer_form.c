/* distill/quantize/integer_form.c - see integer_form.h. */
#include "distill/quantize/integer_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/ops/pool.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "distill/quantize/clamp_form.h"
#include "distill/quantize/concat_form.h"
#include "distill/quantize/gemm_form.h"
#include "distill/quantize/input_form.h"
#include "distill/quantize/own_form.h"
#include "distill/quantize/softmax.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* An attribute by its name; NULL: the op has none. */
static const void *attr_of(const lmb_node *n, const char *name)
{
    for (const lmb_attr_row *r = n->op->attrs; r && r->name; r++)
        if (strcmp(r->name, name) == 0)
            return (const char *)n->attr + r->offset;
    return NULL;
}

/* ---- selecting convolutions ---- */

static bool ints_of(const lmb_graph *g, const lmb_node *n, int k, int64_t *out, int64_t cap, int64_t *count)
{
    const lmb_value *v = k < n->n_in && n->in[k] != LMB_NONE ? &g->value[n->in[k]] : NULL;

    if (!v || !v->data || (v->dtype != LMB_S64 && v->dtype != LMB_S32) || v->shape.n != 1 || v->shape.d[0] > cap)
        return false;
    *count = v->shape.d[0];
    for (int64_t i = 0; i < *count; i++)
        out[i] = v->dtype == LMB_S64 ? ((const int64_t *)v->data)[i] : ((const int32_t *)v->data)[i];
    return true;
}

/* Every s-th row and column of all channels, from the first on? */
static bool strides_of(const lmb_graph *g, const lmb_node *n, int64_t stride[2])
{
    int64_t start[4], axis[4] = { 0, 1, 2, 3 }, step[4] = { 1, 1, 1, 1 }, k, m;
    const lmb_shape *x = &g->value[n->in[0]].shape, *y = &g->value[n->out[0]].shape;

    stride[0] = stride[1] = 1;
    if (!is(n, "Slice") || x->n != 4 || !ints_of(g, n, 1, start, 4, &k) ||
        (n->n_in > 3 && (!ints_of(g, n, 3, axis, 4, &m) || m != k)) ||
        (n->n_in > 4 && (!ints_of(g, n, 4, step, 4, &m) || m != k)))
        return false;
    for (int64_t i = 0; i < k; i++) {
        int64_t a = axis[i] < 0 ? axis[i] + 4 : axis[i];
        if (a < 0 || a > 3 || start[i] != 0 || step[i] < 1 || (a < 2 && step[i] != 1))
            return false;
        if (a >= 2)
            stride[a - 2] = step[i];
    }
    return y->d[0] == x->d[0] && y->d[1] == x->d[1] && y->d[2] == (x->d[2] - 1) / stride[0] + 1 &&
           y->d[3] == (x->d[3] - 1) / stride[1] + 1;
}

/* Zeros for so many channels in front and behind, and nothing else? */
static bool channel_pads(const lmb_graph *g, const lmb_node *n, int64_t pads[2])
{
    const char *const *mode = attr_of(n, "mode");
    int64_t list[8], k;

    if (!is(n, "Pad") || g->value[n->in[0]].shape.n != 4 || !mode || strcmp(*mode, "constant") != 0 ||
        !ints_of(g, n, 1, list, 8, &k) || k != 8)
        return false;
    if (n->n_in > 2 && n->in[2] != LMB_NONE &&
        (!g->value[n->in[2]].data || *(const float *)g->value[n->in[2]].data != 0))
        return false;
    for (int i = 0; i < 8; i++)
        if (i % 4 != 1 && list[i] != 0)
            return false;
    pads[0] = list[1];
    pads[1] = list[5];
    return pads[0] >= 0 && pads[1] >= 0;
}

static lmb_status emit_selection(lmb_rewrite *r, const lmb_node *n, lmb_vid x, int64_t channels,
                                 const int64_t stride[2], const int64_t pads[2], lmb_vid *out, lmb_error *err)
{
    int64_t k = channels + pads[0] + pads[1];
    float *w = calloc((size_t)(k * channels + 1), sizeof *w);
    char name[200];

    if (!w)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to rewrite %s", n->name);
    for (int64_t c = 0; c < channels; c++)
        w[(pads[0] + c) * channels + c] = 1;
    snprintf(name, sizeof name, "%.180s.weight", n->name);
    lmb_vid v = lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, name, LMB_F32, LMB_SHAPE(k, channels, 1, 1), w);
    free(w);
    out[0] = lmb_emit(&r->b, "Conv", n->name, LMB_IN(x, v),
                      LMB_ATTRS(LMB_AINTS("kernel_shape", 1, 1), LMB_AINTS("strides", stride[0], stride[1])));
    return lmb_builder_status(&r->b);
}

/* A Slice whose only reader is a Pad of channels is done with it. */
static bool sliced_for_pad(const lmb_graph *g, const lmb_node *slice)
{
    int64_t stride[2], pads[2];
    int reader = strides_of(g, slice, stride) ? lmb_sole_reader(g, slice->out[0]) : -1;
    return reader >= 0 && g->node[reader].in[0] == slice->out[0] && channel_pads(g, &g->node[reader], pads);
}

static lmb_status select_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                              lmb_error *err)
{
    const lmb_graph *g = r->old;
    int64_t stride[2] = { 1, 1 }, pads[2] = { 0, 0 },
            channels = g->value[n->in[0]].shape.n == 4 ? g->value[n->in[0]].shape.d[1] : 0;

    if (channel_pads(g, n, pads)) {
        const lmb_node *before = g->value[n->in[0]].node == LMB_NONE ? NULL : &g->node[g->value[n->in[0]].node];
        *done = true;
        if (before && sliced_for_pad(g, before)) /* which has handed its input on */
            (void)strides_of(g, before, stride);
        return emit_selection(r, n, in[0], channels, stride, pads, out, err);
    }
    if (!strides_of(g, n, stride))
        return LMB_OK;
    *done = true;
    if (sliced_for_pad(g, n)) {
        out[0] = in[0];
        return LMB_OK;
    }
    return emit_selection(r, n, in[0], channels, stride, pads, out, err);
}

/* ---- pooling ---- */

/* A mean over height and width; *flat: its result has no such axes any more. */
static bool is_global_mean(const lmb_graph *g, const lmb_node *n, bool *flat)
{
    const lmb_shape *x = &g->value[n->in[0]].shape, *y = &g->value[n->out[0]].shape;

    *flat = y->n == 2;
    if (x->n != 4)
        return false;
    if (is(n, "ReduceMean")) {
        const lmb_ints *axes = attr_of(n, "axes");
        bool seen[4] = { false, false, false, false };
        for (int i = 0; axes && i < axes->n; i++) {
            int64_t a = axes->v[i] < 0 ? axes->v[i] + 4 : axes->v[i];
            if (a >= 0 && a < 4)
                seen[a] = true;
        }
        return !seen[0] && !seen[1] && seen[2] && seen[3];
    }
    if (!is(n, "AveragePool"))
        return false;
    const lmb_pool_attr *a = n->attr;
    for (int i = 0; i < a->pads.n; i++)
        if (a->pads.v[i] != 0)
            return false;
    return a->kernel_shape.n == 2 && a->kernel_shape.v[0] == x->d[2] && a->kernel_shape.v[1] == x->d[3] &&
           y->d[2] == 1 && y->d[3] == 1;
}

static lmb_status pool_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done)
{
    bool flat;

    if (!is_global_mean(r->old, n, &flat))
        return LMB_OK;
    *done = true;
    out[0] = lmb_emit(&r->b, "GlobalAveragePool", n->name, in, 1, LMB_NO_ATTRS);
    if (flat)
        out[0] = lmb_emit(&r->b, "Flatten", NULL, LMB_IN(out[0]), LMB_NO_ATTRS);
    return lmb_builder_status(&r->b);
}

/* ---- the walk ---- */

static lmb_status form_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    LMB_TRY(select_node(r, n, in, out, done, err));
    return *done ? LMB_OK : pool_node(r, n, in, out, done);
}

static lmb_status words(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = form_node, .drop_dead = true };
    return lmb_rewrite_run(&r, g, out, NULL, err);
}

typedef lmb_status (*pass)(const lmb_graph *g, lmb_graph **out, lmb_error *err);

/* One after the other; what is no longer read is left out at the end. */
lmb_status lmb_pass_integer_form(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    static const pass passes[] = { lmb_pass_own_form,   lmb_pass_gemm_form,  lmb_pass_concat_form,
                                   lmb_pass_input_form, lmb_pass_clamp_form, words };
    lmb_graph *now, *next;
    lmb_status st;

    LMB_TRY(lmb_pass_logits(g, &now, err));
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        st = passes[i](now ? now : g, &next, err);
        lmb_graph_destroy(now);
        LMB_TRY(st);
        now = next;
    }
    *out = now;
    return LMB_OK;
}
