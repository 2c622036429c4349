/* distill/lowrank/ranks.c - see ranks.h. */
#include "distill/lowrank/ranks.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"
#include "core/graph/op.h"
#include "distill/quantize/gemm_form.h"

const lmb_field lmb_ranks_fields[] = {
    LMB_REAL(lmb_ranks_config, energy, 0.9, 0.01, 1, "",
             "share of the squared singular values that is kept; for k x k of each of the two unfoldings, so that of such "
             "a layer at least 2 energy - 1 is left"),
    LMB_REAL(lmb_ranks_config, gain, 0.1, 0, 0.99, "",
             "share of its multiply-accumulates that a layer must be rid of to be factorised"),
    LMB_INT(lmb_ranks_config, tile, 4, 1, 1024, "channels",
            "that kernels work on at a time; ranks are rounded up to multiples of it, no further than the weights' own "
            "rank"),
    LMB_BOOL(lmb_ranks_config, ends, 1, "also the first and the last layer"),
    LMB_TREE(lmb_ranks_config, layers, "only these, by the names of their weights, as a list; the ends too"),
    LMB_FIELD_END
};

int64_t lmb_ranks_of_energy(const double *s, int64_t n, double energy)
{
    const double rounding = (double)FLT_EPSILON * (double)FLT_EPSILON;
    double all = 0, lost = 0;
    int64_t rank = n;

    for (int64_t i = 0; i < n; i++)
        all += s[i] * s[i];
    if (!(all > 0))
        return n;
    for (; rank > 1; rank--) {
        lost += s[rank - 1] * s[rank - 1];
        if (lost > (1 - energy + rounding) * all)
            break;
    }
    return rank;
}

/* ---- which layers ---- */

static bool has_weights(const lmb_graph *g, const lmb_node *n)
{
    bool layer = strcmp(n->op->name, "Conv") == 0 || strcmp(n->op->name, "Gemm") == 0 ||
                 strcmp(n->op->name, "MatMul") == 0;
    return layer && n->n_in > 1 && n->in[1] != LMB_NONE && g->value[n->in[1]].role == LMB_ROLE_PARAMETER;
}

static lmb_status is_named(const lmb_tree *layers, const char *weight, bool *out, lmb_error *err)
{
    const char *name;

    *out = false;
    for (const lmb_tree *t = layers->child; t && !*out; t = t->next) {
        LMB_TRY(lmb_tree_text(t, &name, err));
        *out = strcmp(name, weight) == 0;
    }
    return LMB_OK;
}

/* Of a graph in gemm form. */
static lmb_status check_form(const lmb_graph *g, const lmb_ranks_config *c, lmb_error *err)
{
    enum { SOME = 8 };

    if (c->layers->kind != LMB_TREE_LIST || !c->layers->child)
        return lmb_tree_fail(c->layers, err, LMB_E_ARG, "layers is a list of names of weights");
    for (const lmb_tree *t = c->layers->child; t; t = t->next) {
        lmb_str there = LMB_STR_INIT;
        bool found = false;
        const char *name;
        int n = 0;
        LMB_TRY(lmb_tree_text(t, &name, err));
        for (int i = 0; i < g->n_nodes && !found; i++) {
            if (!lmb_lowrank_fits(g, &g->node[i]))
                continue;
            const char *weight = g->value[g->node[i].in[1]].name;
            found = strcmp(name, weight) == 0;
            if (n++ < SOME)
                lmb_str_addf(&there, "%s%s", n > 1 ? ", " : "", weight);
        }
        lmb_status st = found ? LMB_OK
                              : lmb_tree_fail(t, err, LMB_E_ARG, "no layer '%.80s' can be factorised; there are %s%s",
                                              name, n ? there.text : "none", n > SOME ? ", ..." : "");
        lmb_str_free(&there);
        LMB_TRY(st);
    }
    return LMB_OK;
}

lmb_status lmb_ranks_check(const lmb_graph *g, const lmb_ranks_config *c, lmb_error *err)
{
    lmb_graph *form;

    if (!c->layers)
        return LMB_OK;
    LMB_TRY(lmb_pass_gemm_form(g, &form, err));
    lmb_status st = check_form(form, c, err);
    lmb_graph_destroy(form);
    return st;
}

/* Is node i to be looked at? */
static lmb_status is_wanted(const lmb_graph *g, const lmb_ranks_config *c, int i, bool *out, lmb_error *err)
{
    int first = 0, last = g->n_nodes - 1;

    *out = lmb_lowrank_fits(g, &g->node[i]);
    if (*out && c->layers)
        return is_named(c->layers, g->value[g->node[i].in[1]].name, out, err);
    while (first < i && !has_weights(g, &g->node[first]))
        first++;
    while (last > i && !has_weights(g, &g->node[last]))
        last--;
    *out &= c->ends || (i != first && i != last);
    return LMB_OK;
}

/* ---- how far ---- */

/* Places of a feature map; 1 of what is none. */
static double places(const lmb_shape *s)
{
    double n = 1;
    for (int a = 2; a < s->n; a++)
        n *= (double)s->d[a];
    return n;
}

/* A factor in front of a k x k convolution sees all of its input, one in front of a 1x1 what its stride leaves. */
static double macs_at(const lmb_ranks_row *r, double in, double out)
{
    double ro = (double)r->rank_out, ri = (double)r->rank_in;

    if (r->taps == 1)
        return out * ro * (double)(r->in + r->out);
    return in * (double)r->in * ri + out * (ri * ro * (double)r->taps + ro * (double)r->out);
}

static int64_t round_up(int64_t rank, int64_t tile, int64_t most)
{
    int64_t r = (rank + tile - 1) / tile * tile;
    return r < most ? r : most;
}

/* A tile is not filled up with directions in which the weights, as floats, have nothing. */
static int64_t rank_of(const double *s, int64_t n, const lmb_ranks_config *c)
{
    return round_up(lmb_ranks_of_energy(s, n, c->energy), c->tile, lmb_ranks_of_energy(s, n, 1));
}

static lmb_status choose_row(const lmb_graph *g, const lmb_node *n, const lmb_ranks_config *c, lmb_ranks_row *r,
                             lmb_error *err)
{
    const lmb_value *w = &g->value[n->in[1]];
    double in = places(&g->value[n->in[0]].shape), out = places(&g->value[n->out[0]].shape);
    int64_t most_out, most_in;

    *r = (lmb_ranks_row){ .weight = w->name, .out = w->shape.d[0], .in = w->shape.d[1] };
    r->taps = w->shape.n == 4 ? w->shape.d[2] * w->shape.d[3] : 1;
    r->macs = r->macs_after = out * (double)r->out * (double)r->in * (double)r->taps;
    r->energy = 1;
    lmb_basis_most(r->out, r->in, r->taps, &most_out, &most_in);
    r->rank_out = round_up(1, c->tile, most_out);
    r->rank_in = round_up(1, c->tile, most_in);
    if (macs_at(r, in, out) > (1 - c->gain) * r->macs || macs_at(r, in, out) >= r->macs) {
        r->rank_out = r->rank_in = 0; /* there is no use in looking */
        return LMB_OK;
    }
    LMB_TRY(lmb_basis_create(g, n, &r->basis, err));
    if (r->taps > 1) {
        r->rank_out = rank_of(r->basis->s_out, most_out, c);
        r->rank_in = rank_of(r->basis->s_in, most_in, c);
    } else {
        r->rank_out = r->rank_in = rank_of(r->basis->s, r->basis->rank, c);
    }
    LMB_TRY(lmb_basis_energy(r->basis, r->rank_out, r->rank_in, &r->energy, err));
    double after = macs_at(r, in, out);
    r->thin = after < r->macs && after <= (1 - c->gain) * r->macs;
    if (r->thin)
        r->macs_after = after;
    return LMB_OK;
}

lmb_status lmb_ranks_choose(const lmb_graph *g, const lmb_ranks_config *c, lmb_ranks *out, lmb_error *err)
{
    lmb_status st = LMB_OK;

    memset(out, 0, sizeof *out);
    LMB_TRY(lmb_pass_gemm_form(g, &out->form, err));
    g = out->form;
    out->row = calloc((size_t)g->n_nodes + 1, sizeof *out->row);
    if (!out->row)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for the ranks of %d layers", g->n_nodes);
    if (st == LMB_OK && c->layers)
        st = check_form(g, c, err);
    for (int i = 0; i < g->n_nodes && st == LMB_OK; i++) {
        bool wanted;
        st = is_wanted(g, c, i, &wanted, err);
        out->others += has_weights(g, &g->node[i]) && !lmb_lowrank_fits(g, &g->node[i]);
        if (st != LMB_OK || !wanted)
            continue;
        lmb_ranks_row *r = &out->row[out->n++];
        st = choose_row(g, &g->node[i], c, r, err);
        if (!r->thin) {
            lmb_basis_destroy(r->basis);
            r->basis = NULL;
        }
    }
    if (st != LMB_OK)
        lmb_ranks_free(out);
    return st;
}

lmb_status lmb_ranks_apply(const lmb_ranks *r, lmb_graph **out, lmb_error *err)
{
    lmb_lowrank *what = malloc(sizeof *what * ((size_t)r->n + 1));
    int n = 0;

    if (!what)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to factorise %d layers", r->n);
    for (int i = 0; i < r->n; i++)
        if (r->row[i].thin)
            what[n++] = (lmb_lowrank){ r->row[i].weight, r->row[i].rank_out, r->row[i].rank_in, r->row[i].basis };
    lmb_status st = lmb_pass_lowrank(r->form, what, n, out, err);
    free(what);
    return st;
}

void lmb_ranks_free(lmb_ranks *r)
{
    for (int i = 0; i < r->n; i++)
        lmb_basis_destroy(r->row[i].basis);
    free(r->row);
    lmb_graph_destroy(r->form);
    memset(r, 0, sizeof *r);
}
