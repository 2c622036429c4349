/* distill/lowrank/lowrank.h - a layer as two or three thinner ones.
 *
 *   fully connected, 1x1   w [out, in] = (u sqrt(s)) (sqrt(s) v'), cut off after `rank` singular values: the best of
 *                          that rank
 *   k x k                  w [out, in, kh, kw] = sum a[out, i] core[i, j, kh, kw] b[in, j]: a 1x1 convolution from `in`
 *                          to rank_in channels, the k x k between them, a 1x1 from rank_out to `out` (Tucker-2); a and
 *                          b are the
 *                          leading singular vectors of the two unfoldings (HOSVD)
 *
 * At full rank the graph computes what it did before, up to rounding. The layer's bias stays with the last part, so
 * that a BatchNormalization behind it still folds. New parameters are named <weight>.in, .core and .out.
 *
 *   source   Denton et al. 2014, arXiv:1404.0736; Kim et al. 2016 (Tucker-2), arXiv:1511.06530, section 3; De Lathauwer
 *            et al. 2000
 *   owns     a basis owns its matrices and nothing of the graph
 *   threads  a basis is read-only once made
 */
#ifndef LMB_DISTILL_LOWRANK_LOWRANK_H
#define LMB_DISTILL_LOWRANK_LOWRANK_H

#include "core/graph/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether node n is such a layer: Conv of one group over images or Gemm, with trained weights of its own. */
bool lmb_lowrank_fits(const lmb_graph *g, const lmb_node *n);

typedef struct lmb_basis {
    int64_t out, in, taps;   /* taps: kh * kw; 1: two factors                           */
    int64_t rank;            /* of two factors: singular values there are               */
    double *w;               /* [out, in, taps]                                         */
    double *left, *right;    /* [out, out or rank], [in, in or rank], columns by weight */
    double *s;               /* two factors: [rank], descending                         */
    double *s_out, *s_in;    /* three: of the two unfoldings, as many as lmb_basis_most() */
} lmb_basis;

/* Of the weights of a node that fits. */
LMB_MUST_CHECK lmb_status lmb_basis_create(const lmb_graph *g, const lmb_node *n, lmb_basis **out, lmb_error *err);
void lmb_basis_destroy(lmb_basis *b); /* NULL is a no-op */
/* The greatest ranks that such a layer can have, at which it is what it was. */
void lmb_basis_most(int64_t out, int64_t in, int64_t taps, int64_t *rank_out, int64_t *rank_in);
/* Share of the sum of squares of the weights that is left at these ranks; 1 for a layer of zeros. */
LMB_MUST_CHECK lmb_status lmb_basis_energy(const lmb_basis *b, int64_t rank_out, int64_t rank_in, double *share,
                                           lmb_error *err);
/* What is left of the weights, [out, in, taps]; for two factors rank_out must be rank_in. */
LMB_MUST_CHECK lmb_status lmb_basis_weights(const lmb_basis *b, int64_t rank_out, int64_t rank_in, float *w,
                                            lmb_error *err);

/* Which layer, by the name of its weight, and how far. */
typedef struct lmb_lowrank {
    const char *weight;
    int64_t rank_out, rank_in;
    const lmb_basis *basis; /* of this weight, if it is at hand; NULL: computed */
} lmb_lowrank;

/*   errors  E_ARG: no such layer, or ranks outside 1 .. the layer's own */
LMB_MUST_CHECK lmb_status lmb_pass_lowrank(const lmb_graph *g, const lmb_lowrank *what, int n, lmb_graph **out,
                                           lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
