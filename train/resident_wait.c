/* train/resident_wait.c - the host waits for the device, but not for ever.
 *
 * Idea: a wait looks again and again instead of handing itself to the driver, which would not come back from a device
 * that hangs. With several ranks it is most often another one that is late, and the ranks' sum finds out which; alone,
 * the device is named after train.stall_s and abandoned: nothing that would wait for it is called any more.
 */
#include <time.h>

#include "core/base/threads.h"
#include "train/resident_internal.h"

static const double patience_s = 1, longest_nap_s = 1e-3; /* before the ranks' sum is asked; between two looks */

static lmb_status give_up(lmbi_resident *r, int64_t step, lmb_error *err)
{
    r->d->abandon(r->d);
    return LMB_FAIL(err, LMB_E_DEVICE,
                    "%s has not done its work up to step %lld within %g s (train.stall_s); it hangs, or is far slower "
                    "than usual: see `nvidia-smi`, the system's log, and start again from the last checkpoint",
                    r->d->name, (long long)step, r->o.limit_s);
}

lmb_status lmbi_resident_reach(lmbi_resident *r, lmb_device_mark *m, int64_t step, lmb_error *err)
{
    double start = lmb_seconds();

    for (bool there = false, asked = false;;) {
        LMB_TRY(r->d->reached(r->d, m, &there, err));
        double waited = lmb_seconds() - start, nap = waited / 8;
        if (there)
            return LMB_OK;
        if (r->o.sum && !asked && waited > patience_s) {
            LMB_TRY(r->o.sum->wait(r->o.sum, step, err));
            asked = true;
        }
        if (r->o.limit_s > 0 && waited > r->o.limit_s)
            return give_up(r, step, err);
        nap = nap < longest_nap_s ? nap : longest_nap_s;
        nanosleep(&(struct timespec){ 0, (long)(nap * 1e9) }, NULL);
    }
}

lmb_status lmbi_resident_wait(lmbi_resident *r, lmb_error *err)
{
    int64_t step = r->b ? r->b->step : r->step;

    if (r->o.sum)
        return r->o.sum->wait(r->o.sum, step, err);
    LMB_TRY(r->d->mark(r->d, r->end, LMB_QUEUE_MAIN, err));
    LMB_TRY(lmbi_resident_reach(r, r->end, step, err));
    return r->d->finish(r->d, err); /* what failed on the way */
}
