/* distill/tune/gp.h - a Gaussian process: what is to be expected between points that were tried, and how surely.
 *
 *   kernel      signal * Matern 5/2 of r = sqrt(sum ((x - x') / length)^2); in a key with a choice two places are
 *               equal, or 1 apart
 *   noise       of every observation, as a share of the signal's variance; estimated
 *   likelihood  of the observations, the signal's variance worked out of them; lengths and noise are those that make
 *               it largest, together with a weak belief in lengths of half a range and noise of 1 %, by a compass
 *               search: a function of the data
 *   source      Rasmussen, Williams 2006, Gaussian Processes for Machine Learning, algorithm 2.1 and equation 4.17;
 *               expected improvement: Jones, Schonlau, Welch 1998, J. Global Optimization 13:455-492
 *   threads     one call at a time on a process
 */
#ifndef LMB_DISTILL_TUNE_GP_H
#define LMB_DISTILL_TUNE_GP_H

#include <stdbool.h>

#include "distill/tune/space.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_gp {
    int n, room, dims;
    bool choice[LMB_TUNE_DIMS];
    double length[LMB_TUNE_DIMS], noise; /* noise: variance over the signal's */
    double mean, signal;                 /* of y; the signal's variance       */
    double likelihood;                   /* log, of the observations          */
    double (*x)[LMB_TUNE_DIMS];          /* [room]                            */
    double *y, *factor, *weight;         /* [room], Cholesky [room, room], [room] */
} lmb_gp;

/* Room for `room` observations; lengths 0.5, noise 0.01. */
LMB_MUST_CHECK lmb_status lmb_gp_create(int dims, int room, lmb_gp *out, lmb_error *err);
void lmb_gp_free(lmb_gp *g);
/* One more observation; call lmb_gp_settle before the next prediction. */
void lmb_gp_add(lmb_gp *g, const double *x, double y);
/* Take in the observations at the present lengths and noise; mean: subtracted from y. E_NUMERIC: points and noise that
 * give no positive definite matrix. */
LMB_MUST_CHECK lmb_status lmb_gp_settle(lmb_gp *g, lmb_error *err);
/* Set mean, lengths and noise by what is most likely, and settle. */
LMB_MUST_CHECK lmb_status lmb_gp_fit(lmb_gp *g, lmb_error *err);
/* Mean and standard deviation of what lies at x, without the noise of another observation. scratch: [n]. */
void lmb_gp_at(const lmb_gp *g, const double *x, double *scratch, double *mean, double *deviation);
/* How much smaller than `best` y is to be expected at a place with this mean and deviation, counting larger ones as no
 * gain. */
double lmb_expected_improvement(double best, double mean, double deviation);

#ifdef __cplusplus
}
#endif
#endif
