/* train/pipeline.h - a model in stages, each on a rank of its own: training of what one rank has no room for.
 *
 * Idea: train.pipeline cuts the training graph into `stages` (core/passes/stages.h), which ranks share out in order,
 * and a batch into `microbatches`, groups of samples that flow through the stages one after another: what a stage has
 * made goes to the next rank, the gradients of that come back. Every rank first sends as many groups forwards as there
 * are ranks behind it, then takes turns, one forwards, one backwards (1F1B), so it never keeps more groups' feature
 * maps than there are ranks from it to the end.
 *
 * A microbatch is a shard of the deterministic mode (train/trainer.h): BatchNormalization sees its samples alone, and
 * gradients are summed along the tree over microbatches. So weights do not depend on who runs which stage: on 1, 2 or 4
 * ranks they have the same bits. More ranks than stages work on batches together, stage by stage: rank r has the stages
 * of r % ranks-a-pipeline.
 *
 * A rank steps what its stages train and keeps what the optimizer remembers of that (train/parts.h). Messages are
 * lmb_comm.exchange, to the neighbour and from it at once.
 *
 * Between GPUs (train/pipeline_device.c) blocks go from one's memory to the next one's by NCCL, on a stream of their
 * own: a rank works on one microbatch while the last one travels. For that a rank sends twice as many ahead, and keeps
 * up to twice as many groups' feature maps. Sums of microbatches, the step and what it remembers stay on the GPU
 * (train/resident.h).
 *
 *   source   Narayanan et al. 2019, PipeDream (SOSP), section 3.2; Narayanan et al. 2021, Megatron-LM,
 *            arXiv:2104.04473, section 2.2
 */
#ifndef LMB_TRAIN_PIPELINE_H
#define LMB_TRAIN_PIPELINE_H

#include "comm/nccl.h"
#include "comm/watch.h"
#include "train/reduce.h"
#include "train/stage.h"
#include "train/trainer.h"

typedef struct lmbi_pipeline lmbi_pipeline;

/* Ranks of one pipeline: with fewer ranks than stages, all, and each has several stages.
 *   errors  E_ARG where ranks and stages do not go together */
LMB_MUST_CHECK lmb_status lmbi_pipeline_ranks(const lmb_pipeline_config *c, int ranks, int *of_one, lmb_error *err);

typedef struct lmbi_pipeline_options {
    const lmb_graph *model;
    const lmb_loss *loss;
    const lmb_state_layout *layout;
    const lmb_backend *const *backends;
    lmb_comm *comm;
    int stages, ranks; /* of one pipeline */
    int64_t rows;      /* of a whole microbatch */
    bool small_memory;
    bool timed; /* cut by measured cost; rank 0 measures and decides for all */
    const int32_t *end; /* [stages] rank 0's: of an earlier decision, in place of a new one; NULL: none */
    lmb_nccl *nccl;     /* of the GPUs of all ranks; NULL: none, or one rank */
} lmbi_pipeline_options;
LMB_MUST_CHECK lmb_status lmbi_pipeline_create(const lmbi_pipeline_options *o, lmbi_pipeline **out, lmb_error *err);
void lmbi_pipeline_destroy(lmbi_pipeline *p); /* NULL is a no-op */
void lmbi_pipeline_trace(lmbi_pipeline *p, lmb_trace *t);
/* Microbatches under way on a rank of a pipeline. */
int lmbi_pipeline_in_flight(int ranks, int rank, bool devices);
/* Give the GPU's memory back, as long as there is the GPU; what is needed is made again. */
void lmbi_pipeline_leave(lmbi_pipeline *p);
/* [stages]: nodes that they end before; the last one's is of no use. */
const int32_t *lmbi_pipeline_ends(const lmbi_pipeline *p);

/* The segments that this rank trains, as a state of their own: what the reducer sums. */
const lmb_state_layout *lmbi_pipeline_layout(const lmbi_pipeline *p);
const int *lmbi_pipeline_owners(const lmbi_pipeline *p);    /* [segments]: rank of the pipeline                 */
const size_t *lmbi_pipeline_places(const lmbi_pipeline *p); /* [segments]: of own ones, in lmbi_pipeline_layout */

const size_t *lmbi_pipeline_offsets(const lmbi_pipeline *p); /* of segments of lmbi_pipeline_layout, in the state  */

/* The microbatches of this pipeline in a batch: rows first[i] .. first[i + 1] of x and y. Microbatch i ends in slot i
 * of `sums`. */
typedef struct lmbi_flow {
    int n;
    const int64_t *first; /* [n + 1] */
    const float *x;
    const int64_t *y;
    int64_t sample; /* numbers of one */
    float *state;
    lmb_step_info info; /* of row first[0]: .sample [rows] */
    lmbi_reducer *sums;
    lmb_watch *watch; /* told when this rank waits; NULL: none */
    int64_t step;
    lmb_place place;      /* .row is that of first[0] */
} lmbi_flow;
LMB_MUST_CHECK lmb_status lmbi_pipeline_run(lmbi_pipeline *p, const lmbi_flow *f, lmb_error *err);
/* The same on a GPU, put on its queue and not waited for. */
typedef struct lmbi_flow_there {
    int n;
    const int64_t *first; /* [n + 1] */
    int64_t step;
    void *ctx;
    /* Wait for all that is on the queue, but not for ever: before what waits by itself. */
    lmb_status (*settle)(void *ctx, lmb_error *err);
    /* Where microbatch i has its numbers, asked on its way there and, the same, on its way back. */
    lmb_status (*place)(void *ctx, int i, lmbi_stage_there *out, lmb_error *err);
    /* Its gradients are final, on the queue. In ascending order. */
    lmb_status (*back)(void *ctx, int i, lmb_error *err);
} lmbi_flow_there;
LMB_MUST_CHECK lmb_status lmbi_pipeline_enqueue(lmbi_pipeline *p, const lmbi_flow_there *f, lmb_error *err);
/* What this rank's stages read of a batch: samples; labels and what the loss is fed, of which `bytes` for so many
 * rows. */
bool lmbi_pipeline_reads_x(const lmbi_pipeline *p);
bool lmbi_pipeline_ends_here(const lmbi_pipeline *p);
LMB_MUST_CHECK lmb_status lmbi_pipeline_feed(lmbi_pipeline *p, int64_t rows, size_t *bytes, lmb_error *err);
int lmbi_pipeline_ahead(const lmbi_pipeline *p); /* most microbatches between place() and back() */

/* Seconds in run(), and of these waiting for other ranks. */
void lmbi_pipeline_times(const lmbi_pipeline *p, double *all, double *waited);

/* Append the stages as lines: rank, share of the cost, MACs, parameters, bytes of the state and of the microbatches
 * under way, what crosses. For microbatches of `rows`; slots: vectors that the optimizer remembers. */
struct lmb_str;
LMB_MUST_CHECK lmb_status lmbi_pipeline_describe(const lmb_train_config *c, const lmb_graph *model,
                                                 const lmb_loss *loss, const lmb_state_layout *l, int64_t rows,
                                                 int slots, int ranks, struct lmb_str *out, lmb_error *err);

#endif
