/* train/schedule.h - the learning rate as a pure function of the step.
 *
 * Idea: a schedule has no memory; the rate of step k of n is computed from k and n alone, so a resumed run
 * needs nothing stored. Every schedule begins with an optional linear warm-up.
 */
#ifndef LMB_TRAIN_SCHEDULE_H
#define LMB_TRAIN_SCHEDULE_H

#include "core/base/field.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_schedule {
    const char *name, *summary, *source;
    const lmb_field *fields;
    size_t config_size;
    /* Rate after warm-up at step k in [0, n), as a factor on the base rate; `per_epoch` steps an epoch. */
    double (*factor)(const void *config, double k, double n, double per_epoch);
} lmb_schedule;

extern const lmb_schedule *const lmb_schedules[]; /* NULL-terminated */
const lmb_schedule *lmb_schedule_find(const char *name);

/* base lr x warm-up x factor at `step` (from 0) of `total`. warmup: steps, linear from lr / warmup. */
double lmb_schedule_rate(const lmb_schedule *s, const void *config, double lr, int64_t warmup, int64_t step,
                         int64_t total, int64_t per_epoch);

#ifdef __cplusplus
}
#endif
#endif
