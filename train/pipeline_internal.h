/* train/pipeline_internal.h - the inside of a pipeline: pipeline.c makes it and runs it on the host,
 * pipeline_device.c on GPUs. */
#ifndef LMB_TRAIN_PIPELINE_INTERNAL_H
#define LMB_TRAIN_PIPELINE_INTERNAL_H

#include "core/plan/device.h"
#include "train/pipeline.h"

enum { LMBI_FORMS = 4 }; /* numbers of rows that are kept compiled: whole microbatches, and the last ones of batches */

/* All that is compiled for microbatches of so many rows: copy[i * stages of this rank + stage]. */
typedef struct lmbi_form {
    int64_t rows, used;
    lmbi_cuts *cuts;
    lmbi_copy **copy;
    size_t in_bytes, out_bytes;
} lmbi_form;

struct lmbi_pipeline {
    lmbi_pipeline_options o;
    lmb_device *device;           /* NULL: the host */
    int me, first, n;             /* rank in the pipeline; stages [first, first + n) */
    int in_flight;                /* microbatches between their way there and back   */
    lmbi_form form[LMBI_FORMS];   /* 0: of whole microbatches                        */
    int32_t end[LMB_MOST_STAGES]; /* where the model is cut                     */
    int64_t clock;
    lmb_state_layout local;
    int *owner;
    size_t *from;
    size_t *there;  /* [segments] on the device, of own ones; else LMBI_ELSEWHERE  */
    size_t *offset; /* [local.n] in the whole state                                */
    void *landing;  /* on the device: what has come from the rank in front          */
    lmb_trace *trace;
    double all, waited;
};

/* Compiled for so many rows. */
LMB_MUST_CHECK lmb_status lmbi_pipeline_form(lmbi_pipeline *p, int64_t rows, lmbi_form **out, lmb_error *err);
/* The copy that microbatch i, of so many rows, uses of this rank's stage k. */
LMB_MUST_CHECK lmb_status lmbi_pipeline_copy(lmbi_pipeline *p, int64_t rows, int i, int k, lmbi_copy **out,
                                             lmb_error *err);

#endif
