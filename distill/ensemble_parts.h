/* distill/ensemble_parts.h - what ensemble.c and ensemble_file.c share. Not for others. */
#ifndef LMB_DISTILL_ENSEMBLE_PARTS_H
#define LMB_DISTILL_ENSEMBLE_PARTS_H

#include "distill/ensemble.h"

struct lmb_ensemble {
    const lmb_dataset *samples;
    lmb_dataset plain; /* the same without labels */
    int classes, members;
    double *sum;       /* [samples, classes] of the members' logits */
    float *answer;     /* [samples, classes] of one                 */
};

#endif
