/* train/device_sum.h - where the gradients of several GPUs meet: the seam between a resident step and what is between
 * ranks.
 *
 * Idea: a resident step (train/resident.h) keeps one vector [LMB_STEP_HEAD + count] in device memory, as the reducer
 * of the host does (train/reduce.h): sums over samples in front, then gradients and next content in the order of the
 * state, cut into buckets from its end. On the device every segment begins at a multiple of LMB_STEP_ALIGN numbers
 * (core/plan/device_step.h); what lies between segments is 0 on all ranks, so that whole buckets can be summed. It
 * calls this struct as a batch goes along; whoever implements it puts work on a stream of its own and orders it with
 * events, so that buckets are summed while the backward pass goes on:
 *
 *     begin(step)
 *     ready(0), ready(1), ... each as soon as what is on `stream` at that moment makes the bucket final
 *     join()                  what comes on `stream` from now on finds the sums of all ranks
 *     ... norm (share() of the partial squares where ranks own parts), clipping, optimizer ...
 *     weights()               only where ranks own parts: what comes on `stream` from now on finds everybody's weights
 *     wait(), reach()         in place of waiting for the stream, which would never end if a peer has died
 *
 * A rank's vector is already multiplied by its share of the batch (segments whose reduce is LMB_REDUCE_MEAN), so that
 * ranges are summed plainly, or their least or largest taken; a rank without samples has left -0 for sums and
 * infinities. A resident step with NULL is alone, and has no vector but its own.
 *
 *   threads  the one that trains
 *   capture  begin to weights may be called while the stream is being recorded (`captures`): then nothing may be
 *            waited for on the host, and a replay runs the same exchange again; `step` of its sentences comes from
 *            wait()
 */
#ifndef LMB_TRAIN_DEVICE_SUM_H
#define LMB_TRAIN_DEVICE_SUM_H

#include "core/graph/state.h"
#include "core/plan/device.h"
#include "core/plan/device_step.h"

/* Floats [lo, lo + n) of the vector, head included: segments [first, last) of the layout. The last bucket has the
 * head. */
typedef struct lmb_device_bucket {
    size_t lo, n;
    int first, last;
} lmb_device_bucket;

/* What this rank steps: whole chunks, [first, last) of lmb_device_vector.chunk. */
typedef struct lmb_device_part {
    int first, last;
} lmb_device_part;

/* What a resident step tells once. Borrowed by the implementation until close(). */
typedef struct lmb_device_vector {
    const lmb_state_layout *layout;
    lmb_device *device;
    void *stream;     /* of the device: a cudaStream_t as void *, on which everything else happens      */
    size_t count;     /* floats of the state on the device                                               */
    const size_t *at; /* [segments] where each begins in it                                              */
    float *sum;       /* device [LMB_STEP_HEAD + count]                                                  */
    float *state;     /* device [count]: the weights                                                     */
    int n_buckets, n_chunks;
    const lmb_device_bucket *bucket; /* from the state's end to its front; layout->segment[].reduce says how      */
    const lmb_step_chunk *chunk;     /* host [n_chunks], in the order of the state                                */
} lmb_device_vector;

typedef struct lmb_device_sum lmb_device_sum;
struct lmb_device_sum {
    const char *name; /* for people: "NCCL over 8 GPUs" */
    bool captures;    /* its work may be recorded in a graph */
    bool same_bits;   /* a sum of the same numbers always ends in the same bits */
    /* Once, on all ranks, before the first step, and again for another resident step. Of `v` all but its memory is
     * there. Sets n_parts and part: what this rank steps, in the order of the state; n_parts -1: everything. The parts
     * of all ranks together are every chunk once; owned by the implementation until close(). */
    lmb_status (*divide)(lmb_device_sum *s, const lmb_device_vector *v, int *n_parts, const lmb_device_part **part,
                         lmb_error *err);
    /* The memory of that vector. */
    lmb_status (*prepare)(lmb_device_sum *s, float *sum, float *state, lmb_error *err);
    lmb_status (*begin)(lmb_device_sum *s, int64_t step, lmb_error *err);
    lmb_status (*ready)(lmb_device_sum *s, int bucket, lmb_error *err);
    lmb_status (*join)(lmb_device_sum *s, lmb_error *err);
    /* device doubles [n] = their sum over ranks, on `stream`; all but one rank's are 0 at each place, so that any
     * order gives the same bits. Never called when every rank steps everything. */
    lmb_status (*share)(lmb_device_sum *s, double *v, size_t n, lmb_error *err);
    /* device doubles [n] = their sum over ranks, between what `stream` has now and what comes on it: statistics that
     * the middle of a step needs (lmb_rank_sums). Every rank gets the same bits. NULL where ranks have stages. */
    lmb_status (*statistics)(lmb_device_sum *s, double *v, size_t n, lmb_error *err);
    /* lmb_device_vector.state holds every rank's own parts on every rank. Never called when every rank steps
     * everything. */
    lmb_status (*weights)(lmb_device_sum *s, lmb_error *err);
    /* The same for any vector like it, outside a step: the average of the weights, what an optimizer remembers. */
    lmb_status (*gather)(lmb_device_sum *s, float *vector, lmb_error *err);
    /* All ranks at once, outside a step: *yes stays only where it is so on all of them. Whether a recording is used,
     * say. */
    lmb_status (*agree)(lmb_device_sum *s, bool *yes, lmb_error *err);
    /* Recording begins, or is over. In between nothing is done, and what cannot be recorded is E_UNSUPPORTED. Both
     * NULL if not `captures`. */
    void (*record)(lmb_device_sum *s, bool on);
    /* What was recorded has been put on `stream` once more. */
    void (*replayed)(lmb_device_sum *s, int64_t step);
    /* Until `stream` is done, or E_PEER: rank, host, collective, bucket and step of who is late; step -1: the last. */
    lmb_status (*wait)(lmb_device_sum *s, int64_t step, lmb_error *err);
    /* Until a mark of the device (a cudaEvent_t), which may be behind a step, is reached; the same. */
    lmb_status (*reach)(lmb_device_sum *s, lmb_device_mark *m, int64_t step, lmb_error *err);
    /* Where ranks have stages of a model, else NULL: *part, *n become the squares of all of its chunks, on the device,
     * and the head of lmb_device_vector.sum that of the rank that ends it. */
    lmb_status (*whole)(lmb_device_sum *s, const double *mine, double **part, int *n, lmb_error *err);
    void (*close)(lmb_device_sum *s); /* after the last step, while the device is still there */
};

#endif
