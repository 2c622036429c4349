/* train/cuts_time.h - what pieces of a model are timed on: cuts_time.c on the host, cuts_time_device.c on a device. */
#ifndef LMB_TRAIN_CUTS_TIME_H
#define LMB_TRAIN_CUTS_TIME_H

#include "core/plan/device.h"
#include "train/stage.h"

/* Samples of noise, and what the piece before has left. */
typedef struct lmbi_bench {
    lmb_state_layout *layout;
    float *x, *state, *out, *carry;
    int64_t *y;
    uint32_t *sample;
    size_t *from;
} lmbi_bench;

/* The same in a device's memory. */
typedef struct lmbi_bench_there lmbi_bench_there;
/* *out is to be ended in any case. */
LMB_MUST_CHECK lmb_status lmbi_bench_there_begin(lmb_device *d, const lmbi_cuts *c, const lmb_loss *loss,
                                                 const lmbi_bench *b, lmbi_bench_there **out, lmb_error *err);
void lmbi_bench_there_end(lmbi_bench_there *t);                      /* NULL is a no-op */
const size_t *lmbi_bench_there_at(const lmbi_bench_there *t); /* lmbi_stage_options.from of the pieces */
LMB_MUST_CHECK lmb_status lmbi_bench_there_run(lmbi_bench_there *t, lmbi_copy *c, int runs, double *seconds,
                                               lmb_error *err);

#endif
