/* core/passes/stages.c - see stages.h. */
#include "core/passes/stages.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/op.h"

static const double per_byte = 4, per_crossing_byte = 32;

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory to cut a graph of %d nodes", g->n_nodes)

/* What is known of a graph whose cuts are looked for. */
typedef struct survey {
    const lmb_graph *g;
    bool *needed;
    int *first, *last;   /* [values]: needed nodes that use it first and last; -1: none */
    double *macs, *cost; /* [nodes + 1]: of all before                                  */
    size_t *bytes;       /* [nodes + 1]: that cross a cut here                          */
    int *values;         /* [nodes + 1]                                                 */
    bool *may;           /* [nodes + 1]                                                 */
} survey;

static bool runs(const survey *s, int node)
{
    const lmb_node *n = &s->g->node[node];
    bool any = false;
    for (int k = 0; k < n->n_out; k++)
        any |= s->needed[n->out[k]];
    return any;
}

static bool is_one_of(const lmb_node *n, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(n->op->name, *names) == 0)
            return true;
    return false;
}

/* Would the two be one kernel? */
static bool belong_together(const lmb_node *maker, const lmb_node *reader)
{
    static const char *const weighted[] = { "Conv", "BatchNormalization", NULL }, *const sums[] = { "Add", NULL };
    static const char *const after[] = { "Add", "Relu", "Clip", NULL }, *const functions[] = { "Relu", "Clip", NULL };
    return (is_one_of(maker, weighted) && is_one_of(reader, after)) ||
           (is_one_of(maker, sums) && is_one_of(reader, functions));
}

static void forbid(survey *s, int from, int to)
{
    for (int at = from; at <= to; at++)
        s->may[at] = false;
}

/* A value crosses the cuts before nodes made + 1 .. last. */
static void let_cross(survey *s, lmb_vid v)
{
    const lmb_value *x = &s->g->value[v];

    if (x->node == LMB_NONE) {
        if (lmb_role_is_state(x->role) && s->last[v] >= 0)
            forbid(s, s->first[v] + 1, s->last[v]);
        return;
    }
    if (x->dtype != LMB_F32)
        forbid(s, x->node + 1, s->last[v]);
    for (int at = x->node + 1; at <= s->last[v]; at++) {
        s->bytes[at] += lmb_shape_bytes(&x->shape, x->dtype);
        s->values[at]++;
    }
}

static void look_at_node(survey *s, int i)
{
    const lmb_graph *g = s->g;
    const lmb_node *n = &g->node[i];
    lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
    lmb_call call;

    s->macs[i + 1] = s->macs[i];
    s->cost[i + 1] = s->cost[i];
    if (!runs(s, i))
        return;
    lmb_call_of(g, n, in, out, &call);
    lmb_cost c = lmb_call_cost(&call);
    s->macs[i + 1] += c.macs;
    s->cost[i + 1] += c.macs + per_byte * c.bytes;
    for (int k = 0; k < n->n_in; k++) {
        if (n->in[k] == LMB_NONE)
            continue;
        const lmb_value *x = &g->value[n->in[k]];
        s->first[n->in[k]] = s->first[n->in[k]] < 0 ? i : s->first[n->in[k]];
        s->last[n->in[k]] = i;
        if (x->node != LMB_NONE && belong_together(&g->node[x->node], n))
            forbid(s, x->node + 1, i);
    }
}

/* The new content of state is made where the state is used. */
static void keep_next_near(survey *s, lmb_vid v)
{
    lmb_vid next = s->g->value[v].next;
    int made = next == LMB_NONE ? -1 : s->g->value[next].node;

    if (made < 0 || s->last[v] < 0)
        return;
    s->first[v] = made < s->first[v] ? made : s->first[v];
    s->last[v] = made > s->last[v] ? made : s->last[v];
}

static void survey_end(survey *s)
{
    free(s->needed);
    free(s->first);
    free(s->last);
    free(s->macs);
    free(s->cost);
    free(s->bytes);
    free(s->values);
    free(s->may);
}

static lmb_status survey_begin(const lmb_graph *g, int last, survey *s, lmb_error *err)
{
    size_t v = (size_t)g->n_values + 1, n = (size_t)g->n_nodes + 2;

    *s = (survey){ g,
                   malloc(v * sizeof *s->needed),
                   malloc(v * sizeof *s->first),
                   malloc(v * sizeof *s->last),
                   calloc(n, sizeof *s->macs),
                   calloc(n, sizeof *s->cost),
                   calloc(n, sizeof *s->bytes),
                   calloc(n, sizeof *s->values),
                   malloc(n * sizeof *s->may) };
    if (!s->needed || !s->first || !s->last || !s->macs || !s->cost || !s->bytes || !s->values || !s->may)
        return NOMEM(err);
    LMB_TRY(lmb_graph_needed(g, true, s->needed, err));
    for (int i = 0; i < g->n_values; i++)
        s->first[i] = s->last[i] = -1;
    for (int i = 0; i <= g->n_nodes; i++)
        s->may[i] = i > 0 && i <= last && i < g->n_nodes;
    for (int i = 0; i < g->n_nodes; i++)
        look_at_node(s, i);
    for (int i = 0; i < g->n_values; i++)
        keep_next_near(s, i);
    for (int i = 0; i < g->n_values; i++)
        let_cross(s, i);
    for (int i = 0; i < g->n_outputs; i++) /* made early, one would have to travel to the end */
        if (g->value[g->output[i].value].node != LMB_NONE)
            forbid(s, g->value[g->output[i].value].node + 1, g->n_nodes);
    return LMB_OK;
}

/* ---- the best cuts ---- */

/* best[k][i]: the first places[i] nodes as k + 1 stages. */
typedef struct state {
    double dearest;
    size_t bytes;
    int from;
} state;

static double stage_cost(const survey *s, int begin, int end)
{
    return s->cost[end] - s->cost[begin] + per_crossing_byte * (double)s->bytes[end];
}

static bool better(double dearest, size_t bytes, const state *than)
{
    return dearest < than->dearest || (dearest <= than->dearest && bytes < than->bytes);
}

static void extend(const survey *s, const int *place, int n_places, const state *before, state *after)
{
    for (int j = 0; j < n_places; j++) {
        after[j] = (state){ DBL_MAX, 0, -1 };
        for (int i = 0; i < j; i++) {
            if (before[i].dearest >= DBL_MAX)
                continue;
            double own = stage_cost(s, place[i], place[j]), dearest = own > before[i].dearest ? own : before[i].dearest;
            size_t bytes = before[i].bytes + s->bytes[place[j]];
            if (better(dearest, bytes, &after[j]))
                after[j] = (state){ dearest, bytes, i };
        }
    }
}

static void fill(const survey *s, const int *place, const state *best, int n_places, int n, lmb_stage *stages)
{
    int at = n_places - 1;
    for (int k = n - 1; k >= 0; k--) {
        int from = best[(size_t)k * (size_t)n_places + (size_t)at].from, begin = from < 0 ? 0 : place[from],
            end = place[at];
        stages[k] =
            (lmb_stage){ begin,         end,           s->macs[end] - s->macs[begin], s->cost[end] - s->cost[begin],
                         s->bytes[end], s->values[end] };
        at = from;
    }
}

static lmb_status find_cuts(const survey *s, int n, lmb_stage *stages, lmb_error *err)
{
    const lmb_graph *g = s->g;
    int n_places = 0, *place = malloc(((size_t)g->n_nodes + 1) * sizeof *place);

    if (!place)
        return NOMEM(err);
    for (int i = 1; i < g->n_nodes; i++)
        if (s->may[i])
            place[n_places++] = i;
    place[n_places++] = g->n_nodes;
    state *best = malloc((size_t)n * (size_t)n_places * sizeof *best);
    lmb_status st = best ? LMB_OK : NOMEM(err);
    if (best && n_places < n)
        st = LMB_FAIL(err, LMB_E_ARG, "the model can be cut at %d places, into %d stages at most; %d are asked for",
                      n_places - 1, n_places, n);
    if (st == LMB_OK) {
        for (int j = 0; j < n_places; j++)
            best[j] = (state){ stage_cost(s, 0, place[j]), s->bytes[place[j]], -1 };
        for (int k = 1; k < n; k++)
            extend(s, place, n_places, best + (size_t)(k - 1) * (size_t)n_places, best + (size_t)k * (size_t)n_places);
        fill(s, place, best, n_places, n, stages);
    }
    free(best);
    free(place);
    return st;
}

/* Measured times, scaled to the sum of the estimates, so that what crosses a cut has the same weight beside them. */
static void take_times(survey *s, const lmb_stage_times *t)
{
    const int nodes = s->g->n_nodes;
    double all = 0, so_far = 0, sum = s->cost[nodes];
    int at = 0;

    for (int k = 0; k < t->n; k++)
        all += t->seconds[k];
    for (int k = 0; k < t->n && all > 0; k++) {
        so_far += t->seconds[k];
        for (; at < t->piece[k].end; at++)
            s->may[at] = s->may[at] && k && at == t->piece[k].begin;
        s->cost[t->piece[k].end] = sum * so_far / all;
    }
}

lmb_status lmb_stages_cut(const lmb_graph *g, int last, int n, const lmb_stage_times *times, lmb_stage *stages,
                          lmb_error *err)
{
    survey s;
    if (n < 1 || n > LMB_MOST_STAGES)
        return LMB_FAIL(err, LMB_E_ARG, "%d stages; there can be 1 to %d", n, LMB_MOST_STAGES);
    lmb_status st = survey_begin(g, last, &s, err);
    if (st == LMB_OK && times)
        take_times(&s, times);
    if (st == LMB_OK)
        st = find_cuts(&s, n, stages, err);
    survey_end(&s);
    return st;
}

lmb_status lmb_stages_most(const lmb_graph *g, int last, int *n, lmb_error *err)
{
    survey s;
    lmb_status st = survey_begin(g, last, &s, err);

    *n = 1;
    for (int i = 1; i < g->n_nodes && st == LMB_OK; i++)
        *n += s.may[i];
    survey_end(&s);
    return st;
}

lmb_status lmb_stages_at(const lmb_graph *g, int last, int n, const int32_t *end, lmb_stage *stages, lmb_error *err)
{
    survey s;
    lmb_status st = survey_begin(g, last, &s, err);

    for (int k = 0, begin = 0; k < n && st == LMB_OK; k++) {
        int to = k == n - 1 ? g->n_nodes : end[k];
        if (to <= begin || to > g->n_nodes || (k < n - 1 && !s.may[to]))
            st = LMB_FAIL(err, LMB_E_ARG, "stage %d can not end before node %d of a graph of %d nodes", k, to,
                          g->n_nodes);
        else
            stages[k] = (lmb_stage){ begin,       to,          s.macs[to] - s.macs[begin], s.cost[to] - s.cost[begin],
                                     s.bytes[to], s.values[to] };
        begin = to;
    }
    survey_end(&s);
    return st;
}

lmb_status lmb_stages_crossing(const lmb_graph *g, int at, bool *crosses, lmb_error *err)
{
    survey s;
    lmb_status st = survey_begin(g, g->n_nodes, &s, err);

    for (int v = 0; v < g->n_values && st == LMB_OK; v++)
        crosses[v] = g->value[v].node != LMB_NONE && g->value[v].node < at && s.last[v] >= at;
    survey_end(&s);
    return st;
}

/* ---- a stage by itself ---- */

static lmb_status bring(const lmb_graph *g, int begin, lmb_vid v, lmb_graph *to, lmb_vid *map, lmb_error *err)
{
    const lmb_value *x = &g->value[v];
    bool from_before = x->node != LMB_NONE && x->node < begin;

    if (map[v] != LMB_NONE)
        return LMB_OK;
    LMB_TRY(lmb_graph_value(to, from_before ? LMB_ROLE_INPUT : x->role, x->name, x->dtype, &x->shape,
                            from_before ? NULL : x->data, &map[v], err));
    to->value[map[v]].reduce = x->reduce;
    to->value[map[v]].frozen = x->frozen;
    to->value[map[v]].decay = x->decay;
    return LMB_OK;
}

static lmb_status copy_nodes(const survey *s, int begin, int end, lmb_graph *to, lmb_vid *map, lmb_error *err)
{
    const lmb_graph *g = s->g;
    lmb_vid in[LMB_MAX_IN], out[LMB_MAX_OUT];

    for (int i = begin; i < end; i++) {
        const lmb_node *n = &g->node[i];
        if (!runs(s, i))
            continue;
        for (int k = 0; k < n->n_in; k++) {
            if (n->in[k] != LMB_NONE)
                LMB_TRY(bring(g, begin, n->in[k], to, map, err));
            in[k] = n->in[k] == LMB_NONE ? LMB_NONE : map[n->in[k]];
        }
        LMB_TRY(lmb_graph_node_like(to, n, in, out, err));
        for (int k = 0; k < n->n_out; k++) {
            LMB_TRY(lmb_graph_rename(to, out[k], g->value[n->out[k]].name, err));
            map[n->out[k]] = out[k];
        }
    }
    for (int v = 0; v < g->n_values; v++)
        if (map[v] != LMB_NONE && lmb_role_is_state(g->value[v].role) && g->value[v].next != LMB_NONE)
            to->value[map[v]].next = map[g->value[v].next];
    return LMB_OK;
}

lmb_status lmb_stages_extract(const lmb_graph *g, int begin, int end, lmb_graph **out, lmb_vid **map_out,
                              lmb_error *err)
{
    lmb_graph *to = NULL;
    lmb_vid *map = malloc(((size_t)g->n_values + 1) * sizeof *map);
    survey s;
    lmb_status st = survey_begin(g, g->n_nodes, &s, err);

    if (st == LMB_OK && !map)
        st = NOMEM(err);
    if (st == LMB_OK)
        st = lmb_graph_create(&to, err);
    for (int v = 0; v < g->n_values && map; v++)
        map[v] = LMB_NONE;
    if (st == LMB_OK)
        st = copy_nodes(&s, begin, end, to, map, err);
    survey_end(&s);
    if (st != LMB_OK) {
        lmb_graph_destroy(to);
        free(map);
        return st;
    }
    *out = to;
    *map_out = map;
    return LMB_OK;
}
