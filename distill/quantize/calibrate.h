/* distill/quantize/calibrate.h - the images of a calibration set run through a graph, and somebody looks at some of its
 * values.
 *
 * Idea: batches of 32 run forward, as many at once as there are threads; what a look sees of a batch goes into memory
 * of that batch, and is merged in the order of the batches. So the answer is the same on any number of threads.
 *
 *   images   a seeded choice, as they are: no augmentation
 *   threads  see() of different memories may run at once; merge() runs alone
 */
#ifndef LMB_DISTILL_QUANTIZE_CALIBRATE_H
#define LMB_DISTILL_QUANTIZE_CALIBRATE_H

#include "distill/quantize/ptq.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_CALIBRATION_BATCH = 32 };

typedef struct lmb_look {
    size_t bytes; /* of memory for each point; zeros are "nothing seen" */
    /* Point k of a batch: the first n samples of x, whose shape is that of the whole batch. */
    void (*see)(void *ctx, int k, void *memory, const float *x, const lmb_shape *shape, int64_t n);
    /* What the next batch saw, into what all before it saw. */
    void (*merge)(void *ctx, int k, void *into, const void *batch);
    void *ctx;
} lmb_look;

typedef struct lmb_calibration lmb_calibration;

/* Are there so many images? E_ARG: there are not. */
LMB_MUST_CHECK lmb_status lmb_calibration_check(const lmb_ptq_config *c, const lmb_dataset *train, lmb_error *err);
/* `g`: float, of batch LMB_CALIBRATION_BATCH, borrowed; outputs are added for the points. `train` is borrowed.
 *   errors  E_ARG for more images than there are; E_SHAPE when model and data do not go together */
LMB_MUST_CHECK lmb_status lmb_calibration_create(lmb_graph *g, const lmb_vid *point, int n_points,
                                                 const lmb_ptq_config *c, const lmb_dataset *train,
                                                 lmb_calibration **out, lmb_error *err);
void lmb_calibration_destroy(lmb_calibration *c); /* NULL is a no-op */

/* All images once: merged [n_points][bytes], each at a multiple of 16; the caller's. E_NUMERIC names a value that is
 * not finite. */
LMB_MUST_CHECK lmb_status lmb_calibration_pass(lmb_calibration *c, const lmb_look *look, void **merged, lmb_error *err);
/* Where point k lies in it. */
void *lmb_calibration_at(void *merged, const lmb_look *look, int k);

#ifdef __cplusplus
}
#endif
#endif
