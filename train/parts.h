/* train/parts.h - which rank takes the step of which numbers, and keeps what the optimizer remembers of them.
 *
 * Idea: the state vector is cut into pieces of at most LMBI_PIECE numbers of one segment, and each has an owner among
 * `groups` ranks; rank r stands for owner r % groups. There are three ways to divide it:
 *
 *   whole    one owner: every rank steps everything (groups 1)
 *   sharded  train.shard_optimizer, ZeRO-1: the sum of each bucket is left in parts with the ranks (comm/scatter.h),
 *            which step them; then the weights are put together, every step
 *   stages   train.pipeline: a rank steps what its stages train (train/pipeline.h) and has no other weights: vectors
 *            keep the state's places, but memory is behind the own ones alone; weights are put together when somebody
 *            asks
 *
 * The gradient's norm is a sum over pieces in the order of the state, whoever owns them, so it has the same bits in all
 * three. On rank 0, checkpoints and restarts see whole vectors: gather() and scatter() go between the two, for any
 * number of ranks.
 *
 *   threads  the one that trains; the functions that take a communicator are called by all ranks at once
 *   source   Rajbhandari et al. 2020, ZeRO, arXiv:1910.02054, section 5.1 (optimizer state partitioning)
 */
#ifndef LMB_TRAIN_PARTS_H
#define LMB_TRAIN_PARTS_H

#include "comm/scatter.h"
#include "train/reduce.h"

enum { LMBI_PIECE = 1024 };

typedef struct lmbi_piece { int segment, owner; size_t offset, n; } lmbi_piece;
/* Neighbouring pieces of one owner; `at`: where they lie in its slots. */
typedef struct lmbi_run { int owner; size_t offset, n, at; } lmbi_run;
/* What this rank steps: of one segment; `from`: where its gradient lies in the summed vector, behind LMBI_SUMS. */
typedef struct lmbi_range { int segment; size_t offset, n, at, from; } lmbi_range;

typedef struct lmbi_parts {
    const lmb_state_layout *layout;
    lmb_comm *comm;
    int groups, me;      /* me: rank % groups                                              */
    int sums;            /* the rank whose sums over samples are those of the batch        */
    bool lazy;           /* weights are put together when asked for, not in every step     */
    int n_pieces, n_runs, n_own, most; /* most: pieces of an owner                         */
    lmbi_piece *piece;
    lmbi_run *run;
    lmbi_range *own;
    size_t own_count;    /* numbers of all own ranges                                      */
    double *mine, *all;  /* [most + LMBI_SUMS]; [ranks][the same]: squares that ranks tell each other */
    int n_buckets;
    size_t **cut;        /* sharded: [buckets][parts + 1] from a bucket's front; else NULL */
    size_t *weights_cut; /* [parts + 1]                                                    */
} lmbi_parts;

/* One owner of everything. `layout` and `comm` are borrowed, as below. */
LMB_MUST_CHECK lmb_status lmbi_parts_whole(const lmb_state_layout *l, lmb_comm *c, lmbi_parts **out, lmb_error *err);
/* Divided bucket by bucket; the reducer then leaves sums in these parts. */
LMB_MUST_CHECK lmb_status lmbi_parts_sharded(const lmb_state_layout *l, lmb_comm *c, lmbi_reducer *r, lmbi_parts **out,
                                             lmb_error *err);
/* owner: [segments] in [0, groups); from: [segments] where its gradient lies behind LMBI_SUMS, of the own ones; sums: a
 * rank. */
LMB_MUST_CHECK lmb_status lmbi_parts_stages(const lmb_state_layout *l, lmb_comm *c, int groups, const int *owner,
                                            const size_t *from, int sums, lmbi_parts **out, lmb_error *err);
void lmbi_parts_destroy(lmbi_parts *p); /* NULL is a no-op */

/* *norm of the whole gradient, of which `v` (the summed vector from LMBI_SUMS on) has this rank's part;
 * sums[LMBI_SUMS]: this rank's, replaced by those of the batch. */
LMB_MUST_CHECK lmb_status lmbi_parts_norm(lmbi_parts *p, const float *v, float *sums, double *norm, lmb_error *err);
/* After a step: state [count] has its new weights on all ranks. scratch: as large as the largest bucket. */
LMB_MUST_CHECK lmb_status lmbi_parts_weights(const lmbi_parts *p, const lmbi_reducer *r, float *state, float *scratch,
                                             lmb_error *err);
/* A whole vector [count] on every rank from what each owns of it. */
LMB_MUST_CHECK lmb_status lmbi_parts_share(const lmbi_parts *p, float *vector, lmb_error *err);
/* whole [count], on rank 0 alone, from every owner's part [own_count], and back. */
LMB_MUST_CHECK lmb_status lmbi_parts_gather(const lmbi_parts *p, const float *part, float *whole, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_parts_scatter(const lmbi_parts *p, const float *whole, float *part, lmb_error *err);

/* A vector [count] of which every rank has the pages with its own runs alone: collect() makes it whole on rank 0,
 * spread() gives every owner its own from there, forget() gives the other pages back to the system, copy() touches own
 * numbers only. */
LMB_MUST_CHECK lmb_status lmbi_parts_collect(const lmbi_parts *p, float *vector, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_parts_spread(const lmbi_parts *p, float *vector, lmb_error *err);
void lmbi_parts_forget(const lmbi_parts *p, float *vector);
void lmbi_parts_copy(const lmbi_parts *p, float *to, const float *from);

#endif
