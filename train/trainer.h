/* train/trainer.h - the loop: batches, shards, sums, steps.
 *
 * Idea: a global batch is cut into shards by position. Each shard runs forward and backward by itself, on some
 * thread of some rank, with BatchNormalization statistics of its own, and leaves one vector: gradients and new
 * statistics weighted by its share of the batch. The vectors are summed along a fixed binary tree over the
 * shard numbers, first within a rank, then across ranks, in part while the backward pass still runs (reduce.h), and
 * every rank takes the same step.
 *
 *   deterministic  shards of `shard` samples (32): the same bits on 1, 2 or 4 workers, and when a large batch is
 *                  worked off in several rounds (gradient accumulation), because the tree never changes
 *   fast           one shard for each worker (ranks x threads): the same bits at an equal number of workers
 *
 * The last batch of an epoch may be short; its shards are cut the same way, and shares are exact.
 */
#ifndef LMB_TRAIN_TRAINER_H
#define LMB_TRAIN_TRAINER_H

#include "comm/watch.h"
#include "core/base/log.h"
#include "core/cpu/cpu.h"
#include "datasets/loader.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/program.h"
#include "train/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;
struct lmb_str;

/* train.pipeline: the model in stages on ranks, the batch in groups that flow through them; stages 1: no pipeline. */
typedef struct lmb_pipeline_config { int64_t stages, microbatches, cost; } lmb_pipeline_config;
enum { LMB_COST_COUNTED, LMB_COST_MEASURED }; /* lmb_pipeline_config.cost: what stages are to have equal shares of */

/* train.sam (train/sam.c): how far uphill the gradient is taken; rho 0: at the weights. */
typedef struct lmb_sam_config { double rho; bool adaptive; } lmb_sam_config;

/* The `train` section of a configuration. */
typedef struct lmb_train_config {
    int64_t epochs, batch, shard, bucket_kb, reduce, reduce_type, threads, mode, precision, graph, seed;
    double lr, clip, loss_scale, label_smoothing, ema, warmup_epochs, stall_s, checkpoint_s, measure_s, target_accuracy;
    double minutes;
    int64_t patience, validate_from, augment_on;
    bool decay_all, shard_optimizer, sync_batch_norm, share_gpu;
    lmb_pipeline_config pipeline;
    lmb_sam_config sam;
    lmb_augment augment;
    const struct lmb_tree *optimizer, *schedule;
    const char *backend, *memory;
} lmb_train_config;
extern const lmb_field lmb_train_fields[];

enum { LMB_TRAIN_F32, LMB_TRAIN_BF16, LMB_TRAIN_TF32 }; /* lmb_train_config.precision */
enum { LMB_CHANGE_AUTO, LMB_CHANGE_GPU, LMB_CHANGE_CPU }; /* lmb_train_config.augment_on */
enum { LMB_GRAPH_AUTO, LMB_GRAPH_ON, LMB_GRAPH_OFF }; /* lmb_train_config.graph: train/resident.h */

/* The kernels of such a training's steps; list: caller storage of LMB_CPU_BACKENDS. E_UNSUPPORTED, E_ARG: this
 * processor, build or backend has none in that precision. */
LMB_MUST_CHECK lmb_status lmb_train_backends(const lmb_train_config *c, const lmb_backend **list, lmb_error *err);

/* For lmb_program_memory: bytes of each of `threads` plans. E_ARG for a text that says no amount. */
LMB_MUST_CHECK lmb_status lmb_train_memory(const lmb_train_config *c, int threads, size_t *bytes, lmb_error *err);

/* Steps, validation and sums of ranks on a GPU, one plan at a time. */
bool lmb_train_on_gpu(const lmb_train_config *c);
/* mode is fast: on a GPU kernels are chosen by their times (core/plan/device.h, measure). */
bool lmb_train_is_fast(const lmb_train_config *c);

/* Can `ranks` share the steps of a training on so many samples? E_ARG says why not. *slots: leaves of the binary tree
 * along which a deterministic step is summed. */
LMB_MUST_CHECK lmb_status lmb_train_ranks_share(const lmb_train_config *c, int64_t samples, int ranks, int64_t *slots,
                                                lmb_error *err);

/* Rows of a full shard of such a training on `ranks` ranks; only the last of a batch has fewer. */
int64_t lmb_train_rows(const lmb_train_config *c, int64_t samples, int ranks);

typedef struct lmb_trainer lmb_trainer;

/* What a finished epoch looked like. */
typedef struct lmb_epoch {
    int64_t epoch;             /* from 0                                     */
    double loss, accuracy;     /* of training, running                       */
    double valid_loss, valid_accuracy; /* < 0: no validation                 */
    double lr, seconds, images_per_second, waited;
    const char *steps; /* how they run on a GPU, a sentence for people; NULL: on the processor, or nothing to say */
    bool best, last;
    bool reached; /* train.target_accuracy: the training ends here */
} lmb_epoch;

/* Who looks on, or has a hand in it; all on the training thread, each may be NULL.
 *   step     progress inside an epoch, often; false: stop after this step, or several ranks, where rank 0 asks, after
 *            this epoch
 *   epoch    after each epoch, its validation done and the cursors of the state at the next one
 *   stepped  after every step, on every rank alike, the new weights (and their average) being in the state, which it
 *            may change: a mask of pruned weights, a projection. It must do the same on all ranks */
typedef struct lmb_train_watch {
    bool (*step)(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy,
                 double images_per_second);
    lmb_status (*epoch)(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err);
    void *ctx;
    lmb_status (*stepped)(void *ctx, lmb_trainer *t, lmb_error *err);
    bool hands_off; /* stepped() leaves the weights alone, and looks at them after lmb_trainer_gather() only: they stay
                       on a GPU */
    int64_t least_steps; /* before which neither train.patience nor train.target_accuracy ends the training: a hand's
                            schedule */
} lmb_train_watch;

/*   model, loss, train, valid   borrowed; valid may be NULL
 *   comm                        borrowed; NULL: this process alone
 *   errors                      E_ARG for impossible settings, with the arithmetic */
LMB_MUST_CHECK lmb_status lmb_trainer_create(const lmb_train_config *config, const lmb_graph *model,
                                             const lmb_loss *loss, const lmb_dataset *train, const lmb_dataset *valid,
                                             lmb_comm *comm, lmb_trainer **out, lmb_error *err);
void lmb_trainer_destroy(lmb_trainer *t);
/* Begin another training with the compiled plans of this one: from the numbers that its model holds now, on samples of
 * the same kind, with another seed and rate. Nothing is left of the one before.
 *   train   borrowed
 *   errors  E_ARG when its batches would be cut into another number of shards: create a new trainer */
LMB_MUST_CHECK lmb_status lmb_trainer_restart(lmb_trainer *t, const lmb_dataset *train, int64_t seed, double lr,
                                              lmb_error *err);
/* What every step adds to the gradients of the parameters, before clipping: pull * (weights - anchor) + shift. So a
 * client of a federation is held near the round's model (FedProx: Li et al. 2020, arXiv:1812.06127) or corrected for
 * its own drift (SCAFFOLD: Karimireddy et al. 2020, arXiv:1910.06378). Vectors of [layout count], borrowed; NULL:
 * none. */
typedef struct lmb_gradient_terms { double pull; const float *anchor, *shift; } lmb_gradient_terms;
void lmb_trainer_terms(lmb_trainer *t, const lmb_gradient_terms *terms);
/* How far all steps since the training began have gone if the gradient was always 1: the sum of their learning rates
 * and, with momentum, of what it adds. 0 for optimizers of which that can not be said (lmb_optimizer.reach). */
double lmb_trainer_travel(const lmb_trainer *t);
/* Tell a noticeboard (comm/watch.h) what is being done; NULL: none. Borrowed. */
void lmb_trainer_watch(lmb_trainer *t, lmb_watch *w);
/* Compile the usual plan, with kernels that measuring chose, before the first step. Rank 0's choice is that of all
 * ranks, and kept in the state, so that a training goes on with the kernels that it began with; on one cache the choice
 * does not depend on the number of ranks and threads.
 *   folder   of the cache; NULL: the fixed choice, by backends' order
 *   resumed  the state is a checkpoint's: its choice is taken, whatever the folder says
 *   log      (may be NULL) is warned of products that only a reference kernel runs, and of what is wrong with the
 *            cache */
LMB_MUST_CHECK lmb_status lmb_trainer_kernels(lmb_trainer *t, const char *folder, bool resumed, const lmb_log *log,
                                              lmb_error *err);
/* Plans that run side by side while kernels are measured: as many as there are processors, whatever a training uses. */
int lmb_train_measuring_threads(void);
/* Leave spans of the epochs, steps and what they consist of (core/base/trace.h). Borrowed. */
void lmb_trainer_trace(lmb_trainer *t, lmb_trace *trace);
/* Run to the end of the last epoch, from wherever the state stands. E_STOPPED when the watcher stopped it. */
LMB_MUST_CHECK lmb_status lmb_trainer_run(lmb_trainer *t, const lmb_train_watch *watch, lmb_error *err);

/* State that a checkpoint holds. Vectors are borrowed and may be written before run(). */
typedef struct lmb_trainer_state {
    const lmb_state_layout *layout;
    float *state;                /* [count]                                          */
    float *ema;                  /* [count] or NULL                                  */
    float *best;                 /* [count] state at the best validation accuracy    */
    const char *optimizer;       /* its name: whose slots they are                   */
    int n_slots;
    float *slot[LMB_MAX_SLOTS];  /* [count]                                          */
    int64_t epoch, batch, step;  /* next to be done                                  */
    int64_t steps_before; /* of trainings before this one that the slots remember: the optimizer counts on from them,
                             the schedule does not (distill/prune/carry.h) */
    double best_accuracy;        /* < 0: none yet                                    */
    int64_t best_epoch;
    double loss_sum; int64_t correct, seen; /* of the running epoch                  */
    bool in_parts;               /* slots are divided among ranks: see lmb_trainer_gather */
    bool needs_all; /* gather() is a matter of all ranks although slots are not divided here: they are on the GPUs */
    bool weights_in_parts;       /* and so are state, ema and best: each rank has pages for its own numbers of them */
    char *kernels;               /* malloc'd: what measuring chose (core/plan/choice.h); NULL: the fixed choice */
    char *stages; /* malloc'd: where measuring cut the model, the nodes that stages end before; NULL: as counted */
} lmb_trainer_state;
lmb_trainer_state *lmb_trainer_state_of(lmb_trainer *t);
/* Where ranks divide what an optimizer remembers (train.shard_optimizer, train.pipeline), `slot` of the state is NULL,
 * but on rank 0 from gather() to scatter() or drop(): to save a checkpoint, gather, save, drop; to load one, gather,
 * load, share, scatter. With a pipeline the same goes for the weights, of which every rank has its own stages'
 * otherwise. All ranks call all three, and where nothing is divided none of them does anything, except that inside an
 * epoch gather() also brings back what a GPU has done since. */
LMB_MUST_CHECK lmb_status lmb_trainer_gather(lmb_trainer *t, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_trainer_scatter(lmb_trainer *t, lmb_error *err);
void lmb_trainer_drop(lmb_trainer *t);
/* All ranks at once: the weights, and their average, of all stages of a pipeline, of which each rank has its own, on
 * every rank. A hand in every step (lmb_train_watch.stepped) that reads more than it writes needs that first; run()
 * ends with it. */
LMB_MUST_CHECK lmb_status lmb_trainer_together(lmb_trainer *t, lmb_error *err);
/* Give back the memory of what `model`, which this trainer was made for, holds of numbers that are the trainer's now,
 * if they are divided. Until store() the model has none. */
void lmb_trainer_lighten(const lmb_trainer *t, lmb_graph *model);
/* What the optimizer remembers, and weights with their average and the best ones so far, in bytes: of all ranks, and on
 * this one. */
typedef struct lmb_trainer_memory { size_t all, here, weights, weights_here; } lmb_trainer_memory;
lmb_trainer_memory lmb_trainer_slots(const lmb_trainer *t);
/* train.pipeline so far: ranks that a batch flows through, seconds, and of these the seconds in which this rank waited
 * for others. */
typedef struct lmb_trainer_flow { int ranks; int64_t stages, microbatches; double seconds, waited; } lmb_trainer_flow;
lmb_trainer_flow lmb_trainer_pipeline(const lmb_trainer *t); /* stages 0: there is none */
/* Append what `ranks` ranks would keep of the training of `model`: optimizer state, and the stages of a pipeline, a
 * line each: MACs, parameters, feature maps, what crosses the cut. `samples`: of the training set.
 *   errors  those of lmb_trainer_create about impossible settings */
LMB_MUST_CHECK lmb_status lmb_train_describe(const lmb_train_config *c, const lmb_graph *model, const lmb_loss *loss,
                                             int64_t samples, int ranks, struct lmb_str *out, lmb_error *err);
/* The weights to use: EMA if kept, best if validated, else the last. */
const float *lmb_trainer_result(const lmb_trainer *t);
/* The same, put into the model that is trained. */
LMB_MUST_CHECK lmb_status lmb_trainer_store(const lmb_trainer *t, lmb_graph *model, lmb_error *err);

/* Accuracy of weights on a data set, on all threads of this rank. `state` NULL: as stored in the model. */
LMB_MUST_CHECK lmb_status lmb_evaluate(const lmb_graph *model, const float *state, const lmb_dataset *data,
                                       const char *backend, int threads, lmb_metrics *out, lmb_error *err);
/* The same, and which samples are answered right: bool [data->n]. */
LMB_MUST_CHECK lmb_status lmb_evaluate_each(const lmb_graph *model, const float *state, const lmb_dataset *data,
                                            const char *backend, int threads, lmb_metrics *out, bool *right,
                                            lmb_error *err);
/* lmb_evaluate of the weights in the model, in f32 on this machine's first GPU.
 *   errors   E_DEVICE, E_UNSUPPORTED: there is none, or it has no kernel for the model */
LMB_MUST_CHECK lmb_status lmb_evaluate_gpu(const lmb_graph *model, const lmb_dataset *data, lmb_metrics *out,
                                           lmb_error *err);
/* Do model, data and metrics belong together? E_SHAPE if not. */
LMB_MUST_CHECK lmb_status lmb_evaluate_check(const lmb_graph *model, const lmb_dataset *data, const lmb_metrics *out,
                                             lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
