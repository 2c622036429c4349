/* distill/lowrank/lowrank.c - the pass. See lowrank.h. */
#include "distill/lowrank/lowrank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "distill/lowrank/internal.h"

typedef struct task {
    const lmb_lowrank *what;
    int n;
} task;

static const lmb_lowrank *wanted(const task *t, const lmb_graph *g, lmb_vid weight)
{
    for (int i = 0; weight != LMB_NONE && i < t->n; i++)
        if (strcmp(g->value[weight].name, t->what[i].weight) == 0)
            return &t->what[i];
    return NULL;
}

/* The old weight does not come along. */
static lmb_status drop_weight(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    if (r->old->value[v].role == LMB_ROLE_PARAMETER && wanted(r->ctx, r->old, v)) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

/* ---- factors as parameters ---- */

typedef struct factors {
    float *in, *core, *out; /* core NULL: two of them */
    int64_t rank_out, rank_in;
} factors;

static void free_factors(factors *f)
{
    free(f->in);
    free(f->core);
    free(f->out);
}

static lmb_status three(const lmb_basis *b, factors *f, lmb_error *err)
{
    int64_t core_n = f->rank_out * f->rank_in * b->taps;
    int64_t nl = b->out < b->in * b->taps ? b->out : b->in * b->taps,
            nr = b->in < b->out * b->taps ? b->in : b->out * b->taps;
    double *half = malloc(sizeof *half * (size_t)(f->rank_out * b->in * b->taps + 1)),
           *core = malloc(sizeof *core * (size_t)(core_n + 1));
    lmb_status st = LMB_OK;

    f->core = malloc(sizeof *f->core * (size_t)(core_n + 1));
    if (!half || !core || !f->core)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for the factors of a layer");
    if (st == LMB_OK) {
        lmbi_basis_core(b, f->rank_out, f->rank_in, half, core);
        for (int64_t i = 0; i < core_n; i++)
            f->core[i] = (float)core[i];
        for (int64_t j = 0; j < f->rank_in; j++)
            for (int64_t c = 0; c < b->in; c++)
                f->in[j * b->in + c] = (float)b->right[c * nr + j];
        for (int64_t o = 0; o < b->out; o++)
            for (int64_t i = 0; i < f->rank_out; i++)
                f->out[o * f->rank_out + i] = (float)b->left[o * nl + i];
    }
    free(half);
    free(core);
    return st;
}

static void two(const lmb_basis *b, factors *f)
{
    for (int64_t k = 0; k < f->rank_out; k++) {
        double root = sqrt(b->s[k]);
        for (int64_t c = 0; c < b->in; c++)
            f->in[k * b->in + c] = (float)(root * b->right[c * b->rank + k]);
        for (int64_t o = 0; o < b->out; o++)
            f->out[o * f->rank_out + k] = (float)(root * b->left[o * b->rank + k]);
    }
}

static lmb_status make_factors(const lmb_basis *b, factors *f, lmb_error *err)
{
    f->in = malloc(sizeof *f->in * (size_t)(f->rank_in * b->in + 1));
    f->out = malloc(sizeof *f->out * (size_t)(b->out * f->rank_out + 1));
    if (!f->in || !f->out)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the factors of a layer");
    if (b->taps > 1)
        return three(b, f, err);
    two(b, f);
    return LMB_OK;
}

static lmb_vid parameter(lmb_rewrite *r, const lmb_value *w, const char *part, lmb_shape shape, const float *data)
{
    char name[200];

    snprintf(name, sizeof name, "%.180s.%s", w->name, part);
    lmb_vid v = lmb_emit_value(&r->b, LMB_ROLE_PARAMETER, name, LMB_F32, shape, data);
    if (v != LMB_NONE) {
        r->b.g->value[v].decay = w->decay;
        r->b.g->value[v].bits = w->bits;
    }
    return v;
}

/* ---- nodes ---- */

static lmb_vid emit_conv(lmb_rewrite *r, const lmb_node *n, const char *part, lmb_vid x, lmb_vid w, lmb_vid bias,
                         const lmb_conv *c)
{
    char name[200];
    lmb_vid in[3] = { x, w, bias };

    snprintf(name, sizeof name, "%.180s.%s", n->name, part);
    if (!c)
        return lmb_emit(&r->b, "Conv", name, in, bias == LMB_NONE ? 2 : 3, LMB_ATTRS(LMB_AINTS("kernel_shape", 1, 1)));
    return lmb_emit(&r->b, "Conv", name, in, bias == LMB_NONE ? 2 : 3,
                    LMB_ATTRS(LMB_AINTS("kernel_shape", c->kh, c->kw), LMB_AINTS("strides", c->sh, c->sw),
                              LMB_AINTS("dilations", c->dh, c->dw), LMB_AINTS("pads", c->ph, c->pw, c->ph2, c->pw2)));
}

static lmb_vid emit_gemm(lmb_rewrite *r, const lmb_node *n, const char *part, lmb_vid x, lmb_vid w, lmb_vid bias)
{
    char name[200];
    lmb_vid in[3] = { x, w, bias };

    snprintf(name, sizeof name, "%.180s.%s", n->name, part);
    return lmb_emit(&r->b, "Gemm", name, in, bias == LMB_NONE ? 2 : 3, LMB_ATTRS(LMB_AINT("transB", 1)));
}

/* In place of the layer: its factors, one after the other. */
static lmb_status emit_factors(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, const lmb_basis *b,
                               const factors *f, lmb_vid *out, lmb_error *err)
{
    const lmb_value *w = &r->old->value[n->in[1]];
    lmb_vid bias = n->n_in > 2 ? in[2] : LMB_NONE, x = in[0];

    if (w->shape.n == 2) {
        x = emit_gemm(r, n, "in", x, parameter(r, w, "in", LMB_SHAPE(f->rank_in, b->in), f->in), LMB_NONE);
        out[0] = emit_gemm(r, n, "out", x, parameter(r, w, "out", LMB_SHAPE(b->out, f->rank_out), f->out), bias);
    } else {
        lmb_conv c;
        LMB_TRY(lmb_conv_of(n->attr, &r->old->value[n->in[0]].shape, &w->shape, &c, err));
        lmb_shape shape_in = LMB_SHAPE(f->rank_in, b->in, 1, 1), shape_out = LMB_SHAPE(b->out, f->rank_out, 1, 1);
        x = emit_conv(r, n, "in", x, parameter(r, w, "in", shape_in, f->in), LMB_NONE, f->core ? NULL : &c);
        if (f->core)
            x = emit_conv(r, n, "core", x,
                          parameter(r, w, "core", LMB_SHAPE(f->rank_out, f->rank_in, c.kh, c.kw), f->core), LMB_NONE,
                          &c);
        out[0] = emit_conv(r, n, "out", x, parameter(r, w, "out", shape_out, f->out), bias, NULL);
    }
    LMB_TRY(lmb_builder_status(&r->b));
    return lmb_graph_rename(r->b.g, out[0], r->old->value[n->out[0]].name, err);
}

static lmb_status check_ranks(const lmb_lowrank *what, const lmb_basis *b, lmb_error *err)
{
    int64_t most = b->rank;

    if (b->taps == 1 && (what->rank_out != what->rank_in || what->rank_out < 1 || what->rank_out > most))
        return LMB_FAIL(err, LMB_E_ARG, "%s: ranks %lld and %lld; a layer of one tap has one rank, 1 to %lld",
                        what->weight, (long long)what->rank_out, (long long)what->rank_in, (long long)most);
    if (b->taps == 1)
        return LMB_OK;
    int64_t most_out = b->out < b->in * b->taps ? b->out : b->in * b->taps,
            most_in = b->in < b->out * b->taps ? b->in : b->out * b->taps;
    if (what->rank_out < 1 || what->rank_out > most_out || what->rank_in < 1 || what->rank_in > most_in)
        return LMB_FAIL(err, LMB_E_ARG, "%s: ranks %lld and %lld; they must be 1 to %lld and 1 to %lld", what->weight,
                        (long long)what->rank_out, (long long)what->rank_in, (long long)most_out, (long long)most_in);
    return LMB_OK;
}

static lmb_status lowrank_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                               lmb_error *err)
{
    const lmb_lowrank *what = n->n_in > 1 ? wanted(r->ctx, r->old, n->in[1]) : NULL;
    lmb_basis *own = NULL;
    factors f = { 0 };
    lmb_status st;

    if (!what)
        return LMB_OK;
    *done = true;
    if (!what->basis)
        LMB_TRY(lmb_basis_create(r->old, n, &own, err));
    const lmb_basis *b = own ? own : what->basis;
    f.rank_out = what->rank_out;
    f.rank_in = what->rank_in;
    LMB_TRY_GOTO(st, done, check_ranks(what, b, err));
    LMB_TRY_GOTO(st, done, make_factors(b, &f, err));
    st = emit_factors(r, n, in, b, &f, out, err);
done:
    free_factors(&f);
    lmb_basis_destroy(own);
    return st;
}

lmb_status lmb_pass_lowrank(const lmb_graph *g, const lmb_lowrank *what, int n, lmb_graph **out, lmb_error *err)
{
    task t = { what, n };
    lmb_rewrite r = { .node = lowrank_node, .value = drop_weight, .ctx = &t };

    for (int i = 0; i < n; i++) {
        lmb_vid w = lmb_graph_find(g, what[i].weight);
        int reader = w == LMB_NONE ? -1 : lmb_sole_reader(g, w);
        if (reader < 0 || g->node[reader].n_in < 2 || g->node[reader].in[1] != w ||
            !lmb_lowrank_fits(g, &g->node[reader]))
            return LMB_FAIL(err, LMB_E_ARG, "%s is no weight of a Conv or Gemm that can be factorised", what[i].weight);
    }
    return lmb_rewrite_run(&r, g, out, NULL, err);
}
