/* distill/lowrank/ranks.h - ranks by energy: as many as hold a share of a layer.
 *
 * Idea: the squares of a matrix's singular values sum to those of its elements, and what a cut leaves out is lost. A
 * layer gets the smallest rank whose squares are `energy` of the sum: of its weights as a matrix (fully connected, 1x1),
 * or, for k x k, one for outputs and one for inputs, each by the values of its own unfolding. There no more is lost than
 * both leave out together, so that at least 2 energy - 1 is left. Ranks are rounded up to what kernels work on at a
 * time, and a layer is factorised only where that takes enough of its multiply-accumulates away: two or three layers in
 * place of one are two or three passes over memory.
 *
 * A full layer that is written in other words (MatMul and Add, Gemm without transB: quantize/gemm_form.h) is one like any
 * other: ranks are those of the graph in that form.
 *
 *   source   the error of a truncated HOSVD: De Lathauwer et al. 2000, property 10; Tucker-2 of convolutions: Kim et al.
 *            2016, arXiv:1511.06530, who take ranks from VBMF
 *   owns     ranks own their bases and the form of the graph that names are borrowed from
 *   threads  pure
 */
#ifndef LMB_DISTILL_LOWRANK_RANKS_H
#define LMB_DISTILL_LOWRANK_RANKS_H

#include "core/base/field.h"
#include "distill/lowrank/lowrank.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_ranks_config {
    double energy, gain;
    int64_t tile;
    bool ends;
    const struct lmb_tree *layers; /* names of weights; NULL: all layers */
} lmb_ranks_config;
extern const lmb_field lmb_ranks_fields[];

/* The fewest of the values s [n], descending, whose squares are `energy` of the sum of all squares; n for zeros alone.
 * What is no more than the rounding of f32 never counts, so that energy 1 is all there is. */
int64_t lmb_ranks_of_energy(const double *s, int64_t n, double energy);

/* A layer that can be factorised. */
typedef struct lmb_ranks_row {
    const char *weight;          /* its name */
    int64_t out, in, taps;
    int64_t rank_out, rank_in;   /* that it has or would have; 0: at no ranks it would gain enough */
    double energy;               /* share of the squares that is left at these                     */
    double macs, macs_after;     /* of one sample */
    bool thin;                   /* it becomes two or three */
    lmb_basis *basis;            /* of those that do */
} lmb_ranks_row;

typedef struct lmb_ranks {
    int n;
    lmb_ranks_row *row;          /* in the order of the graph */
    int others;                  /* layers that can not be: several groups, other shapes, frozen or shared weights */
    lmb_graph *form;             /* the graph with full layers in one form; what apply() makes thinner */
} lmb_ranks;

/* Do c->layers name layers of g that can be factorised? E_ARG with the place, and some that can. */
LMB_MUST_CHECK lmb_status lmb_ranks_check(const lmb_graph *g, const lmb_ranks_config *c, lmb_error *err);
/*   errors  E_ARG as check(); E_NUMERIC: a weight that is not finite. *out is empty then */
LMB_MUST_CHECK lmb_status lmb_ranks_choose(const lmb_graph *g, const lmb_ranks_config *c, lmb_ranks *out,
                                           lmb_error *err);
/* The graph with its thin layers: lmb_pass_lowrank. Without any, a copy of r->form. */
LMB_MUST_CHECK lmb_status lmb_ranks_apply(const lmb_ranks *r, lmb_graph **out, lmb_error *err);
void lmb_ranks_free(lmb_ranks *r);

#ifdef __cplusplus
}
#endif
#endif
