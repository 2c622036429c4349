/* train/device_evaluate.h - how good weights are on some data, found out on a device.
 *
 * Idea: the inference form of a model as a plan on the device, kept from one validation to the next. In a training the
 * weights, or their average, are there already and the plan reads them where they lie: nothing is sent but samples,
 * images as bytes, read ahead by threads of the host, and nothing comes back but logits. For one set of weights that
 * stays (`limbeck eval`) they are folded into the plan instead.
 *
 *   sums      logits differ from the processor's in the order of sums, and by what the kernels round
 *   errors    E_UNSUPPORTED: a step of the plan has no kernel there
 *   threads   one run at a time
 */
#ifndef LMB_TRAIN_DEVICE_EVALUATE_H
#define LMB_TRAIN_DEVICE_EVALUATE_H

#include "core/graph/state.h"
#include "core/plan/device.h"
#include "datasets/dataset.h"
#include "train/metrics.h"

typedef struct lmbi_evaluator lmbi_evaluator;

typedef struct lmbi_evaluator_options {
    const lmb_backend *const *backends; /* of the device                                              */
    const lmb_graph *model;             /* not needed afterwards                                      */
    bool fixed;                         /* the weights are those of the model for good: folded        */
    const lmb_state_layout *layout;     /* not fixed: of the vector that run() reads,                 */
    const size_t *at;                   /* whose segments lie at these floats, multiples of 16        */
    int64_t rows;                       /* a batch that the device has room for; 0: choose            */
    double limit_s;                     /* a batch that takes longer hangs the device; 0: none        */
} lmbi_evaluator_options;

/* For samples like those of `data`. */
LMB_MUST_CHECK lmb_status lmbi_evaluator_create(const lmbi_evaluator_options *o, const lmb_dataset *data,
                                                lmbi_evaluator **out, lmb_error *err);
void lmbi_evaluator_destroy(lmbi_evaluator *e); /* NULL is a no-op; before the device ends */
/* Add what the model says of all samples of `data`. weights: the vector in memory of the device; NULL where they are
 * fixed. threads: that read samples. */
LMB_MUST_CHECK lmb_status lmbi_evaluator_run(lmbi_evaluator *e, const float *weights, const lmb_dataset *data,
                                             int threads, lmb_metrics *out, lmb_error *err);

#endif
