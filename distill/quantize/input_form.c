/* distill/quantize/input_form.c - see input_form.h. */
#include "distill/quantize/input_form.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"

enum { CHANNELS_MAX = 64 }; /* of an input that is normalised by channel */

/* The chain behind the input, as one affine function a x + b of each channel, up to what reads it. */
typedef struct prefix {
    bool there;
    lmb_vid input, end; /* of the chain; the same: it is empty */
    int conv;           /* node that takes in what is left of it; -1: nothing is */
    int channels;
    double a[CHANNELS_MAX], b[CHANNELS_MAX];
    double mean, scale; /* one for all channels */
} prefix;

typedef struct form {
    const lmb_graph *g;
    prefix p;
} form;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* ---- what there is ---- */

/* The constant of a node as a number for each channel; false: it is no such constant. */
static bool channel_constant(const lmb_graph *g, lmb_vid v, int channels, double *out)
{
    const lmb_value *c = &g->value[v];
    int64_t n = lmb_shape_count(&c->shape);
    bool by_channel = n == channels && c->shape.n >= 3 && c->shape.d[c->shape.n - 3] == channels;

    if (c->role != LMB_ROLE_CONSTANT || c->dtype != LMB_F32 || !c->data || (n != 1 && !by_channel))
        return false;
    for (int i = 0; i < channels; i++)
        out[i] = ((const float *)c->data)[n == 1 ? 0 : i];
    return true;
}

/* One more step of the chain; false: the node is none. */
static bool absorb(const lmb_graph *g, const lmb_node *n, prefix *p)
{
    double c[CHANNELS_MAX];
    bool sub = is(n, "Sub"), add = is(n, "Add"), mul = is(n, "Mul"), div = is(n, "Div");

    if ((!sub && !add && !mul && !div) || !channel_constant(g, n->in[1], p->channels, c))
        return false;
    for (int i = 0; i < p->channels; i++) {
        if (div && c[i] == 0)
            return false;
        p->a[i] *= mul ? c[i] : div ? 1 / c[i] : 1;
        p->b[i] = mul ? p->b[i] * c[i] : div ? p->b[i] / c[i] : p->b[i] + (add ? c[i] : -c[i]);
    }
    return true;
}

/* One scalar Sub or none, then one scalar Mul: what a scale and a zero point say as it stands. */
static bool is_plain(const lmb_graph *g, const prefix *p)
{
    const lmb_node *mul = g->value[p->end].node == LMB_NONE ? NULL : &g->node[g->value[p->end].node];
    const lmb_node *sub = !mul || g->value[mul->in[0]].node == LMB_NONE ? NULL : &g->node[g->value[mul->in[0]].node];

    if (!mul || !is(mul, "Mul") || lmb_shape_count(&g->value[mul->in[1]].shape) != 1)
        return false;
    return !sub || (is(sub, "Sub") && sub->in[0] == p->input && lmb_shape_count(&g->value[sub->in[1]].shape) == 1 &&
                    p->mean == -p->b[0] / p->a[0]);
}

/* Is nothing left of the chain behind one mean and one scale? (1e-4 of the step from byte to byte is rounding.) */
static bool is_said(const prefix *p)
{
    for (int i = 0; i < p->channels; i++)
        if (p->a[i] != p->a[0] || fabs(-p->b[i] / p->a[i] - p->mean) > 1e-4)
            return false;
    return true;
}

/* Can this convolution take in what is left? */
static bool takes_in(const lmb_graph *g, int at, lmb_vid x)
{
    const lmb_node *n = at < 0 ? NULL : &g->node[at];

    if (!n || !is(n, "Conv") || n->in[0] != x || ((const lmb_conv_attr *)n->attr)->group != 1)
        return false;
    for (int k = 1; k < n->n_in; k++)
        if (n->in[k] != LMB_NONE && (!g->value[n->in[k]].data || lmb_sole_reader(g, n->in[k]) != at))
            return false;
    return true;
}

/* Is there a normalisation that a scale and a zero point can not say, in front of one convolution, or one that they can
 * and that says it in other words, or in none? */
static void find_prefix(const lmb_graph *g, prefix *p)
{
    lmb_vid x = lmb_graph_input(g, 0);
    int at;

    p->conv = -1;
    if (x == LMB_NONE || g->value[x].shape.n != 4 || g->value[x].shape.d[1] > CHANNELS_MAX ||
        g->value[x].shape.d[1] < 1 || g->value[x].dtype != LMB_F32)
        return;
    p->input = x;
    p->channels = (int)g->value[x].shape.d[1];
    for (int i = 0; i < p->channels; i++) {
        p->a[i] = 1;
        p->b[i] = 0;
    }
    while ((at = lmb_sole_reader(g, x)) >= 0 && g->node[at].in[0] == x && absorb(g, &g->node[at], p))
        x = g->node[at].out[0];
    p->end = x;
    for (int i = 0; i < p->channels; i++) {
        if (!(p->a[i] > 0) || !isfinite(p->a[i]) || !isfinite(p->b[i]))
            return;
        p->scale += p->a[i] / p->channels;
        p->mean += -p->b[i] / p->a[i] / p->channels;
    }
    p->mean = fmin(fmax(nearbyint(p->mean), 0), 255);
    if (is_plain(g, p))
        return;
    p->there = is_said(p) || takes_in(g, at, x);
    if (!is_said(p))
        p->conv = at;
}

static bool in_prefix(const form *f, const lmb_node *n)
{
    const lmb_graph *g = f->g;

    for (lmb_vid x = f->p.end; x != f->p.input; x = g->node[g->value[x].node].in[0])
        if (&g->node[g->value[x].node] == n)
            return true;
    return false;
}

/* The input, and behind it one mean and one scale. */
static lmb_status emit_input(lmb_rewrite *r, lmb_vid v, lmb_vid *out, lmb_error *err)
{
    const prefix *p = &((const form *)r->ctx)->p;
    const lmb_value *x = &r->old->value[v];
    lmb_builder *b = &r->b;
    lmb_vid raw;

    LMB_TRY(lmb_graph_value(b->g, x->role, x->name, x->dtype, &x->shape, NULL, &raw, err));
    lmb_vid y = lmb_emit(b, "Sub", "centre", LMB_IN(raw, lmb_emit_scalar(b, (float)p->mean)), LMB_NO_ATTRS);
    *out = lmb_emit(b, "Mul", "normalise", LMB_IN(y, lmb_emit_scalar(b, (float)p->scale)), LMB_NO_ATTRS);
    return lmb_builder_status(b);
}

/* The first convolution behind one mean and one scale. */
static lmb_status emit_first(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    const form *f = r->ctx;
    const prefix *p = &f->p;
    const lmb_value *w = &f->g->value[n->in[1]],
                    *old_bias = n->n_in > 2 && n->in[2] != LMB_NONE ? &f->g->value[n->in[2]] : NULL;
    int64_t count = lmb_shape_count(&w->shape), k = w->shape.d[0], each = count / k, taps = each / p->channels;
    float *fw = malloc(sizeof *fw * (size_t)(count + 1)), *fb = malloc(sizeof *fb * (size_t)(k + 1));
    char name[200];

    if (!fw || !fb) {
        free(fw);
        free(fb);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to rewrite %s", n->name);
    }
    for (int64_t o = 0; o < k; o++) {
        double bias = old_bias ? ((const float *)old_bias->data)[o] : 0;
        for (int64_t i = 0; i < each; i++) {
            int64_t c = i / taps;
            double v = ((const float *)w->data)[o * each + i];
            fw[o * each + i] = (float)(v * p->a[c] / p->scale);
            bias += v * (p->a[c] * p->mean + p->b[c]);
        }
        fb[o] = (float)bias;
    }
    snprintf(name, sizeof name, "%.180s.bias", n->name);
    lmb_vid operands[3] = { in[0], lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, w->name, LMB_F32, w->shape, fw),
                            lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, old_bias ? old_bias->name : name, LMB_F32,
                                           LMB_SHAPE(k), fb) };
    free(fw);
    free(fb);
    LMB_TRY(lmb_builder_status(&r->b));
    r->b.g->value[operands[1]].decay = w->decay;
    r->b.g->value[operands[1]].bits = w->bits;
    r->b.g->value[operands[2]].decay = 0;
    r->b.g->value[operands[1]].frozen = r->b.g->value[operands[2]].frozen = w->frozen;
    lmb_node like = *n;
    like.n_in = 3;
    return lmb_graph_node_like(r->b.g, &like, operands, out, err);
}

/* ---- the pass ---- */

static lmb_status form_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const form *f = r->ctx;

    if (in_prefix(f, n)) {
        out[0] = in[0];
        *done = true;
    } else if (f->p.conv >= 0 && n == &f->g->node[f->p.conv]) {
        *done = true;
        return emit_first(r, n, in, out, err);
    }
    return LMB_OK;
}

/* The normalisation is said anew, and so are weights and bias of a first convolution that takes in what is left. */
static lmb_status form_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    const form *f = r->ctx;
    const lmb_node *n = f->p.conv >= 0 ? &f->g->node[f->p.conv] : NULL;

    if (v == f->p.input) {
        *done = true;
        return emit_input(r, v, out, err);
    }
    if (n && (v == n->in[1] || (n->n_in > 2 && v == n->in[2]))) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_input_form(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    form f = { .g = g };
    lmb_rewrite r = { .node = form_node, .value = form_value, .ctx = &f };

    find_prefix(g, &f.p);
    return f.p.there ? lmb_rewrite_run(&r, g, out, NULL, err) : lmb_graph_copy(g, out, err);
}
