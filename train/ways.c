/* train/ways.c - which of several ways a GPU takes for each convolution and product: train.mode, train.measure_s.
 *
 * Idea: in fast mode ways are timed when a shape runs for the first time (core/cuda/contest.h), or known from the
 * folder of `plan_cache`. Alone, that may be in any step. Among ranks nobody may be timing while the others wait in a
 * sum: each rank, which may have another GPU, runs the plans of a training step once before the first step, all meet
 * behind it, and from then on only what is known is taken. Stages of a pipeline on several ranks take what is known.
 */
#include "core/plan/device.h"
#include "train/trainer_internal.h"

/* With nothing in it but zeros: times are those of shapes. */
static lmb_status run_once(const lmb_plan *plan, lmb_error *err)
{
    const lmb_step_info info = { 1, 0, NULL };
    return lmb_plan_run((lmb_plan *)plan, &info, err);
}

static lmb_status run_all(lmb_trainer *t, lmb_error *err)
{
    int64_t rows[LMBI_MOST_ROWS];
    const lmb_plan *plan;
    int n = lmbi_trainer_rows(t, rows);

    for (int i = 0; i < n; i++) {
        LMB_TRY(lmb_program_plan(t->worker[0].program, rows[i], t->factors != NULL, &plan, err));
        LMB_TRY(run_once(plan, err));
    }
    return LMB_OK;
}

static void first_of(void *ctx, float *into, const float *from, size_t at, size_t n)
{
    (void)ctx, (void)at;
    for (size_t i = 0; i < n; i++)
        into[i] = from[i] < into[i] ? from[i] : into[i];
}

/* Nobody goes on before all are here, and none if one failed. */
static lmb_status meet(lmb_comm *c, lmb_status mine, lmb_error *err)
{
    lmb_error unsaid = LMB_ERROR_INIT; /* err has what went wrong first */
    float failed = (float)(mine == LMB_OK ? c->size : c->rank), scratch;
    lmb_status st = lmb_comm_reduce_all(c, &failed, &scratch, 1, first_of, NULL, mine == LMB_OK ? err : &unsaid);

    if (mine != LMB_OK || st != LMB_OK)
        return mine != LMB_OK ? mine : st;
    return (int)failed == c->size
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_PEER, "rank %d could not run its steps; it says why", (int)failed);
}

lmb_status lmbi_trainer_ways(lmb_trainer *t, const char *folder, const lmb_log *log, lmb_error *err)
{
    struct lmb_device *d = t->backends[0] ? t->backends[0]->device : NULL;
    bool fast = lmb_train_is_fast(&t->c), several = t->comm->size > 1;
    lmb_status st = LMB_OK;

    if (!d || !d->measure)
        return LMB_OK;
    d->measure(d, fast, log); /* between runs a tie may end otherwise, which changes last bits */
    if (!fast || !d->measure_within)
        return LMB_OK;
    bool known_only = several && t->pipeline;
    LMB_TRY(d->measure_within(d, known_only ? 0 : t->c.measure_s, folder, log, err));
    if (!several || known_only)
        return LMB_OK;
    if (t->c.measure_s > 0)
        st = run_all(t, err);
    LMB_TRY(meet(t->comm, st, err));
    return d->measure_within(d, 0, folder, log, err);
}
