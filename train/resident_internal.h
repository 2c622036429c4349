/* train/resident_internal.h - the inside of a resident step: resident_layout.c says what is where and whose,
 * resident.c makes it and puts steps on the queue, resident_input.c brings batches there, resident_rows.c keeps what a
 * loss is fed, resident_state.c moves vectors, resident_graph.c records and replays, resident_flow.c has stages of a
 * pipeline in place of a program. */
#ifndef LMB_TRAIN_RESIDENT_INTERNAL_H
#define LMB_TRAIN_RESIDENT_INTERNAL_H

#include "train/resident.h"

enum { LMBI_LEVELS = 16, LMBI_BUFFERS = 2, LMBI_FLOW_MOST = LMBI_LEVELS + 2 * LMB_MOST_STAGES };

/* One shard's share of a batch's memory; offsets in bytes from its front. */
typedef struct lmbi_slab {
    size_t scale; /* of the loss, in front of all shards */
    size_t sample, y, x, change, feed, each, front, bytes; /* x: floats, or bytes that are to be changed */
} lmbi_slab;

typedef enum { LMBI_WARMING, LMBI_REPLAYING, LMBI_EAGER } lmbi_graph_state;

struct lmbi_resident {
    lmbi_resident_options o;
    lmb_device *d;
    int classes;
    /* ---- the layout on the device ---- */
    size_t *at;        /* [segments] first float                    */
    size_t count, own; /* floats of the state; of a slot            */
    int n_chunks, n_buckets;
    lmb_step_chunk *chunk; /* [n_chunks] on the host                    */
    int *chunk_of;         /* [segments + 1] first chunk                */
    lmb_device_bucket *bucket;
    bool parts; /* ranks step parts                          */
    int n_parts;
    const lmb_device_part *own_part; /* [n_parts] this rank's, the device sum's */
    /* ---- device memory, one block ---- */
    char *memory, *moving; /* `moving`: what a step changes lies together */
    size_t moving_bytes;
    float *state, *ema, *slot[LMB_STEP_SLOTS], *vector[LMBI_LEVELS], *anchor, *shift, *loss, *logits;
    float *kept; /* [own] or NULL */
    int levels;
    bool anchored, shifted;
    float *x;              /* changed pictures of a shard; NULL: they come with the batch */
    float *table, *fed;    /* all that the loss is fed, and the rows of a shard; NULL: rows come with the batch */
    bool table_pinned;     /* it lies in pinned memory of the host, which kernels read as well */
    int width;             /* of a row */
    double *part;
    lmb_step_chunk *chunks;
    lmb_step_tally *tally;
    char *input, *far[LMBI_BUFFERS]; /* the batch at work; those on their way */
    /* ---- host memory ---- */
    void *pinned;  /* all of it: */
    float *mirror; /* [count] a vector on its way */
    lmb_step_tally *seen;
    char *staged[LMBI_BUFFERS];
    lmb_device_mark *arrived[LMBI_BUFFERS], *taken[LMBI_BUFFERS], *end; /* end: of what is waited for */
    lmbi_slab slab;
    int next; /* buffer of the next batch */
    int64_t step; /* the last that was brought */
    /* ---- a step being put on the queue ---- */
    const lmbi_resident_batch *b;
    int handed;     /* buckets that the ranks' sum has */
    lmb_error late; /* of a callback */
    /* ---- microbatches of a pipeline ---- */
    struct {
        char *memory; /* vectors [levels, n) */
        int n, depth;
        bool taken[LMBI_FLOW_MOST];
        int held[LMBI_FLOW_MOST], tree[LMBI_LEVELS + 1]; /* vectors of those under way; of what has been summed */
    } flow;
    /* ---- the graph ---- */
    lmbi_graph_state graph;
    int warm; /* full batches so far */
    lmb_device_record *record;
    char remark[560];
};

/* resident.c: the work of one step behind its input, on the queue. */
LMB_MUST_CHECK lmb_status lmbi_resident_enqueue(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err);
/* A piece of it, whose operands that are always the same are filled in. */
LMB_MUST_CHECK lmb_status lmbi_resident_work(lmbi_resident *r, lmb_step_work w, lmb_error *err);
/* resident_input.c: the host waits until a mark is reached, or for all work: not for ever (device_wait.h), and a peer
 * that never comes is an error. */
LMB_MUST_CHECK lmb_status lmbi_resident_reach(lmbi_resident *r, lmb_device_mark *m, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_resident_wait(lmbi_resident *r, lmb_error *err);

/* resident_layout.c: chunks, buckets, and this rank's parts; ended with what is half made, too. */
LMB_MUST_CHECK lmb_status lmbi_layout_create(lmbi_resident *r, lmb_error *err);
void lmbi_layout_destroy(lmbi_resident *r);

/* resident_input.c: plan the memory of a batch; make what orders its copies, end with it; bring one to `input`. */
LMB_MUST_CHECK lmb_status lmbi_input_plan(lmbi_resident *r, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_input_create(lmbi_resident *r, lmb_error *err);
void lmbi_input_destroy(lmbi_resident *r);
/* What a shard's images lie in once they are on the device; with pictures the work that changes them. */
LMB_MUST_CHECK lmb_status lmbi_input_pictures(lmbi_resident *r, char *in, int64_t rows, const float **x,
                                              lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_input_bring(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err);
static inline const lmb_step_now *lmbi_input_now(const lmbi_resident *r) { return (const lmb_step_now *)r->input; }
static inline const float *lmbi_input_scale(const lmbi_resident *r)
{
    return (const float *)(r->input + r->slab.scale);
}
/* resident_rows.c: the loss's table on the device or in pinned memory, if it has one that fits; the rows of a shard's
 * samples out of it. */
LMB_MUST_CHECK lmb_status lmbi_rows_create(lmbi_resident *r, lmb_error *err);
void lmbi_rows_destroy(lmbi_resident *r);
LMB_MUST_CHECK lmb_status lmbi_rows_take(lmbi_resident *r, const uint32_t *sample, int64_t rows, lmb_error *err);
/* resident_flow.c: the vectors of microbatches; all of a batch that has some, their sum in vector[0]; what the loss is
 * fed, with and without stages. */
LMB_MUST_CHECK lmb_status lmbi_flow_create(lmbi_resident *r, lmb_error *err);
void lmbi_flow_destroy(lmbi_resident *r);
LMB_MUST_CHECK lmb_status lmbi_flow_run(lmbi_resident *r, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_flow_feed(lmbi_resident *r, int64_t n, const lmb_step_info *info, const lmb_place *place,
                                         void *into, size_t *bytes, lmb_error *err);
/* resident_graph.c: the step whose input has been brought, in whichever way it is done now. */
LMB_MUST_CHECK lmb_status lmbi_graph_step(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err);
void lmbi_graph_forget(lmbi_resident *r);

#endif
