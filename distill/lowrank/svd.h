/* distill/lowrank/svd.h - singular values and vectors of a small dense matrix.
 *
 * Idea: one-sided Jacobi. Pairs of columns are turned until all are orthogonal; their lengths are the singular values.
 * Slower than bidiagonalisation, short, and accurate in the small values too.
 *
 *   source   Hestenes 1958; Golub and Van Loan, Matrix Computations, 4th ed., section 8.6.3
 *   threads  pure
 */
#ifndef LMB_DISTILL_LOWRANK_SVD_H
#define LMB_DISTILL_LOWRANK_SVD_H

#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* a [m, n] = u diag(s) v', with k = min(m, n).
 *   shapes   u [m, k] or NULL, s [k] descending, v [n, k] or NULL; a vector of a singular value of 0 is all zeros on
 *            the side of the longer dimension. What rounding alone has left, 1e-14 of the matrix's length, is 0
 *   errors   E_NUMERIC for numbers that are not finite */
LMB_MUST_CHECK lmb_status lmb_svd(const double *a, int64_t m, int64_t n, double *u, double *s, double *v,
                                  lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
