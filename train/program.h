/* train/program.h - a model made runnable for training: forward, loss, backward as one plan.
 *
 * Idea: the loss is a function that appends nodes, so cross-entropy, label smoothing and distillation are the
 * same program. One program belongs to one thread; it compiles a plan for each batch size that turns up (the
 * usual one, and the remainder of an epoch) and keeps them.
 *
 * The result of a step is one flat vector with the offsets of the canonical state (core/graph/state.h): gradients
 * of the mean loss for parameters, new content for state with `next`, zeros elsewhere.
 *   owns     a program borrows model, loss and backends
 */
#ifndef LMB_TRAIN_PROGRAM_H
#define LMB_TRAIN_PROGRAM_H

#include "core/cpu/products.h"
#include "core/plan/plan.h"
#include "train/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_program lmb_program;

LMB_MUST_CHECK lmb_status lmb_program_create(const lmb_graph *model, const lmb_loss *loss,
                                             const lmb_backend *const *backends, lmb_program **out, lmb_error *err);
void lmb_program_destroy(lmb_program *p);
/* Memory of plans that are compiled from now on: never less than is fast (SIZE_MAX); or at most so many bytes, for
 * which cheap feature maps are computed twice where that is needed; 0: wherever it saves. No bit of a result
 * changes. */
void lmb_program_memory(lmb_program *p, size_t bytes);
/* Plans that are compiled from now on are looked at only: they take no memory for what they compute, and do not
 * run. */
void lmb_program_describe_only(lmb_program *p);
/* Kernels of plans that are compiled from now on (core/plan/choice.h). Borrowed; NULL: the fixed choice. */
void lmb_program_choices(lmb_program *p, lmb_choices *choices);
/* Gradients of plans that are compiled from now on are those of `scale` times the loss, so that small ones are not lost
 * on the way; the loss is told as it is. 1: as they are. */
void lmb_program_loss_scale(lmb_program *p, float scale);
const lmb_state_layout *lmb_program_layout(const lmb_program *p);
int lmb_program_classes(const lmb_program *p);

typedef struct lmb_program_step {
    int64_t n;            /* rows                                        */
    const float *x;       /* [n, sample]                                 */
    const int64_t *y;     /* [n]                                         */
    const float *state;   /* canonical state, read only                  */
    float *out;           /* [state count] gradients and next content    */
    const lmb_step_info *info;
    lmb_place place;      /* for losses that have a memory               */
    /* Called as the backward pass goes on, with ever smaller `first`: `out` is final from segment `first` of the layout
     * to its end, and is not touched again. May be NULL. */
    void (*final)(void *ctx, int first);
    void *ctx;
    /* [segments] or NULL. Where a gradient is the product of two matrices of few rows and is large, those are left here
     * instead and `out` is not touched: rows > 0. Zeroed at first, then kept from run to run with one `out`; freed by
     * lmb_program_free_factors. */
    lmb_factors *factors;
    float loss;           /* set: mean loss of the rows                  */
    int64_t correct;      /* set: rows whose largest logit is the label  */
} lmb_program_step;

LMB_MUST_CHECK lmb_status lmb_program_run(lmb_program *p, lmb_program_step *s, lmb_error *err);
void lmb_program_free_factors(lmb_factors *f, int n);
/* The same on a device, all of it in the device's memory (aligned to 64 bytes), put on its queue and not waited for.
 *   at      [segments] where each lies in `state` and `out`
 *   feed    as many bytes as lmb_program_feed says; may be NULL if that is 0
 *   final   as above, as soon as what makes `out` final is on the queue
 *   errors  E_UNSUPPORTED: a step of the plan has no kernel there */
typedef struct lmb_program_there {
    int64_t n;
    const float *x;
    const int64_t *y;
    const uint32_t *sample;
    void *feed;
    float *state, *out;
    const size_t *at;
    float *loss, *logits; /* [1], [n, classes] */
    const float *scale;   /* of the loss; read only where lmb_program_loss_scale has said that there is one */
    const lmb_step_there *there;
    const lmb_rank_sums *ranks; /* NULL: one rank */
    void (*final)(void *ctx, int first);
    void *ctx;
} lmb_program_there;
LMB_MUST_CHECK lmb_status lmb_program_enqueue(lmb_program *p, const lmb_program_there *s, lmb_error *err);
/* Bytes that the loss wants fed for n rows (train/loss.h); `into` not NULL: and these bytes, for the rows of `info`. */
LMB_MUST_CHECK lmb_status lmb_program_feed(lmb_program *p, int64_t n, const lmb_step_info *info, const lmb_place *place,
                                           void *into, size_t *bytes, lmb_error *err);
/* Borrowed. */
const lmb_loss *lmb_program_loss(const lmb_program *p);
/* Leave spans of compiling and of the plan's steps on `lane` (core/base/trace.h). Borrowed; NULL: none. */
void lmb_program_trace(lmb_program *p, lmb_trace *t, int lane);
/* Plan for a batch of n rows, compiled if need be: what `limbeck inspect` shows. `factors`: for steps that have
 * some. */
LMB_MUST_CHECK lmb_status lmb_program_plan(lmb_program *p, int64_t n, bool factors, const lmb_plan **out,
                                           lmb_error *err);

/* The number of classes, if the model is one we can train: one input, first output [N, K] f32. */
LMB_MUST_CHECK lmb_status lmb_model_classes(const lmb_graph *g, int *classes, lmb_error *err);
/* The same model in a form for `rows` samples: E_SHAPE unless its first output has a row for each, as who reads it
 * relies on. */
LMB_MUST_CHECK lmb_status lmb_model_rows(const lmb_graph *g, int64_t rows, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
