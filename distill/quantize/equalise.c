/* distill/quantize/equalise.c - see equalise.h. */
#include "distill/quantize/equalise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/passes/fold.h"
#include "core/passes/rewrite.h"

enum { SWEEPS = 40 };
static const double settled = 1e-3, widest = 1e4; /* of a factor: as good as 1; not worth more */

/* A layer's weights as rows and columns, in memory that may be changed. */
typedef struct layer {
    lmb_vid w, b; /* b: LMB_NONE without one      */
    float *weight, *bias;
    int64_t out, in, taps; /* in: of a group               */
    int64_t groups;
} layer;

typedef struct pair {
    int a, b;
} pair; /* nodes */

typedef struct equaliser {
    const lmb_graph *g;
    layer *layer; /* [nodes]; weight NULL: no such layer */
    pair *pair;
    bool *open; /* [nodes] Clips between pairs: to be Relu */
    int n_pairs;
} equaliser;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

static bool stored(const lmb_graph *g, lmb_vid v, int node)
{
    return g->value[v].role == LMB_ROLE_PARAMETER && g->value[v].data && lmb_sole_reader(g, v) == node;
}

static lmb_status take_layer(equaliser *e, int i, lmb_error *err)
{
    const lmb_graph *g = e->g;
    const lmb_node *n = &g->node[i];
    bool conv = is(n, "Conv"), gemm = is(n, "Gemm");
    layer *l = &e->layer[i];

    if ((!conv && !gemm) || !stored(g, n->in[1], i) || (gemm && !((const lmb_gemm_attr *)n->attr)->transB))
        return LMB_OK;
    lmb_vid bias = n->n_in > 2 ? n->in[2] : LMB_NONE;
    if (bias != LMB_NONE &&
        (!stored(g, bias, i) || lmb_shape_count(&g->value[bias].shape) != g->value[n->in[1]].shape.d[0]))
        return LMB_OK;
    const lmb_shape *w = &g->value[n->in[1]].shape;
    int64_t count = lmb_shape_count(w);
    *l = (layer){ .w = n->in[1],
                  .b = bias,
                  .out = w->d[0],
                  .in = w->d[1],
                  .taps = count / (w->d[0] * w->d[1]),
                  .groups = conv ? ((const lmb_conv_attr *)n->attr)->group : 1 };
    l->weight = malloc(sizeof(float) * (size_t)(count + 1));
    l->bias = malloc(sizeof(float) * (size_t)(l->out + 1));
    if (!l->weight || !l->bias)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to equalise %s", n->name);
    memcpy(l->weight, g->value[l->w].data, sizeof(float) * (size_t)count);
    if (bias != LMB_NONE)
        memcpy(l->bias, g->value[bias].data, sizeof(float) * (size_t)l->out);
    return LMB_OK;
}

/* ---- pairs ---- */

/* Does a factor on a channel pass? A Flatten only if a channel is one number. */
static bool passes(const lmb_graph *g, const lmb_node *n)
{
    const lmb_shape *x = &g->value[n->in[0]].shape, *y = &g->value[n->out[0]].shape;

    if (is(n, "Flatten") || is(n, "Reshape"))
        return x->n >= 2 && y->n == 2 && x->d[1] == y->d[1];
    if (is(n, "Clip")) /* from 0 on */
        return n->n_in > 1 && n->in[1] != LMB_NONE && g->value[n->in[1]].data &&
               *(const float *)g->value[n->in[1]].data == 0;
    return is(n, "Relu") || is(n, "MaxPool") || is(n, "GlobalAveragePool") || is(n, "Identity") || is(n, "Dropout");
}

static void find_pair(equaliser *e, int a)
{
    const lmb_graph *g = e->g;
    int b = lmb_sole_reader(g, g->node[a].out[0]);

    while (b >= 0 && passes(g, &g->node[b]))
        b = lmb_sole_reader(g, g->node[b].out[0]);
    if (b < 0 || !e->layer[b].weight || e->layer[b].in * e->layer[b].groups != e->layer[a].out)
        return;
    for (int i = lmb_sole_reader(g, g->node[a].out[0]); i != b; i = lmb_sole_reader(g, g->node[i].out[0]))
        e->open[i] = is(&g->node[i], "Clip");
    e->pair[e->n_pairs++] = (pair){ a, b };
}

/* ---- factors ---- */

/* The weights that make channel c, or that read it, times f; the largest of them before. */
static double scale_made(layer *l, int64_t c, double f)
{
    double most = 0;

    for (int64_t i = 0, each = l->in * l->taps; i < each; i++) {
        float *w = &l->weight[c * each + i];
        most = fmax(most, fabs((double)*w));
        *w = (float)(*w * f);
    }
    l->bias[c] = (float)(l->bias[c] * f);
    return most;
}

static double scale_read(layer *l, int64_t c, double f)
{
    int64_t group = c / l->in, column = c % l->in, rows = l->out / l->groups;
    double most = 0;

    for (int64_t o = group * rows; o < (group + 1) * rows; o++)
        for (int64_t t = 0; t < l->taps; t++) {
            float *w = &l->weight[(o * l->in + column) * l->taps + t];
            most = fmax(most, fabs((double)*w));
            *w = (float)(*w * f);
        }
    return most;
}

/* The largest factor of the pair's channels, as |log|. */
static double equalise_pair(equaliser *e, const pair *p)
{
    layer *a = &e->layer[p->a], *b = &e->layer[p->b];
    double moved = 0;

    for (int64_t c = 0; c < a->out; c++) {
        double made = scale_made(a, c, 1), read = scale_read(b, c, 1);
        double s = made > 0 && read > 0 ? sqrt(made / read) : 1;
        s = fmin(fmax(s, 1 / widest), widest);
        scale_made(a, c, 1 / s);
        scale_read(b, c, s);
        moved = fmax(moved, fabs(log(s)));
    }
    return moved;
}

/* ---- the pass ---- */

static lmb_status node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err)
{
    const equaliser *e = r->ctx;

    (void)err;
    if (!e->open[n - e->g->node])
        return LMB_OK;
    *done = true;
    out[0] = lmb_emit(&r->b, "Relu", n->name, LMB_IN(in[0]), LMB_NO_ATTRS);
    return lmb_builder_status(&r->b);
}

static lmb_status put_back(const equaliser *e, lmb_graph *g, const lmb_vid *map, lmb_error *err)
{
    for (int i = 0; i < e->g->n_nodes; i++) {
        const layer *l = &e->layer[i];
        if (!l->weight)
            continue;
        LMB_TRY(lmb_graph_set_data(g, map[l->w], l->weight, err));
        if (l->b != LMB_NONE)
            LMB_TRY(lmb_graph_set_data(g, map[l->b], l->bias, err));
    }
    return LMB_OK;
}

static lmb_status equalise(equaliser *e, lmb_graph **out, lmb_error *err)
{
    lmb_rewrite r = { .node = node, .ctx = e };
    lmb_vid *map = NULL;
    lmb_graph *g = NULL;

    for (int i = 0; i < e->g->n_nodes; i++)
        LMB_TRY(take_layer(e, i, err));
    for (int i = 0; i < e->g->n_nodes; i++)
        if (e->layer[i].weight)
            find_pair(e, i);
    double moved = settled + 1;
    for (int sweep = 0; sweep < SWEEPS && moved > settled; sweep++) {
        moved = 0;
        for (int k = 0; k < e->n_pairs; k++)
            moved = fmax(moved, equalise_pair(e, &e->pair[k]));
    }
    LMB_TRY(lmb_rewrite_run(&r, e->g, &g, &map, err));
    lmb_status st = put_back(e, g, map, err);
    free(map);
    if (st == LMB_OK)
        *out = g;
    else
        lmb_graph_destroy(g);
    return st;
}

lmb_status lmb_pass_equalise(const lmb_graph *folded, lmb_graph **out, int *pairs, lmb_error *err)
{
    size_t n = (size_t)folded->n_nodes + 1;
    equaliser e = { folded, calloc(n, sizeof *e.layer), calloc(n, sizeof *e.pair), calloc(n, sizeof *e.open), 0 };
    lmb_status st = e.layer && e.pair && e.open ? equalise(&e, out, err)
                                                : LMB_FAIL(err, LMB_E_NOMEM, "no memory to equalise %zu nodes", n);

    for (int i = 0; e.layer && i < folded->n_nodes; i++) {
        free(e.layer[i].weight);
        free(e.layer[i].bias);
    }
    free(e.layer);
    free(e.pair);
    free(e.open);
    if (pairs)
        *pairs = e.n_pairs;
    return st;
}
