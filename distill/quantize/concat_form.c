/* distill/quantize/concat_form.c - see concat_form.h. */
#include "distill/quantize/concat_form.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"

enum { PARTS = 16 };

/* Of a value of the old graph: the channels of its parts, and where they are in the new one. n 0: it has none. */
typedef struct parts { int n; int64_t c[PARTS]; lmb_vid v[PARTS]; } parts;

typedef struct form {
    const lmb_graph *g;
    parts *of;    /* [values]                                                 */
    bool *split;  /* [nodes] layers that read parts                           */
    bool *folded; /* [nodes] BatchNormalizations behind such                  */
    bool *scaled; /* [nodes] BatchNormalizations that no layer can take in    */
    bool *gone;   /* [values] their weights, which are made anew              */
} form;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

static int number(const form *f, const lmb_node *n) { return (int)(n - f->g->node); }

/* ---- what is to be done ---- */

static bool along_channels(const lmb_graph *g, const lmb_node *n)
{
    const lmb_shape *y = &g->value[n->out[0]].shape;
    int64_t channels = 0;

    if (!is(n, "Concat") || (y->n != 4 && y->n != 2))
        return false;
    for (int k = 0; k < n->n_in; k++) {
        const lmb_shape *x = &g->value[n->in[k]].shape;
        channels += x->d[1];
        for (int i = 0; i < y->n; i++)
            if (i != 1 && x->d[i] != y->d[i])
                return false;
    }
    return channels == y->d[1]; /* joined along another axis, it would have the channels of one */
}

static bool add_parts(parts *to, const parts *from, int64_t channels)
{
    int n = from->n ? from->n : 1;

    if (to->n + n > PARTS)
        return false;
    for (int i = 0; i < n; i++)
        to->c[to->n++] = from->n ? from->c[i] : channels;
    return true;
}

/* What does to each channel the same, whatever the others are. */
static bool by_channel(const lmb_graph *g, const lmb_node *n)
{
    static const char *const ops[] = { "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Dropout",
        "Identity" };
    const lmb_shape *x = &g->value[n->in[0]].shape, *y = &g->value[n->out[0]].shape;

    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (is(n, ops[i]))
            return n->n_out == 1;
    if (is(n, "ReduceMean"))
        return x->n == 4 && y->n >= 2 && y->d[0] == x->d[0] && y->d[1] == x->d[1];
    return is(n, "Flatten") && x->n == 4 && x->d[2] * x->d[3] == 1 && y->n == 2 && y->d[1] == x->d[1];
}

static bool own_weights(const lmb_graph *g, const lmb_node *n, int k)
{
    return n->n_in <= k || n->in[k] == LMB_NONE ||
           (g->value[n->in[k]].data && lmb_sole_reader(g, n->in[k]) >= 0 && g->value[n->in[k]].node == LMB_NONE);
}

static bool splits(const lmb_graph *g, const lmb_node *n)
{
    if (is(n, "Gemm")) {
        const lmb_gemm_attr *a = n->attr;
        if (a->alpha != 1 || a->beta != 1 || a->transA || !a->transB ||
            (n->n_in > 2 && n->in[2] != LMB_NONE &&
             lmb_shape_count(&g->value[n->in[2]].shape) != g->value[n->in[1]].shape.d[0])) /* one number for all */
            return false;
    } else if (!is(n, "Conv") || ((const lmb_conv_attr *)n->attr)->group != 1) {
        return false;
    }
    return own_weights(g, n, 1) && own_weights(g, n, 2);
}

/* A BatchNormalization that nothing before it can be folded with. */
static bool scales(const lmb_graph *g, const lmb_node *n)
{
    int32_t from = g->value[n->in[0]].node;

    if (!is(n, "BatchNormalization") || n->n_out != 1 || g->value[n->in[0]].shape.n != 4 ||
        (from >= 0 && lmb_norm_after(g, &g->node[from]) == n))
        return false;
    for (int k = 1; k < 5; k++)
        if (!own_weights(g, n, k))
            return false;
    return true;
}

static bool plan(form *f)
{
    const lmb_graph *g = f->g;
    bool any = false;

    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        parts *y = &f->of[n->out[0]];
        if (n->n_in < 1 || n->in[0] == LMB_NONE)
            continue;
        const parts *x = &f->of[n->in[0]];
        if (along_channels(g, n)) {
            bool fits = true;
            for (int k = 0; k < n->n_in && fits; k++)
                fits = add_parts(y, &f->of[n->in[k]], g->value[n->in[k]].shape.d[1]);
            y->n = fits ? y->n : 0;
        } else if (x->n && by_channel(g, n)) {
            *y = *x;
        } else if (!f->folded[i] && scales(g, n)) {
            any = f->scaled[i] = true;
            *y = *x;
            for (int k = 1; k < 5; k++)
                f->gone[n->in[k]] = true;
        } else if (x->n && splits(g, n)) {
            const lmb_node *norm = lmb_norm_after(g, n);
            any = f->split[i] = true;
            for (int k = 1; k < n->n_in; k++)
                if (n->in[k] != LMB_NONE)
                    f->gone[n->in[k]] = true;
            if (norm)
                f->folded[number(f, norm)] = true;
            for (int k = 1; norm && k < 5; k++)
                f->gone[norm->in[k]] = true;
        }
    }
    return any;
}

/* ---- doing it ---- */

static lmb_status carry(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_error *err)
{
    form *f = r->ctx;
    const parts *x = &f->of[n->in[0]];
    parts *y = &f->of[n->out[0]];
    lmb_vid operand[LMB_MAX_IN];

    memcpy(operand, in, sizeof *in * (size_t)n->n_in);
    for (int i = 0; i < x->n; i++) {
        operand[0] = x->v[i];
        LMB_TRY(lmb_graph_node_like(r->b.g, n, operand, &y->v[i], err));
    }
    return LMB_OK;
}

static void gather(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in)
{
    form *f = r->ctx;
    parts *y = &f->of[n->out[0]];
    int at = 0;

    for (int k = 0; k < n->n_in && at < y->n; k++) {
        const parts *x = &f->of[n->in[k]];
        for (int i = 0; i < (x->n ? x->n : 1); i++)
            y->v[at++] = x->n ? x->v[i] : in[k];
    }
}

/* What a normalisation does to channel c: x factor + shift. */
static void scale_of(const lmb_graph *g, const lmb_node *norm, int64_t c, double *factor, double *shift)
{
    const float *of[4];

    for (int i = 0; i < 4; i++)
        of[i] = g->value[norm->in[1 + i]].data;
    *factor = of[0][c] / sqrt((double)of[3][c] + ((const lmb_batch_norm_attr *)norm->attr)->epsilon);
    *shift = of[1][c] - of[2][c] * *factor;
}

/* Weights of a layer with what follows it folded in: w [k, channels, taps], bias [k]. The caller's to free. */
static lmb_status folded(const form *f, const lmb_node *n, float **w, float **bias, lmb_error *err)
{
    const lmb_graph *g = f->g;
    const lmb_node *norm = lmb_norm_after(g, n);
    const float *old = g->value[n->in[1]].data,
                *b = n->n_in > 2 && n->in[2] != LMB_NONE ? g->value[n->in[2]].data : NULL;
    int64_t all = lmb_shape_count(&g->value[n->in[1]].shape), k = g->value[n->in[1]].shape.d[0], each = all / k;

    *w = malloc(sizeof **w * (size_t)(all + 1));
    *bias = malloc(sizeof **bias * (size_t)(k + 1));
    if (!*w || !*bias)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to take %s apart", n->name);
    for (int64_t c = 0; c < k; c++) {
        double factor = 1, shift = b ? b[c] : 0;
        if (norm) {
            double more;
            scale_of(g, norm, c, &factor, &more);
            shift = shift * factor + more;
        }
        for (int64_t i = 0; i < each; i++)
            (*w)[c * each + i] = (float)(old[c * each + i] * factor);
        (*bias)[c] = (float)shift;
    }
    return LMB_OK;
}

size_t lmb_whole_name(const char *weight)
{
    size_t n = strlen(weight), digits = 0;

    while (digits < n && weight[n - 1 - digits] >= '0' && weight[n - 1 - digits] <= '9')
        digits++;
    return digits && n - digits > 5 && strncmp(weight + n - digits - 5, ".part", 5) == 0 ? n - digits - 5 : n;
}

/* A parameter of the layer, named after its weights. */
static lmb_vid parameter(lmb_rewrite *r, const lmb_value *w, const char *part, int i, lmb_shape shape,
                         const float *data)
{
    char name[200];

    snprintf(name, sizeof name, "%.180s.%s%d", w->name, part, i);
    lmb_vid v = lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, name, LMB_F32, shape, data);
    if (v != LMB_NONE) {
        r->b.g->value[v].bits = shape.n > 1 ? w->bits : 0;
        r->b.g->value[v].decay = shape.n > 1 ? w->decay : 0;
        r->b.g->value[v].frozen = w->frozen;
    }
    return v;
}

/* The layer of one part: channels first .. first + count of its weights; the first has the bias. */
static lmb_status emit_part(lmb_rewrite *r, const lmb_node *n, int i, int64_t first, const float *w, const float *bias,
                            lmb_vid *out, lmb_error *err)
{
    const form *f = r->ctx;
    const parts *x = &f->of[n->in[0]];
    const lmb_value *old = &f->g->value[n->in[1]];
    lmb_shape shape = old->shape;
    int64_t k = shape.d[0], taps = lmb_shape_count(&shape) / k / shape.d[1], count = x->c[i];
    float *cut = malloc(sizeof *cut * (size_t)(k * count * taps + 1));

    if (!cut)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to take %s apart", n->name);
    for (int64_t c = 0; c < k; c++)
        memcpy(cut + c * count * taps, w + (c * shape.d[1] + first) * taps, sizeof *cut * (size_t)(count * taps));
    shape.d[1] = count;
    lmb_vid operand[3] = { x->v[i], parameter(r, old, "part", i, shape, cut), LMB_NONE };
    free(cut);
    if (i == 0)
        operand[2] = parameter(r, old, "bias", 0, LMB_SHAPE(k), bias);
    LMB_TRY(lmb_builder_status(&r->b));
    lmb_node like = *n;
    like.n_in = i == 0 ? 3 : 2;
    return lmb_graph_node_like(r->b.g, &like, operand, out, err);
}

static lmb_status take_apart(lmb_rewrite *r, const lmb_node *n, lmb_vid *out, lmb_error *err)
{
    const form *f = r->ctx;
    const parts *x = &f->of[n->in[0]];
    float *w = NULL, *bias = NULL;
    int64_t first = 0;
    lmb_status st = folded(f, n, &w, &bias, err);

    for (int i = 0; i < x->n && st == LMB_OK; i++) {
        lmb_vid y;
        st = emit_part(r, n, i, first, w, bias, &y, err);
        if (st == LMB_OK) {
            out[0] = i ? lmb_emit(&r->b, "Add", n->name, LMB_IN(out[0], y), LMB_NO_ATTRS) : y;
            st = lmb_builder_status(&r->b);
        }
        first += x->c[i];
    }
    free(w);
    free(bias);
    return st;
}

/* A normalisation as a convolution of each channel for itself. */
static lmb_status scale(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, lmb_error *err)
{
    form *f = r->ctx;
    const lmb_value *old = &f->g->value[n->in[1]];
    const parts one = { 1, { old->shape.d[0] }, { in[0] } }, *x = f->of[n->in[0]].n ? &f->of[n->in[0]] : &one;
    int64_t channels = old->shape.d[0], first = 0;
    float *w = malloc(sizeof *w * (size_t)(2 * channels + 1)), *bias = w + channels;
    lmb_vid made[PARTS];

    if (!w)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to make a convolution of %s", n->name);
    for (int64_t c = 0; c < channels; c++) {
        double factor, shift;
        scale_of(f->g, n, c, &factor, &shift);
        w[c] = (float)factor;
        bias[c] = (float)shift;
    }
    for (int i = 0; i < x->n; first += x->c[i++])
        made[i] = lmb_emit(&r->b, "Conv", n->name,
                           LMB_IN(x->v[i], parameter(r, old, "part", i, LMB_SHAPE(x->c[i], 1, 1, 1), w + first),
                                  parameter(r, old, "bias", i, LMB_SHAPE(x->c[i]), bias + first)),
                           LMB_ATTRS(LMB_AINT("group", x->c[i])));
    free(w);
    memcpy(f->of[n->out[0]].v, made, sizeof *made * (size_t)x->n);
    out[0] = x->n == 1 ? made[0] : lmb_emit(&r->b, "Concat", n->name, made, x->n, LMB_ATTRS(LMB_AINT("axis", 1)));
    return lmb_builder_status(&r->b);
}

static lmb_status form_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                            lmb_error *err)
{
    const form *f = r->ctx;
    int i = number(f, n);

    if (f->folded[i]) {
        out[0] = in[0];
        *done = true;
        return LMB_OK;
    }
    if (f->split[i]) {
        *done = true;
        return take_apart(r, n, out, err);
    }
    if (f->scaled[i]) {
        *done = true;
        return scale(r, n, in, out, err);
    }
    if (!f->of[n->out[0]].n)
        return LMB_OK;
    if (is(n, "Concat"))
        gather(r, n, in);
    else
        return carry(r, n, in, err);
    return LMB_OK;
}

static lmb_status form_value(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    if (((const form *)r->ctx)->gone[v]) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

lmb_status lmb_pass_concat_form(const lmb_graph *g, lmb_graph **out, lmb_error *err)
{
    form f = { g, calloc((size_t)g->n_values + 1, sizeof *f.of), calloc((size_t)g->n_nodes + 1, sizeof *f.split),
               calloc((size_t)g->n_nodes + 1, sizeof *f.folded), calloc((size_t)g->n_nodes + 1, sizeof *f.scaled),
               calloc((size_t)g->n_values + 1, sizeof *f.gone) };
    lmb_rewrite r = { .node = form_node, .value = form_value, .ctx = &f };
    lmb_status st = f.of && f.split && f.folded && f.scaled && f.gone
                        ? LMB_OK
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory to look for joined channels");

    if (st == LMB_OK)
        st = plan(&f) ? lmb_rewrite_run(&r, g, out, NULL, err) : lmb_graph_copy(g, out, err);
    free(f.of);
    free(f.split);
    free(f.folded);
    free(f.scaled);
    free(f.gone);
    return st;
}
