/* distill/prune/pattern.c - see pattern.h. */
#include "distill/prune/pattern.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/ops/gemm.h"

enum { MOST = 32 };

lmb_status lmb_pattern_parse(const char *text, lmb_pattern *out, lmb_error *err)
{
    int n, m, read = 0;

    *out = (lmb_pattern){ 0, 0 };
    if (!*text)
        return LMB_OK;
    if (strlen(text) > 5 || sscanf(text, "%d:%d%n", &n, &m, &read) != 2 || text[read] || n < 1 || n >= m || m > MOST)
        return LMB_FAIL(err, LMB_E_ARG, "pattern '%s'; it is N:M with 1 <= N < M <= %d, such as \"2:4\"", text, MOST);
    *out = (lmb_pattern){ n, m };
    return LMB_OK;
}

static int axis_of(const lmb_node *node)
{
    if (strcmp(node->op->name, "Conv") == 0)
        return 1;
    if (strcmp(node->op->name, "MatMul") == 0)
        return 0;
    if (strcmp(node->op->name, "Gemm") == 0)
        return ((const lmb_gemm_attr *)node->attr)->transB ? 1 : 0;
    return -1;
}

int lmb_pattern_axis(const lmb_graph *g, lmb_vid weight)
{
    int axis = -1;

    if (g->value[weight].shape.n < 2)
        return -1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->node[i].n_in; k++) {
            if (g->node[i].in[k] != weight)
                continue;
            int a = k == 1 ? axis_of(&g->node[i]) : -1;
            if (a < 0 || (axis >= 0 && a != axis) ||
                (strcmp(g->node[i].op->name, "MatMul") == 0 && g->value[weight].shape.n != 2))
                return -1;
            axis = a;
        }
    return axis;
}

/* Rows of m along an axis of `length`: `n` in all, `each` along it; the weights of a row are `inner` apart. */
typedef struct rows { int64_t n, each, inner, length; int m; } rows;

static rows rows_of(const lmb_shape *s, int axis, int m)
{
    rows r = { 1, s->d[axis] / m, 1, s->d[axis], m };

    for (int a = 0; a < s->n; a++)
        *(a < axis ? &r.n : &r.inner) *= a == axis ? 1 : s->d[a];
    r.n *= r.each * r.inner;
    return r;
}

static int64_t first_of(const rows *r, int64_t row)
{
    int64_t inner = row % r->inner, group = row / r->inner % (r->each ? r->each : 1),
            outer = row / r->inner / (r->each ? r->each : 1);
    return (outer * r->length + group * r->m) * r->inner + inner;
}

bool lmb_pattern_prune(float *w, const lmb_shape *s, int axis, int m, int zeros)
{
    rows r = rows_of(s, axis, m);
    bool changed = false;

    for (int64_t i = 0; i < r.n; i++) {
        float *row = w + first_of(&r, i);
        bool gone[MOST] = { false };
        for (int z = 0; z < zeros; z++) {
            int least = -1;
            for (int k = 0; k < m; k++)
                if (!gone[k] && (least < 0 || fabsf(row[k * r.inner]) < fabsf(row[least * r.inner])))
                    least = k;
            gone[least] = true;
            changed |= row[least * r.inner] != 0;
            row[least * r.inner] = 0;
        }
    }
    return changed;
}

void lmb_pattern_count(const float *w, const lmb_shape *s, int axis, lmb_pattern p, int64_t *n, int64_t *over)
{
    rows r = rows_of(s, axis, p.m);

    *n = r.n;
    *over = 0;
    for (int64_t i = 0; i < r.n; i++) {
        const float *row = w + first_of(&r, i);
        int there = 0;
        for (int k = 0; k < p.m; k++)
            there += row[k * r.inner] != 0;
        *over += there > p.n;
    }
}
