/* distill/quantize/power.c - see power.h. */
#include "distill/quantize/power.h"

#include <stdlib.h>
#include <string.h>

#include "core/ops/quantize.h"
#include "core/passes/fold.h"

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

/* The Mul of the normalisation: behind the input, or behind its Sub. */
static int find_mul(const lmb_graph *g)
{
    lmb_vid x = lmb_graph_input(g, 0);
    int i = x == LMB_NONE ? -1 : lmb_sole_reader(g, x);

    if (i >= 0 && is(&g->node[i], "Sub"))
        i = lmb_sole_reader(g, g->node[i].out[0]);
    if (i < 0 || !is(&g->node[i], "Mul"))
        return -1;
    const lmb_value *c = &g->value[g->node[i].in[1]];
    return c->role == LMB_ROLE_CONSTANT && c->dtype == LMB_F32 && lmb_shape_count(&c->shape) == 1 ? i : -1;
}

/* The Conv or Gemm that reads node i's output, perhaps flattened. */
static int find_reader(const lmb_graph *g, int i)
{
    do
        i = lmb_sole_reader(g, g->node[i].out[0]);
    while (i >= 0 && (is(&g->node[i], "Flatten") || is(&g->node[i], "Reshape") || is(&g->node[i], "Identity") ||
                      is(&g->node[i], "Dropout")));
    return i >= 0 && (is(&g->node[i], "Conv") || is(&g->node[i], "Gemm")) && g->value[g->node[i].in[1]].data &&
                   lmb_sole_reader(g, g->node[i].in[1]) == i
               ? i
               : -1;
}

static lmb_status scale_weights(lmb_graph *g, lmb_vid w, double f, lmb_error *err)
{
    int64_t n = lmb_shape_count(&g->value[w].shape);
    float *scaled = malloc(sizeof *scaled * (size_t)(n + 1));

    if (!scaled)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to scale %s", g->value[w].name);
    for (int64_t i = 0; i < n; i++)
        scaled[i] = (float)(((const float *)g->value[w].data)[i] * f);
    lmb_status st = lmb_graph_set_data(g, w, scaled, err);
    free(scaled);
    return st;
}

lmb_status lmb_pass_power_input(const lmb_graph *folded, lmb_graph **out, lmb_error *err)
{
    int mul = find_mul(folded), reader = mul < 0 ? -1 : find_reader(folded, mul);
    lmb_graph *g = NULL;

    LMB_TRY(lmb_graph_copy(folded, &g, err));
    if (mul < 0) {
        *out = g;
        return LMB_OK;
    }
    const lmb_node *n = &folded->node[mul];
    float s = *(const float *)folded->value[n->in[1]].data, p = s > 0 ? lmb_power_of_two(s) : 0;
    lmb_status st = LMB_OK;
    if (reader < 0 || !(s > 0))
        st = LMB_FAIL(err, LMB_E_UNSUPPORTED,
                      "node %s: the input's scale %g becomes a power of two only in front of one Conv or Gemm; "
                      "use `scales: any`",
                      n->name, (double)s);
    if (st == LMB_OK)
        st = lmb_graph_set_data(g, n->in[1], &p, err);
    if (st == LMB_OK)
        st = scale_weights(g, folded->node[reader].in[1], (double)s / p, err);
    if (st == LMB_OK)
        *out = g;
    else
        lmb_graph_destroy(g);
    return st;
}
