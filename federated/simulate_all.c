/* federated/simulate_all.c - rounds for which single updates are needed once all are there: by an aggregator that looks
 * at them together, or by what refines the model. They come to rank 0, in memory. */
#include <stdlib.h>
#include <string.h>

#include "federated/simulate_parts.h"

lmb_status lmbi_sim_keep(sim *s, size_t place, const float *delta, lmb_error *err)
{
    s->kept[place] = malloc(s->n * sizeof *delta);
    if (!s->kept[place])
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "no memory for the updates of a round, %zu values each; all of them are needed at once", s->n);
    memcpy(s->kept[place], delta, s->n * sizeof *delta);
    return LMB_OK;
}

/* Updates of other ranks come to rank 0, in order of their place. */
static lmb_status collect(sim *s, lmb_error *err)
{
    size_t bytes = s->n * sizeof **s->kept;

    for (size_t k = 0; k < s->report.selected; k++) {
        int owner = (int)(k % (size_t)s->comm->size);
        if (!s->left[k].examples || owner == 0)
            continue;
        if (s->comm->rank == owner)
            LMB_TRY(s->comm->exchange(s->comm, s->kept[k], 0, NULL, -1, bytes, err));
        if (s->comm->rank == 0) {
            LMB_TRY(s->comm->exchange(s->comm, NULL, -1, s->scratch, owner, bytes, err));
            LMB_TRY(lmbi_sim_keep(s, k, s->scratch, err));
        }
    }
    return LMB_OK;
}

static lmb_status read_kept(void *ctx, int update, size_t at, size_t count, float *out, lmb_error *err)
{
    float *const *kept = ctx;
    (void)err;
    memcpy(out, kept[update] + at, count * sizeof *out);
    return LMB_OK;
}

/* Call `use` on rank 0 with what all ranks have kept. */
static lmb_status with_updates(sim *s, lmb_status (*use)(sim *s, const lmb_updates *u, lmb_error *err), lmb_error *err)
{
    uint64_t *examples = calloc(s->report.selected + 1, sizeof *examples);
    float **in_order = calloc(s->report.selected + 1, sizeof *in_order);
    lmb_updates u = { .n = s->n, .examples = examples, .read = read_kept, .ctx = in_order };
    lmb_status st = examples && in_order ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a round's updates");

    if (st == LMB_OK && !s->collected)
        st = collect(s, err);
    s->collected = true;
    for (size_t k = 0; st == LMB_OK && s->comm->rank == 0 && k < s->report.selected; k++)
        if (s->left[k].examples) {
            examples[u.count] = s->left[k].examples;
            in_order[u.count++] = s->kept[k];
        }
    if (st == LMB_OK && s->comm->rank == 0)
        st = use(s, &u, err);
    free(examples);
    free(in_order);
    return st;
}

static lmb_status aggregate(sim *s, const lmb_updates *u, lmb_error *err)
{
    return s->aggregator->all(s->sum, u, s->delta, err);
}

lmb_status lmbi_sim_all(sim *s, lmb_error *err)
{
    LMB_TRY(with_updates(s, aggregate, err));
    return s->comm->broadcast(s->comm, s->delta, s->n * sizeof *s->delta, 0, err);
}

static lmb_status refine(sim *s, const lmb_updates *u, lmb_error *err)
{
    return s->o->job->refine(s->o->job->ctx, s->report.round, s->before, u, s->model, err);
}

lmb_status lmbi_sim_refine(sim *s, lmb_error *err)
{
    LMB_TRY(with_updates(s, refine, err));
    return s->comm->broadcast(s->comm, s->model, s->n * sizeof *s->model, 0, err);
}
