/* train/optimizer.h - how a gradient changes weights.
 *
 * Idea: an optimizer is a row: option rows, how many state vectors ("slots") as long as the weights it
 * keeps, and one fused step over a contiguous range. The caller owns weights, gradients and slots, which are
 * ranges of flat vectors with the layout of the canonical state; slots start at zero.
 *
 * Semantics are those of torch.optim (1.13) of the same name, bit for bit in the order of operations where
 * f32 allows it: weight_decay is L2 added to the gradient, except in adamw, where it is decoupled.
 *   threads  pure on distinct ranges
 */
#ifndef LMB_TRAIN_OPTIMIZER_H
#define LMB_TRAIN_OPTIMIZER_H

#include "core/base/field.h"
#include "core/plan/device_step.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_MAX_SLOTS = 3 };

typedef struct lmb_opt_range {
    float *w;                     /* [n] weights, updated in place                    */
    const float *g;               /* [n] gradient of the mean loss                    */
    float *slot[LMB_MAX_SLOTS];   /* [n] each                                         */
    size_t n;
    double lr;                    /* of this step, from the schedule                  */
    double decay;                 /* factor on weight_decay and l1: 0 for biases      */
    int64_t t;                    /* number of this step, from 1                      */
} lmb_opt_range;

typedef struct lmb_optimizer {
    const char *name, *summary, *source;
    const lmb_field *fields;
    size_t config_size;
    int n_slots;
    void (*step)(const void *config, const lmb_opt_range *r);
    /* The same for a device: constants of step t (from 1) at rate lr. */
    lmb_rule (*rule)(const void *config, double lr, int64_t t);
    /* How far a step goes, in rates, if the gradient is 1 and always was; *kept: 0 before the first step. NULL: that
     * depends on the gradient. */
    double (*reach)(const void *config, double *kept);
} lmb_optimizer;

extern const lmb_optimizer *const lmb_optimizers[]; /* NULL-terminated */
const lmb_optimizer *lmb_optimizer_find(const char *name);

/* L1 and L2 penalties, shared by the rows: gradient seen by the optimizer at one element. */
static inline float lmb_penalised(float g, float w, float l2, float l1)
{
    g += l2 * w;
    return l1 != 0 ? g + (w > 0 ? l1 : w < 0 ? -l1 : 0) : g;
}

#ifdef __cplusplus
}
#endif
#endif
