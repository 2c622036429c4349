/* launch/update_samples.h - what an update (update.h) learns from: new samples, those of a list, and old ones.
 *
 * Idea: views on views, from the whole to what is trained on. Classes of the new set are those of `data` with the same
 * names; where a set has no names, its labels are numbers that mean the same.
 */
#ifndef LMB_LAUNCH_UPDATE_SAMPLES_H
#define LMB_LAUNCH_UPDATE_SAMPLES_H

#include "launch/update.h"

typedef struct lmb_update_samples {
    lmb_update_config c;
    lmb_dataset *all, *named, *listed, *old, *both;
    const lmb_dataset *fresh;    /* the new ones: the innermost of the first three */
    uint32_t *numbers;           /* of the listed samples; NULL: all are new */
    char learnt[LMB_HASH_HEX];   /* which new samples, with which labels */
} lmb_update_samples;

/* Of the job's section `update`, into zeros; close them, on failure too. The job's data and training part are open.
 *   errors  E_ARG, E_SHAPE, E_IO, E_FORMAT */
LMB_MUST_CHECK lmb_status lmbi_update_samples_open(const lmb_job *j, lmb_update_samples *s, lmb_error *err);
void lmbi_update_samples_close(lmb_update_samples *s);

#endif
