/* distill/search/move_blocks.c - see move_blocks.h. */
#include "distill/search/move_blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int least_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All of the branch's channels, those of least worth first: the fewer are left, the more each is worth. */
static lmb_status loss_of(const lmb_graph *g, const lmb_block *b, const lmb_taylor *taylor, double *loss,
                          int64_t *channels, lmb_error *err)
{
    int64_t n = g->value[b->makes[0]].shape.d[0];
    double *score = malloc(sizeof *score * ((size_t)n + 1));

    if (!score)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to score %lld channels", (long long)n);
    lmb_taylor_rows(taylor, g, b->makes, 2, n, score);
    qsort(score, (size_t)n, sizeof *score, least_first);
    *loss = 1e-12;
    for (int64_t i = 0; i < n; i++)
        *loss += score[i] * (double)n / (double)(n - i);
    *channels = n;
    free(score);
    return LMB_OK;
}

lmb_status lmbi_blocks_find(lmb_moves *m, const lmb_taylor *taylor, lmb_latency *latency, lmb_error *err)
{
    LMB_TRY(lmb_blocks_find(m->g, &m->block, &m->n_blocks, err));
    for (int i = 0; i < m->n_blocks; i++) {
        lmb_move move = { .kind = LMB_MOVE_BLOCK, .class = -1, .basis = -1, .block = i };
        const char *name = m->g->value[m->block[i].weight].name;
        if (strlen(name) > 150) /* a longer name is no key */
            continue;
        snprintf(move.what, sizeof move.what, "%.150s", name);
        LMB_TRY(loss_of(m->g, &m->block[i], taylor, &move.loss, &move.from, err));
        LMB_TRY(lmbi_moves_add(m, &move, latency, err));
    }
    return LMB_OK;
}

lmb_status lmbi_blocks_apply(const lmb_moves *m, const int *which, int n, lmb_graph **g, lmb_error *err)
{
    const char **weight = malloc(sizeof *weight * ((size_t)n + 1));
    lmb_graph *small = NULL;
    int k = 0;

    if (!weight)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d moves", n);
    for (int i = 0; i < n; i++)
        if (m->move[which[i]].kind == LMB_MOVE_BLOCK)
            weight[k++] = m->move[which[i]].what;
    lmb_status st = k > 0 ? lmb_pass_drop_blocks(*g, weight, k, &small, err) : LMB_OK;
    if (st == LMB_OK && k > 0) {
        lmb_graph_destroy(*g);
        *g = small;
    }
    free(weight);
    return st;
}

/* Is there nothing of the class outside the block? */
static bool class_goes(const lmb_moves *m, const lmb_block *b, int class)
{
    const lmb_axis_class *c = &m->map->class[class];

    for (int i = 0; i < c->n_members; i++)
        if (m->g->value[c->member[i].value].role == LMB_ROLE_PARAMETER && !b->gone[c->member[i].value])
            return false;
    return true;
}

bool lmbi_blocks_clash(const lmb_moves *m, const lmb_move *block, const lmb_move *other)
{
    const lmb_block *b = &m->block[block->block];

    if (other->kind == LMB_MOVE_SHRINK)
        return class_goes(m, b, other->class);
    lmb_vid v = lmb_graph_find(m->g, other->what);
    return v != LMB_NONE && b->gone[v];
}
