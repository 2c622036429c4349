/* distill/tune/internal.h - a running search, shared by tune.c, journal.c and outcome.c. */
#ifndef LMB_DISTILL_TUNE_INTERNAL_H
#define LMB_DISTILL_TUNE_INTERNAL_H

#include "distill/tune/tune.h"

struct lmb_tune_follow {
    const lmb_tune_stop_config *c;
    const lmb_trials *all;
    int before; /* trials of earlier rounds */
    lmb_trial *trial;
};

LMB_MUST_CHECK lmb_status lmbi_trials_add(lmb_trials *all, const lmb_trial *t, lmb_error *err);

/* ---- journal.c ---- */
/* No journal yet is no error: it is begun. */
LMB_MUST_CHECK lmb_status lmbi_tune_read(const lmb_tune_request *r, lmb_trials *out, double *seconds, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_tune_write(const lmb_tune_request *r, const lmb_trial *t, double seconds,
                                          lmb_error *err);

#endif
