/* datasets/loader.h - batches, decoded and augmented ahead of time.
 *
 * Idea: batch b of epoch e is a pure function of (seed, e, b), see sampler.h; its augmentation of (seed, e, sample). A
 * rank asks only for its range of positions of each global batch. Threads of the loader's own stay a few batches ahead;
 * the time that next() had to wait is counted. Evaluation is a loader without shuffle and without augmentation.
 *
 *   owns     the loader owns its buffers; a batch is valid until the next call of next(), begin() or destroy()
 *   threads  one consumer; the data set's read() is called from the loader's threads
 */
#ifndef LMB_DATASETS_LOADER_H
#define LMB_DATASETS_LOADER_H

#include "core/base/trace.h"
#include "datasets/augment.h"
#include "datasets/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_loader lmb_loader;

typedef struct lmb_loader_options {
    const lmb_dataset *data;    /* borrowed, outlives the loader                            */
    int64_t batch;              /* samples in a global batch                                */
    uint64_t seed;
    bool shuffle;
    lmb_dtype dtype;            /* of x: F32 (0), or U8 for images as bytes                 */
    int threads;                /* that decode, at most 64; 0: one                          */
    const lmb_augment *augment; /* NULL: none; copied                                       */
    bool change_later; /* U8: images stay as they are, and what is to happen to each comes with its batch */
    /* Positions [lo, hi) of a global batch of n samples that this rank wants, a pure function of n. NULL: all. A
     * short last batch may leave a rank none (lo = hi): it still gets a batch, of no samples. */
    void (*range)(void *ctx, int64_t n, int64_t *lo, int64_t *hi);
    void *range_ctx;
} lmb_loader_options;

typedef struct lmb_batch {
    int64_t index;     /* of the batch in its epoch                     */
    int64_t total;     /* samples in the whole global batch             */
    int64_t lo, n;     /* first position and count of this rank's part  */
    const float *x;    /* [n, sample shape], u8 images as 0 .. 255; NULL when dtype is U8. 64-byte aligned */
    const uint8_t *x_u8; /* the same as bytes when dtype is U8, else NULL */
    const lmb_picture_change *change; /* [n] with change_later, else NULL */
    const int64_t *y;  /* [n]                                           */
    const uint32_t *sample; /* [n] index in the data set                */
} lmb_batch;

LMB_MUST_CHECK lmb_status lmb_loader_create(const lmb_loader_options *o, lmb_loader **out, lmb_error *err);
void lmb_loader_destroy(lmb_loader *l); /* stops the threads; NULL is a no-op */
int64_t lmb_loader_batches(const lmb_loader *l); /* in an epoch */
/* Start epoch `epoch` at batch `first` in [0, batches]; what was under way is dropped. */
LMB_MUST_CHECK lmb_status lmb_loader_begin(lmb_loader *l, uint32_t epoch, int64_t first, lmb_error *err);
/* The next batch of the epoch; *out NULL at its end. An error in reading a sample comes with the batch it is in, and
 * again until the next begin(). */
LMB_MUST_CHECK lmb_status lmb_loader_next(lmb_loader *l, const lmb_batch **out, lmb_error *err);
/* Leave a span for each batch made ready, on lanes from LMB_LANE_LOADER. Before begin(). Borrowed; NULL: none. */
void lmb_loader_trace(lmb_loader *l, lmb_trace *t);
double lmb_loader_waited(const lmb_loader *l); /* seconds that next() waited, in all */

#ifdef __cplusplus
}
#endif
#endif
