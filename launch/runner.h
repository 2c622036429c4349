/* launch/runner.h - a training as the commands run it: progress, checkpoints, history, noticeboard, resuming. */
#ifndef LMB_LAUNCH_RUNNER_H
#define LMB_LAUNCH_RUNNER_H

#include "train/trainer.h"

typedef struct lmb_run_request {
    const char *run, *stage;       /* files go to <run>/<stage>                             */
    const char *config;            /* resolved, as text: what a checkpoint must agree with  */
    const lmb_train_config *train;
    lmb_graph *model;              /* trained; ends with the chosen weights inside          */
    const lmb_loss *loss;
    const lmb_dataset *data, *validation;
    bool fresh;
    double began;                  /* the command: lmb_seconds(); what train.minutes counts from */
    const char *plan_cache;        /* off, on or a folder: launch/plan_cache.h              */
    /* A hand in the training (lmb_train_watch.stepped); also called before the first step, wherever that is. NULL:
     * none but that sparse tensors keep their zeros (lmb_masks_hold) */
    lmb_status (*stepped)(void *hand, lmb_trainer *t, lmb_error *err);
    void *hand;
    int64_t least_steps; /* lmb_train_watch.least_steps: that the hand's schedule needs */
    /* What comes from another training, and goes to one, beside the weights; rank 0, the state being whole there.
     * begins: before the first step, where no checkpoint goes on; ends: after the last, also of an earlier run. NULL:
     * nothing does */
    lmb_status (*begins)(void *other, lmb_trainer_state *s, lmb_error *err);
    lmb_status (*ends)(void *other, const lmb_trainer_state *s, lmb_error *err);
    void *other;
    lmb_trace *trace;              /* launch/tracing.h; NULL: none */
} lmb_run_request;

/* Train from wherever an earlier call was stopped. E_STOPPED: on request; state is saved. */
LMB_MUST_CHECK lmb_status lmb_run_training(lmb_comm *comm, const lmb_run_request *q, lmb_error *err);
/* Run `fn` as part of the job this process was started in; a rank that fails ends the others. */
LMB_MUST_CHECK lmb_status lmb_with_ranks(lmb_status (*fn)(void *ctx, lmb_comm *comm, lmb_error *err), void *ctx,
                                         lmb_error *err);

#endif
