/* core/plan/device_time.c - how long each step of a plan takes on a device: lmb_plan_timing there.
 *
 * Idea: a clock of the host tells nothing about work that is put on a queue. So the queue's own time is taken between
 * any two steps. Where steps are short the queue waits for the host between them, which a training does not see, as its
 * steps are recorded and replayed: so the run is recorded with its clocks, and replayed. What can not be recorded (a
 * step that makes a trip to the host) is put on the queue as it is, and its times have the host's in them.
 */
#include <stdlib.h>

#include "core/plan/device.h"
#include "core/plan/internal.h"

static lmb_status make_clocks(lmb_plan *p, lmb_error *err)
{
    if (p->clock)
        return LMB_OK;
    p->clock = calloc((size_t)p->n_steps + 1, sizeof *p->clock);
    if (!p->clock)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clocks", p->n_steps + 1);
    for (int i = 0; i <= p->n_steps; i++)
        LMB_TRY(p->device->mark_create(p->device, &p->clock[i], err));
    return LMB_OK;
}

void lmbi_device_drop_clocks(lmb_plan *p)
{
    for (int i = 0; p->clock && i <= p->n_steps; i++)
        if (p->clock[i])
            p->device->mark_destroy(p->device, p->clock[i]);
    free(p->clock);
    p->clock = NULL;
}

static lmb_status put_all(lmb_plan *p, const lmb_step_info *step, const lmb_step_info *there, lmb_error *err)
{
    lmb_device *d = p->device;

    for (int i = 0; i < p->n_steps; i++) {
        LMB_TRY(d->stamp(d, p->clock[i], err));
        LMB_TRY(lmbi_device_step(p, i, step, there, NULL, err));
    }
    return d->stamp(d, p->clock[p->n_steps], err);
}

/* All steps replayed at once; false: they can not be recorded, and nothing was done. */
static bool replay_all(lmb_plan *p, const lmb_step_info *step, const lmb_step_info *there)
{
    lmb_error why = LMB_ERROR_INIT, late = LMB_ERROR_INIT;
    lmb_device_record *record = NULL;
    lmb_device *d = p->device;

    for (int i = 0; i < p->n_steps; i++)
        if (lmbi_device_leaves(p, i))
            return false;
    if (!d->record || d->record(d, &why) != LMB_OK)
        return false;
    lmb_status put = put_all(p, step, there, &why), st = d->recorded(d, &record, &late);
    bool done = put == LMB_OK && st == LMB_OK && d->replay(d, record, &why) == LMB_OK && d->finish(d, &why) == LMB_OK;
    if (st == LMB_OK)
        d->record_destroy(d, record);
    return done;
}

/* seconds[i]: between clocks i and i + 1 */
static lmb_status read_clocks(const lmb_plan *p, double *seconds, lmb_error *err)
{
    lmb_device *d = p->device;

    LMB_TRY(d->finish(d, err));
    for (int i = 0; i < p->n_steps; i++)
        LMB_TRY(d->elapsed(d, p->clock[i], p->clock[i + 1], &seconds[i], err));
    return LMB_OK;
}

/* A driver may not read clocks that a replay has set: then the steps run once more. */
static lmb_status time_all(lmb_plan *p, const lmb_step_info *step, const lmb_step_info *there, double *seconds,
                           lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;

    p->replayed = replay_all(p, step, there) && read_clocks(p, seconds, &why) == LMB_OK;
    if (p->replayed)
        return LMB_OK;
    LMB_TRY(put_all(p, step, there, err));
    return read_clocks(p, seconds, err);
}

lmb_status lmbi_device_timed(lmb_plan *p, const lmb_step_info *step, const lmb_step_info *there, lmb_error *err)
{
    LMB_TRY(make_clocks(p, err));
    double *seconds = calloc((size_t)p->n_steps + 1, sizeof *seconds);
    if (!seconds)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the times of %d steps", p->n_steps);
    lmb_status st = time_all(p, step, there, seconds, err);
    for (int i = 0; i < p->n_steps && st == LMB_OK; i++)
        lmbi_plan_took(&p->step[i], seconds[i]);
    free(seconds);
    return st;
}
