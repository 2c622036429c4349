/* train/trainer_internal.h - the inside of a trainer, shared by its files:
 *
 *   train_options.c  its options
 *   trainer_setup.c  making and ending one
 *   kernels.c        which kernels its plans have
 *   ways.c           and which ways these go on a GPU
 *   step.c           a batch: shards, their sum, the step
 *   sam.c            the way uphill before it
 *   divided.c        what ranks divide among each other
 *   trainer.c        epochs, validation, stopping
 *   gpu.c            a GPU for its steps (no_gpu.c in builds for clients)
 *   gpu_evaluate.c   and for validation
 */
#ifndef LMB_TRAIN_TRAINER_INTERNAL_H
#define LMB_TRAIN_TRAINER_INTERNAL_H

#include "core/base/threads.h"
#include "train/parts.h"
#include "train/pipeline.h"
#include "train/trainer.h"

enum { LMBI_DETERMINISTIC, LMBI_FAST }; /* lmb_train_config.mode */
enum { LMBI_SUMS_F32, LMBI_SUMS_BF16 }; /* lmb_train_config.reduce_type */

/* One thread's program. */
typedef struct lmbi_worker { lmb_program *program; lmb_error err; } lmbi_worker;

struct lmb_trainer {
    lmb_train_config c;
    const lmb_graph *model;
    lmb_graph *synced;     /* the same, normalising over all ranks (sync_norm.c), or NULL */
    lmb_loss loss;
    const lmb_dataset *train, *valid;
    lmb_comm *comm, *own_comm;
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    struct lmb_gpu *gpu;   /* train.backend is cuda, else NULL */
    struct lmbi_resident *resident; /* steps stay on the GPU, or NULL */
    struct lmb_device_sum *sum; /* of the ranks' gradients there, or NULL */
    bool away;             /* the GPU's numbers are newer than those in `s` */
    bool pictures;         /* they take images as bytes with what is to happen to them (lmb_loader_options) */
    struct lmbi_evaluator *evaluator; /* of the weights there, or NULL */
    bool no_evaluator;     /* and there can be none */
    char besides[400];     /* what else to say about the GPU, or empty */
    char remark[800];      /* how steps run there, or empty */
    char no_sum[400];      /* why GPUs of several ranks do not sum themselves, or empty */
    const lmb_optimizer *optimizer;
    const lmb_schedule *schedule;
    void *optimizer_config, *schedule_config;
    lmb_pool *pool;
    int threads;
    lmbi_worker *worker;
    lmb_loader *loader;
    lmb_state_layout *layout;
    size_t n;              /* floats of the state                                            */
    int slots;             /* shard slots of this rank, a power of two in deterministic mode */
    int64_t slots_all;     /* of all ranks                                                   */
    float *share;          /* [slots] of the running batch                                   */
    lmbi_reducer *reducer;
    lmbi_pipeline *pipeline; /* or NULL: shards run the whole model                          */
    int replica, replicas, of_one; /* pipelines side by side, ranks of one; without pipelines ranks, and 1 */
    int64_t *first;        /* [slots + 1] rows of the running batch, with a pipeline or a GPU */
    lmb_factors **factors; /* [slots][segments], or NULL: shards leave whole gradients       */
    lmbi_parts *parts;     /* who steps what                   */
    float *slot[LMB_MAX_SLOTS]; /* [parts->own_count]; s.slot where nothing is divided */
    float *kept;           /* [parts->own_count] train.sam: what the weights were, what their statistics will be; or
                              NULL */
    lmb_trainer_state s;
    lmb_choices *choices;  /* of kernels, or NULL  */
    lmb_watch *watch;
    lmb_trace *trace;
    lmb_gradient_terms terms;
    double travel, reach;  /* rates of all steps, with momentum; of the last step (lmb_optimizer.reach) */
    double rate_seconds, waited; /* of the running epoch */
    int64_t rate_images;
};

enum { LMBI_MOST_ROWS = 8 };
/* kernels.c: different numbers of rows that shards of an epoch's batches have; returns how many. */
int lmbi_trainer_rows(const lmb_trainer *t, int64_t rows[LMBI_MOST_ROWS]);
/* ways.c: on a GPU, before the first step, by all ranks; folder: of what was measured before, or NULL. */
LMB_MUST_CHECK lmb_status lmbi_trainer_ways(lmb_trainer *t, const char *folder, const lmb_log *log, lmb_error *err);
/* Positions of shard k (of all ranks' slots) in a batch of n samples. */
void lmbi_shard_range(const lmb_trainer *t, int64_t n, int64_t k, int64_t *lo, int64_t *hi);
/* Open this rank's GPU and take its kernels; end with both, after the programs. */
LMB_MUST_CHECK lmb_status lmbi_trainer_gpu(lmb_trainer *t, lmb_error *err);
void lmbi_trainer_gpu_end(lmb_trainer *t);
/* A resident step (resident.h), where there can be one; ended before the programs. The rest only if there is:
 *   send    inside an epoch the GPU's numbers are the valid ones
 *   fetch   into the trainer's state, if those are newer
 *   look    its sums alone */
LMB_MUST_CHECK lmb_status lmbi_gpu_create(lmb_trainer *t, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_gpu_again(lmb_trainer *t,
                                         lmb_error *err); /* another training begins (lmb_trainer_restart) */
LMB_MUST_CHECK lmb_status lmbi_gpu_anew(lmb_trainer *t, lmb_error *err); /* the model has been cut elsewhere */
lmb_nccl *lmbi_gpu_nccl(const lmb_trainer *t); /* between GPUs with stages, or NULL */
void lmbi_gpu_destroy(lmb_trainer *t);
void lmbi_gpu_watch(lmb_trainer *t); /* there is a noticeboard */
LMB_MUST_CHECK lmb_status lmbi_gpu_send(lmb_trainer *t, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_gpu_fetch(lmb_trainer *t, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_gpu_look(lmb_trainer *t, lmb_error *err);
/* After fetch(): the weights there, or their average, on the validation set. *done false: it has to be done here, and
 * a sentence says why. */
LMB_MUST_CHECK lmb_status lmbi_gpu_validate(lmb_trainer *t, lmb_metrics *out, bool *done, lmb_error *err);
void lmbi_gpu_remark(lmb_trainer *t); /* for people: how the steps so far ran */
/* Bytes that the optimizer remembers in on this rank's GPU where ranks divide it; otherwise `host`. */
size_t lmbi_gpu_slots(const lmb_trainer *t, size_t host);
LMB_MUST_CHECK lmb_status lmbi_gpu_batch(lmb_trainer *t, const lmb_batch *b, int filled, lmb_error *err);
/* Who works together on a batch of so many samples; with a pipeline microbatches are shards, and pipelines take the
 * place of ranks. */
LMB_MUST_CHECK lmb_status lmbi_trainer_pipelines(lmb_trainer *t, int64_t batch, lmb_error *err);
/* train.sync_batch_norm: the graph that programs run; and the sums of rank's rows in a step, with its share, NULL
 * without. */
LMB_MUST_CHECK lmb_status lmbi_sync_norm_create(lmb_trainer *t, lmb_error *err);
const lmb_rank_sums *lmbi_sync_norm_sums(lmb_trainer *t, float share, lmb_rank_sums *out);
/* What adds up, who steps what, and what the optimizer remembers of that. */
LMB_MUST_CHECK lmb_status lmbi_trainer_divide(lmb_trainer *t, lmb_error *err);
/* All ranks at once: with a pipeline, all weights on rank 0, and, at the end of a training, on every rank. */
LMB_MUST_CHECK lmb_status lmbi_trainer_collect(lmb_trainer *t, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_trainer_finish(lmb_trainer *t, lmb_error *err);
/* Threads of each of the ranks of a node. */
int lmbi_train_threads(const lmb_train_config *c, int ranks);
float *lmbi_vector(size_t n); /* zeros, never of no bytes; NULL: no memory */
/* The learning rate of the next step. */
double lmbi_trainer_rate(const lmb_trainer *t);
/* One more step has been taken, at that rate. */
void lmbi_trainer_stepped(lmb_trainer *t, double rate);
/* The norm of the gradient of all ranks; E_NUMERIC if it is not finite. sum: of all shards, or this rank's part of it,
 * with LMBI_SUMS in front, which count for the running epoch if `counts`. */
LMB_MUST_CHECK lmb_status lmbi_trainer_norm(lmb_trainer *t, float *sum, bool counts, double *norm, lmb_error *err);
/* train.sam. climb(): from the first pass' sum; of own ranges alone. back(): the weights are what they were, and the
 * second pass' sum has the first one's statistics; sum NULL: there is none. */
LMB_MUST_CHECK lmb_status lmbi_sam_check(const lmb_train_config *c, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_sam_climb(lmb_trainer *t, float *sum, lmb_pool *pool, lmb_error *err);
void lmbi_sam_back(lmb_trainer *t, float *sum, lmb_pool *pool);
/* How much the averaged weights keep of themselves in it. */
double lmbi_trainer_keep(const lmb_trainer *t);
LMB_MUST_CHECK lmb_status lmbi_train_batch(lmb_trainer *t, const lmb_batch *b, lmb_error *err);

#endif
