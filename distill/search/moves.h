/* distill/search/moves.h - the single steps by which a model can become cheaper, and what each costs and gains.
 *
 *   shrink   a class of channels (distill/prune/axes.h) goes down to the next multiples of the kernel tile; those that
 *            the loss will miss least go (taylor.h)
 *   factor   a layer becomes two or three at a rank (distill/lowrank)
 *   bits     a layer's weights get fewer bits (distill/quantize/bits.h): fewer bytes of the file, no less time
 *   block    a residual block's branch goes (distill/prune/blocks.h)
 *
 * The gain is the difference of the files that the models would be deployed as (deployed.h). A batch of moves is chosen
 * by loss over gain, greedily, until the wanted share of the cost is gone: a knapsack filled in the order of worth.
 * Moves that alone take more than the share are left for when the others do not make half of it.
 *
 *   source   Yang et al. 2018 (NetAdapt), arXiv:1804.03230: steps by a table of latencies; Molchanov et al. 2019 for
 *            the loss
 *   owns     moves own what they found; the graph is borrowed and outlives them
 */
#ifndef LMB_DISTILL_SEARCH_MOVES_H
#define LMB_DISTILL_SEARCH_MOVES_H

#include "comm/collective.h"
#include "distill/lowrank/lowrank.h"
#include "distill/prune/blocks.h"
#include "distill/quantize/qat.h"
#include "distill/search/budget.h"
#include "distill/search/latency.h"
#include "distill/search/taylor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { LMB_MOVE_SHRINK, LMB_MOVE_FACTOR, LMB_MOVE_BITS, LMB_MOVE_BLOCK, LMB_MOVE_KINDS } lmb_move_kind;
enum { LMB_MOVE_NAME = 160 };

typedef struct lmb_move {
    lmb_move_kind kind;
    char what[LMB_MOVE_NAME]; /* the weight that names the class or is the layer's */
    int64_t from, to;         /* shrink, block: channels; factor: `to` is rank_out; bits */
    int64_t rank_in;          /* factor                                            */
    double loss;              /* estimated, > 0                                    */
    double gain[LMB_COSTS];   /* what the costs lose by it alone                   */
    int class, basis, block;  /* private: which class, decomposition (-1: none), block */
} lmb_move;

typedef struct lmb_moves {
    const lmb_graph *g;
    const lmb_qat_config *qat; /* of lmb_moves_config */
    lmb_axis_map *map;
    double *score;      /* [map->n_channels] */
    lmb_basis **basis;
    lmb_block *block;
    double cost[LMB_COSTS]; /* of g */
    lmb_move *move;
    int n, n_bases, n_blocks, room;
} lmb_moves;

typedef struct lmb_moves_config {
    int64_t tile, min_channels;
    bool use[LMB_MOVE_KINDS];
    int64_t bits_min; /* 0, 8: all keep their bits */
    const lmb_qat_config *qat; /* of the integers that models become; borrowed; NULL: the defaults */
} lmb_moves_config;

/* All moves of a model. One whose shapes a frozen table does not have is left out.
 *   errors  E_UNSUPPORTED: the model itself has no integer form, or is not in the frozen table */
LMB_MUST_CHECK lmb_status lmb_moves_find(const lmb_graph *g, const lmb_moves_config *c, const lmb_taylor *taylor,
                                         lmb_latency *latency, lmb_moves *out, lmb_error *err);
void lmb_moves_free(lmb_moves *m);
/* All ranks call, each with the same g: rank 0 with all that it found of it, the others with nothing (zeros), which then
 * becomes rank 0's moves, to be applied and tried; costs and choices stay a matter of rank 0, who has the latencies. */
LMB_MUST_CHECK lmb_status lmb_moves_share(lmb_moves *m, const lmb_graph *g, lmb_comm *comm, lmb_error *err);
/* Private to moves.c, move_*.c and choose.c: add a move with its loss, unless it gains nothing or its shapes are unknown to a
 * frozen table. */
lmb_status lmbi_moves_add(lmb_moves *m, const lmb_move *move, lmb_latency *latency, lmb_error *err);
/* What the model would cost as it is deployed, by the integers that m is about. */
lmb_status lmbi_moves_costs(const lmb_moves *m, const lmb_graph *g, lmb_latency *latency, double cost[LMB_COSTS],
                            lmb_error *err);

/* The model after some moves, at most one for a class or layer. */
LMB_MUST_CHECK lmb_status lmb_moves_apply(const lmb_moves *m, const int *which, int n, lmb_graph **out, lmb_error *err);

/* A batch of moves that takes the share `step` of `goal` away, or half of it at least, or as much as there is to take.
 *   weight    [m->n] factor on a move's loss, of what rejections have taught; NULL: 1. INFINITY: is not taken
 *   exchange  what a share of each other cost is worth beside the same share of `goal` (penalty.h); NULL: nothing
 *   which   [m->n] the moves, *n of them; *n is 0 when nothing gains
 *   cost    of the model after them
 *   out     that model, the caller's; NULL when *n is 0 */
LMB_MUST_CHECK lmb_status lmb_moves_choose(const lmb_moves *m, lmb_goal goal, double step, const double *weight,
                                           const double *exchange, lmb_latency *latency, int *which, int *n,
                                           double cost[LMB_COSTS], lmb_graph **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
