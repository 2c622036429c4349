/* train/resident.h - training steps that stay on a device: weights, gradients, what the optimizer remembers, averages
 * and sums.
 *
 * Idea: while a program's plan on a device is run as on the host, weights go there and gradients come back in every
 * step. A resident step keeps all of it there: the host puts samples into memory that copies reach directly, two
 * batches deep, so that the next batch travels while this one is worked on, and puts the step on the queue without
 * waiting. Inside an epoch the device's numbers are the valid ones; send() and fetch() go between the two, and
 * whoever looks at weights calls fetch() first.
 *
 *   shards     the batch runs as the shards that the trainer cuts it into, one after another, summed along the same
 *              tree (train/reduce.h): the whole batch at once with train.mode=fast, which is the fast way, and with
 *              deterministic shards the sums of the CPU's tree. Given the same gradients, every bit is that of the
 *              host, but for a gradient's norm on a GPU, which is added in another, fixed order
 *   parts      where ranks step parts of the weights (lmb_device_sum.divide), what the optimizer remembers is there of
 *              a rank's own chunks alone, one after another
 *   graph      after two full batches the step is recorded, and one replay compared with the step itself to the bit,
 *              or, where ranks sum in another order each time, as far as that goes; then full batches are replays.
 *              Whatever stands in the way is a sentence (train.graph=auto) or an error (on)
 *   failing    a gradient that is not finite stops all later steps on the device, and look() or fetch() says which it
 *              was
 *   threads    the one that trains
 */
#ifndef LMB_TRAIN_RESIDENT_H
#define LMB_TRAIN_RESIDENT_H

#include "core/plan/device.h"
#include "train/device_sum.h"
#include "train/pipeline.h"
#include "train/trainer.h"

typedef struct lmbi_resident lmbi_resident;

/* All borrowed. */
typedef struct lmbi_resident_options {
    lmb_device *device;   /* with all that device.h lists */
    lmb_program *program; /* of that device */
    const lmb_state_layout *layout;
    const lmb_optimizer *optimizer;
    const void *optimizer_config;
    lmb_device_sum *sum;         /* NULL: one rank */
    size_t bucket_bytes;         /* as train/reduce.h; 0: one bucket */
    int shards;                  /* most of a batch on this rank */
    int64_t rows, numbers, full; /* most rows of a shard; floats of a sample; samples of a full global batch */
    lmb_shape pictures; /* [channels, height, width]: samples come as bytes and are changed there; n 0: as floats */
    bool operations;    /* and changes come with a policy's operations */
    double clip, loss_scale;
    lmb_sam_config sam; /* rho 0: one pass a step */
    bool ema;
    int graph;      /* lmb_train_config.graph */
    double limit_s; /* a device that keeps the host waiting for longer hangs; 0: never */
    /* Stages that the shards flow through in place of the program, or NULL; then `layout` is the pipeline's, and
     * `numbers` 0 where its stages read no samples. */
    lmbi_pipeline *pipeline;
    const size_t *offset; /* [segments] where state, ema, anchor and shift of the host have them; NULL: as in layout */
} lmbi_resident_options;

/* errors  E_UNSUPPORTED: a sentence why steps can not stay on the device */
LMB_MUST_CHECK lmb_status lmbi_resident_create(const lmbi_resident_options *o, lmbi_resident **out, lmb_error *err);
void lmbi_resident_destroy(lmbi_resident *r); /* NULL is a no-op */
/* For another training of the same model, in shards of at most `rows` and full batches of `full` samples. false:
 * there is no room for it. */
bool lmbi_resident_again(lmbi_resident *r, int64_t rows, int64_t full);

/* The host's side of it: vectors of [layout count]; ema NULL where none is kept, anchor and shift where there are
 * none. */
typedef struct lmbi_resident_vectors {
    float *state, *ema, *slot[LMB_MAX_SLOTS];
    const float *anchor, *shift;
    double loss; /* sums of the running epoch */
    int64_t correct;
} lmbi_resident_vectors;

LMB_MUST_CHECK lmb_status lmbi_resident_send(lmbi_resident *r, const lmbi_resident_vectors *v, lmb_error *err);
/* Waits for all steps. E_NUMERIC: one of them had a gradient that is not finite; the vectors are those before it. */
LMB_MUST_CHECK lmb_status lmbi_resident_fetch(lmbi_resident *r, lmbi_resident_vectors *v, lmb_error *err);
/* The sums alone. */
LMB_MUST_CHECK lmb_status lmbi_resident_look(lmbi_resident *r, double *loss, int64_t *correct, lmb_error *err);

/* One step. Rows are this rank's, copied before it returns. */
typedef struct lmbi_resident_batch {
    int64_t total;        /* samples of the global batch */
    int64_t shown, row;   /* samples shown by earlier batches; position of this rank's first row in the batch */
    int shards;           /* that have samples; 0: this rank has none */
    const int64_t *first; /* [shards + 1] rows */
    const float *share;   /* [shards] of the global batch */
    const float *x;      /* or, with pictures: */
    const uint8_t *pixels;
    const lmb_picture_change *change;
    const int64_t *y;
    const uint32_t *sample;
    uint64_t seed;
    uint32_t epoch;
    const lmb_rank_sums *ranks; /* statistics of all ranks in the middle of the step; NULL: none are wanted */
    bool even;                  /* all ranks have equally many rows */
    int64_t step;               /* from 0 */
    int64_t steps_before;       /* lmb_trainer_state */
    double rate, keep, pull; /* learning rate; of the averaged weights; towards the anchor */
} lmbi_resident_batch;
LMB_MUST_CHECK lmb_status lmbi_resident_step(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err);

/* The weights, or their average, as they lie on the device, valid until the next step, send() or destroy(); `at`:
 * where each segment of the layout begins. */
const float *lmbi_resident_weights(const lmbi_resident *r, bool average, const size_t **at);

/* For people: how steps run now, and why they are not replayed. */
const char *lmbi_resident_remark(const lmbi_resident *r);
bool lmbi_resident_replays(const lmbi_resident *r);
/* Bytes of the device's memory that the optimizer remembers in. */
size_t lmbi_resident_slots(const lmbi_resident *r);

#endif
