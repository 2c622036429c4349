/* train/device_wait.c - see device_wait.h. */
#include "train/device_wait.h"

#include <time.h>

#include "core/base/threads.h"

static const double longest_nap_s = 1e-3; /* between two looks */

static lmb_status give_up(lmb_device *d, const lmbi_device_wait *w, lmb_error *err)
{
    d->abandon(d);
    return LMB_FAIL(err, LMB_E_DEVICE,
                    "%s has not done %s within %g s (train.stall_s); it hangs, or is far slower than usual: see "
                    "`nvidia-smi` and the system's log, and start again from the last checkpoint",
                    d->name, w->doing, w->limit_s);
}

lmb_status lmbi_device_reach(lmb_device *d, lmb_device_mark *m, const lmbi_device_wait *w, lmb_error *err)
{
    double start = lmb_seconds();

    for (bool there = false;;) {
        LMB_TRY(d->reached(d, m, &there, err));
        double waited = lmb_seconds() - start, nap = waited / 8;
        if (there)
            return LMB_OK;
        if (w->limit_s > 0 && waited > w->limit_s)
            return give_up(d, w, err);
        nap = nap < longest_nap_s ? nap : longest_nap_s;
        nanosleep(&(struct timespec){ 0, (long)(nap * 1e9) }, NULL);
    }
}

lmb_status lmbi_device_finish(lmb_device *d, lmb_device_mark *m, const lmbi_device_wait *w, lmb_error *err)
{
    LMB_TRY(d->mark(d, m, LMB_QUEUE_MAIN, err));
    LMB_TRY(lmbi_device_reach(d, m, w, err));
    return d->finish(d, err);
}
