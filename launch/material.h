/* launch/material.h - what a student learns from: the training part, or samples whose labels nobody may look at
 * (`distill.unlabelled`). */
#ifndef LMB_LAUNCH_MATERIAL_H
#define LMB_LAUNCH_MATERIAL_H

#include "launch/job.h"
#include "train/loss.h"

typedef struct lmb_material {
    lmb_dataset *whole, *view;  /* its own, or NULL */
    const lmb_dataset *samples; /* to be trained on */
} lmb_material;

/* dc NULL or without a share for the teacher: the training part. To be closed on failure, too.
 *   errors  E_SHAPE: other samples than those of `data`; what opening a data set says */
LMB_MUST_CHECK lmb_status lmb_material_open(const lmb_job *j, const lmb_distill_config *dc, lmb_material *m,
                                            lmb_error *err);
void lmb_material_close(lmb_material *m);

#endif
