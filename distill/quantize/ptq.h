/* distill/quantize/ptq.h - post-training quantisation: ranges from a few images, no gradient.
 *
 * Idea: the graph of quantisation-aware training (qat.h) has an observer wherever the deployed model holds integers.
 * Here its FakeQuants are bridged, so that the observers see what the float model computes; the images of the
 * calibration set run forward; the ranges are put where training would have left them, and frozen. The result is the
 * same kind of graph, for the same export.
 *
 *   images   a seeded choice of the training part, as they are: no augmentation, never the test part
 *   before   channels of neighbouring layers may be equalised; after, biases corrected for what rounding the weights
 *            shifts
 *   bits     batches of 32 in a fixed order: the same ranges on any number of threads
 *   training goes on from there. Ranges that a batch can tell (minmax, moving_average) move on as the observers of
 *            qat.h do; those of a histogram (percentile, entropy) are held, and the model learns within them
 *   source   Krishnamoorthi 2018, arXiv:1806.08342, section 3.1; that a calibrated range is held while training goes
 *            on: NVIDIA's pytorch-quantization
 */
#ifndef LMB_DISTILL_QUANTIZE_PTQ_H
#define LMB_DISTILL_QUANTIZE_PTQ_H

#include "core/graph/graph.h"
#include "datasets/dataset.h"
#include "distill/quantize/qat.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

typedef struct lmb_ptq_config {
    int64_t calibration;             /* images; 0: none, ranges begin with training's first batch */
    uint64_t seed;                   /* of their choice                                     */
    const struct lmb_tree *observer; /* {name: percentile, percent: 99.9}; NULL: minmax, of few bits mse */
    const char *backend;             /* as in train.backend                                 */
    int threads;                     /* 0: all processors                                   */
    const lmb_qat_config *qat;       /* bits, activations, scales; NULL: its defaults       */
    bool equalise, correct_bias;     /* equalise.h, bias.h                                  */
} lmb_ptq_config;

/* Fold, insert, observe, freeze: `model` in inference form to a FakeQuant graph with constant scales.
 *   errors  E_UNSUPPORTED names the first node that has no integer form; E_ARG for more images than there are or an
 *           unknown observer; E_SHAPE when model and data do not go together; E_NUMERIC names the activation */
LMB_MUST_CHECK lmb_status lmb_ptq(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train,
                                  lmb_graph **out, lmb_error *err);
/* What training with fake quantisation starts from: its observers with ranges of the calibration set, or constant
 * scales of ranges that are held or, with the learned scheme, steps made of them. */
LMB_MUST_CHECK lmb_status lmb_ptq_start(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train,
                                        lmb_graph **out, lmb_error *err);
/* Before any work: would calibration begin, and has every option a part in it? E_ARG names one that has none.
 *   trains   a training with fake quantisation follows */
LMB_MUST_CHECK lmb_status lmb_ptq_check(const lmb_ptq_config *c, const lmb_dataset *train, bool trains, lmb_error *err);
/* Is there such an observer, with such options? E_ARG names what there is not. */
LMB_MUST_CHECK lmb_status lmb_ptq_check_observer(const struct lmb_tree *observer, lmb_error *err);

/* The middle of it: ranges into the observers of a graph made by lmb_pass_qat. */
LMB_MUST_CHECK lmb_status lmb_ptq_observe(lmb_graph *qat, const lmb_ptq_config *c, const lmb_dataset *train,
                                          lmb_error *err);
/* Then, for ptq.c and unfolded.c: *observed, the caller's, as training wants it, with its steps or scales. */
LMB_MUST_CHECK lmb_status lmbi_ptq_settle(lmb_graph **observed, const lmb_ptq_config *c, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
