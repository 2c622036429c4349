/* train/stage.h - a stage of a pipeline made runnable: a part of the model, forwards and, later, backwards.
 *
 * Idea: the training graph (training form, loss) is cut by core/passes/stages.h. What crosses a cut lies in one block
 * of f32, each value a multiple of 64 bytes; its gradients lie in a block of the same form. A stage has several
 * compiled copies, each with memory of its own: between the way there and the way back of one group of samples, a copy
 * keeps what the gradients need, while others are used for other groups.
 *
 *   device   with backends of a device (core/plan/device.h) blocks lie in its memory, and stages are put on its queue:
 *            lmbi_copy_forward_there() and lmbi_copy_backward_there() in place of the host's
 *   owns     a stage borrows model, loss and backends
 *   threads  one at a time
 *   source   Huang et al. 2019, GPipe, arXiv:1811.06965; Narayanan et al. 2019, PipeDream, section 3.2
 */
#ifndef LMB_TRAIN_STAGE_H
#define LMB_TRAIN_STAGE_H

#include "core/passes/stages.h"
#include "core/plan/plan.h"
#include "train/loss.h"

/* The training graph of `rows` samples, cut. */
typedef struct lmbi_cuts {
    int n, last; /* cuts lie before node `last` or earlier                       */
    lmb_stage stage[LMB_MOST_STAGES];
    lmb_graph *g; /* ends with outputs "loss", "logits"                           */
    lmb_vid x, y, loss, logits, feed;
    bool *trained; /* [values] depends on a trained parameter: has a gradient      */
} lmbi_cuts;

/*   stages  0: as many as the model can be cut into
 *   end     [stages] nodes that stages end before, of another cut of this model, with any number of rows; NULL: the
 *           best places
 *   errors  E_ARG where the model can not be cut so */
LMB_MUST_CHECK lmb_status lmbi_cuts_make(const lmb_graph *model, const lmb_loss *loss, int64_t rows, int stages,
                                         const int32_t *end, lmbi_cuts **out, lmb_error *err);
void lmbi_cuts_destroy(lmbi_cuts *c); /* NULL is a no-op */
/* The content of a state value has no memory any more. */
void lmbi_cuts_forget(lmb_graph *g, lmb_vid v);
/* Which values cross the cut in front of node `at`: [values], malloc'd; what one takes in a block, and all. */
LMB_MUST_CHECK lmb_status lmbi_cuts_crossing(const lmbi_cuts *c, int at, bool **crosses, size_t *bytes, lmb_error *err);
size_t lmbi_cuts_padded(const lmb_value *v);
/* Bytes of the block behind a stage; 0 behind the last. */
LMB_MUST_CHECK lmb_status lmbi_cuts_block(const lmbi_cuts *c, int stage, size_t *bytes, lmb_error *err);
/* owner[i]: the stage that trains segment i of the model's layout, 0 where none uses it. */
void lmbi_cuts_owners(const lmbi_cuts *c, const lmb_state_layout *l, int *owner);

#define LMBI_ELSEWHERE SIZE_MAX

typedef struct lmbi_stage_options {
    const lmb_backend *const *backends;
    const lmb_loss *loss;
    const lmb_state_layout *layout; /* of the model; out[i] of a run goes where `from` says */
    const size_t *from;             /* [segments]; LMBI_ELSEWHERE: another rank's            */
    bool small_memory;              /* of lmb_plan_options */
    size_t in_room, out_room;       /* blocks are at least so large */
    lmb_trace *trace;
} lmbi_stage_options;

/* A compiled copy of a stage for a number of rows, and its blocks. */
typedef struct lmbi_copy lmbi_copy;
LMB_MUST_CHECK lmb_status lmbi_copy_create(const lmbi_cuts *c, int stage, const lmbi_stage_options *o, lmbi_copy **out,
                                           lmb_error *err);
void lmbi_copy_destroy(lmbi_copy *c);          /* NULL is a no-op */
float *lmbi_copy_in(lmbi_copy *c);             /* what crosses the cut in front; NULL for the first stage */
float *lmbi_copy_in_gradient(lmbi_copy *c);    /* its gradient, after backward()                          */
float *lmbi_copy_out(lmbi_copy *c);            /* what crosses the cut behind, after forward()            */
float *lmbi_copy_out_gradient(lmbi_copy *c);   /* its gradient, for backward()                            */
size_t lmbi_copy_bytes(const lmbi_copy *c);    /* of memory                                               */
size_t lmbi_copy_in_bytes(const lmbi_copy *c); /* of the block in front, whatever its room                */
size_t lmbi_copy_out_bytes(const lmbi_copy *c);

typedef struct lmbi_stage_run {
    const float *x;   /* [rows, sample]                            */
    const int64_t *y; /* [rows]                                    */
    float *state;     /* canonical state, read only                */
    float *out;       /* gradients and next content, by `from`     */
    const lmb_step_info *info;
    lmb_place place;
    float loss;           /* set by the last stage's backward()        */
    int64_t correct;
} lmbi_stage_run;
LMB_MUST_CHECK lmb_status lmbi_copy_forward(lmbi_copy *c, const lmbi_stage_run *r, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_copy_backward(lmbi_copy *c, lmbi_stage_run *r, lmb_error *err);

/* The same on a device, in its memory, put on its queue and not waited for. */
typedef struct lmbi_stage_there {
    const float *x; /* NULL: no stage of this rank reads it */
    const int64_t *y;
    const uint32_t *sample;
    void *feed;
    float *state, *out;   /* both by `from` of the options */
    float *loss, *logits; /* of the last stage: [1], [rows, classes] */
    const lmb_step_there *there;
} lmbi_stage_there;
LMB_MUST_CHECK lmb_status lmbi_copy_forward_there(lmbi_copy *c, const lmbi_stage_there *r, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_copy_backward_there(lmbi_copy *c, const lmbi_stage_there *r, lmb_error *err);

/* The best places by measuring (train/cuts_time.c): `o` as for the stages, but for `from` and rooms. Runs the model
 * for some steps; needs room for the piece at work and one state vector. */
LMB_MUST_CHECK lmb_status lmbi_cuts_timed(const lmb_graph *model, int64_t rows, int stages, const lmbi_stage_options *o,
                                          lmbi_cuts **out, lmb_error *err);

#endif
