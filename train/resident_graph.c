/* train/resident_graph.c - the step as one recorded piece of work. See resident.h.
 *
 * Idea: two full batches run step by step, so that libraries have made what they make at first use. At the third the
 * step is recorded, which does nothing; then it runs once step by step and, from the same numbers, once as a replay,
 * and everything that a training keeps is compared to the bit. Only then are full batches replays; other batches (the
 * short last one of an epoch) always go step by step.
 *
 * With several ranks their sums are part of it: on all ranks or, as all hear of each other, on none. Where a sum may
 * end in other bits each time (NVLS, trees), the replay must have moved every chunk of numbers as the step did, up to a
 * quarter of the way: rounding is far below that, and a sum that was left out far above.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/resident_internal.h"

enum { WARM_UP = 2 };

void lmbi_graph_forget(lmbi_resident *r)
{
    if (r->record)
        r->d->record_destroy(r->d, r->record);
    r->record = NULL;
    r->graph = LMBI_WARMING;
    r->warm = 0;
}

static lmb_status record(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    lmb_device *d = r->d;
    lmb_error unsaid = LMB_ERROR_INIT;

    if (r->o.sum && !r->o.sum->captures)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s can not be recorded", r->o.sum->name);
    LMB_TRY(d->record(d, err));
    if (r->o.sum)
        r->o.sum->record(r->o.sum, true);
    lmb_status st = lmbi_resident_enqueue(r, b, err);
    if (r->o.sum)
        r->o.sum->record(r->o.sum, false);
    lmb_status ended = d->recorded(d, &r->record, st == LMB_OK ? err : &unsaid);
    return st != LMB_OK ? st : ended;
}

static lmb_status replay(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    if (r->o.sum)
        r->o.sum->replayed(r->o.sum, b->step);
    return r->d->replay(r->d, r->record, err);
}

/* Memory for the comparison, for as long as it takes. */
typedef struct trial {
    void *before;
    char *eager, *replayed, *began; /* began: `before` on the host */
} trial;

static lmb_status run_both(lmbi_resident *r, const lmbi_resident_batch *b, trial *t, lmb_error *err)
{
    lmb_device *d = r->d;

    LMB_TRY(d->copy(d, t->before, r->moving, r->moving_bytes, err));
    LMB_TRY(lmbi_resident_enqueue(r, b, err));
    LMB_TRY(d->download(d, t->eager, r->moving, r->moving_bytes, err));
    LMB_TRY(d->copy(d, r->moving, t->before, r->moving_bytes, err));
    LMB_TRY(replay(r, b, err));
    LMB_TRY(d->download(d, t->replayed, r->moving, r->moving_bytes, err));
    LMB_TRY(d->download(d, t->began, t->before, r->moving_bytes, err));
    return lmbi_resident_wait(r, err);
}

/* Chunk by chunk: how far the two are from each other, and how far the step went. */
static bool moved_alike(const float *began, const float *eager, const float *replayed, size_t n)
{
    const double most = 0.25, rounding = 1e-6;

    for (size_t lo = 0; lo < n; lo += LMB_STEP_CHUNK) {
        double apart = 0, way = 0, size = 0;
        for (size_t i = lo; i < n && i < lo + LMB_STEP_CHUNK; i++) {
            double d = (double)eager[i] - replayed[i], m = (double)eager[i] - began[i];
            apart += d * d;
            way += m * m;
            size += (double)eager[i] * eager[i];
        }
        if (!(sqrt(apart) <= most * sqrt(way) + rounding * sqrt(size)))
            return false;
    }
    return true;
}

static bool agrees(const lmbi_resident *r, const trial *t)
{
    size_t numbers = (size_t)((const char *)r->tally - r->moving) / sizeof(float);

    if (memcmp(t->eager, t->replayed, r->moving_bytes) == 0)
        return true;
    return r->o.sum && !r->o.sum->same_bits &&
           moved_alike((const float *)(const void *)t->began, (const float *)(const void *)t->eager,
                       (const float *)(const void *)t->replayed, numbers);
}

/* The step is done; *same: the replay did it too. */
static lmb_status verify(lmbi_resident *r, const lmbi_resident_batch *b, bool *same, lmb_error *err)
{
    trial t = { NULL, malloc(r->moving_bytes), malloc(r->moving_bytes), malloc(r->moving_bytes) };
    lmb_status st = t.eager && t.replayed && t.began
                        ? LMB_OK
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare a replay with its step");

    if (st == LMB_OK)
        st = r->d->alloc(r->d, r->moving_bytes, &t.before, err);
    if (st == LMB_OK)
        st = run_both(r, b, &t, err);
    *same = st == LMB_OK && agrees(r, &t);
    if (st == LMB_OK && r->o.sum)
        st = r->o.sum->agree(r->o.sum, same, err);
    if (st == LMB_OK && !*same) {
        st = r->d->upload(r->d, r->moving, t.eager, r->moving_bytes, err);
        st = st == LMB_OK ? lmbi_resident_wait(r, err) : st;
    }
    if (t.before)
        r->d->free(r->d, t.before);
    free(t.eager);
    free(t.replayed);
    free(t.began);
    return st;
}

/* From now on step by step, and why. */
static lmb_status give_up(lmbi_resident *r, const char *why, lmb_error *err)
{
    lmbi_graph_forget(r);
    r->graph = LMBI_EAGER;
    snprintf(r->remark, sizeof r->remark, "steps are not replayed: %s", why);
    return r->o.graph == LMB_GRAPH_ON ? LMB_FAIL(err, LMB_E_UNSUPPORTED, "train.graph is on, but %s", r->remark)
                                      : LMB_OK;
}

static lmb_status try_record(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    bool same = record(r, b, &why) == LMB_OK;

    if (r->o.sum)
        LMB_TRY(r->o.sum->agree(r->o.sum, &same, err));
    if (!same) {
        LMB_TRY(give_up(r, why.msg[0] ? why.msg : "another rank could not record them", err));
        return lmbi_resident_enqueue(r, b, err);
    }
    LMB_TRY(verify(r, b, &same, err));
    if (!same)
        return give_up(r,
                       r->o.sum && !r->o.sum->same_bits
                           ? "a replay did not move the weights as the step that was recorded did"
                           : "a replay did not end in the bits of the step that was recorded",
                       err);
    r->graph = LMBI_REPLAYING;
    snprintf(r->remark, sizeof r->remark, "full batches are replays of one recorded step");
    return LMB_OK;
}

lmb_status lmbi_graph_step(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    bool full = b->total == r->o.full;

    r->b = b;
    if (full && r->graph == LMBI_REPLAYING)
        return replay(r, b, err);
    if (full && r->graph == LMBI_WARMING && r->o.graph != LMB_GRAPH_OFF && r->warm++ >= WARM_UP)
        return try_record(r, b, err);
    return lmbi_resident_enqueue(r, b, err);
}
