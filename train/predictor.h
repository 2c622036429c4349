/* train/predictor.h - answers of a model with one set of weights.
 *
 * Idea: weights that will not change are worth preparing: BatchNormalization is folded, neighbours are fused, kernels
 * keep weights in the layout they like (core/passes/fold.h). What an answer depends on is the sample and the weights,
 * never the other rows of the batch.
 *
 *   threads   one run at a time on a predictor; different predictors are independent
 */
#ifndef LMB_TRAIN_PREDICTOR_H
#define LMB_TRAIN_PREDICTOR_H

#include "core/plan/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_predictor lmb_predictor;

/* `state` in canonical order, copied; NULL: as stored in the graph. `model` is not needed after this. */
LMB_MUST_CHECK lmb_status lmb_predictor_create(const lmb_graph *model, const float *state,
                                               const lmb_backend *const *backends, int64_t batch, lmb_predictor **out,
                                               lmb_error *err);
void lmb_predictor_destroy(lmb_predictor *p);
/* Logits [n, classes] of n <= batch rows. Borrowed until the next run. */
LMB_MUST_CHECK lmb_status lmb_predictor_run(lmb_predictor *p, const float *x, int64_t n, const float **logits,
                                            lmb_error *err);
int lmb_predictor_classes(const lmb_predictor *p);

#ifdef __cplusplus
}
#endif
#endif
