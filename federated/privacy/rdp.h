/* federated/privacy/rdp.h - what rounds with Gaussian noise tell about one client, added up: Renyi differential
 * privacy.
 *
 * Idea: of each mechanism the divergence of order alpha between what the server gives out with and without a client is
 * known, for many alpha; over rounds these numbers add up; and at the end each of them gives an epsilon for a delta,
 * the smallest of which holds. Orders are integers, for which the sums are finite and exact: libraries that use
 * fractions differ from each other there, and gain less than 0.1 % (tests/federated/test_privacy.c).
 *
 *   source   Mironov: Renyi differential privacy. CSF 2017, arXiv:1702.07476
 *            poisson: Mironov, Talwar, Zhang: arXiv:1908.10530, section 3.3
 *            fixed:   Wang, Balle, Kasiviswanathan: arXiv:1808.00087, theorem 9
 *            epsilon: Balle, Barthe, Gaboardi, Hsu, Sato: arXiv:1905.09982, theorem 21
 *   threads  all functions are pure
 */
#ifndef LMB_FEDERATED_PRIVACY_RDP_H
#define LMB_FEDERATED_PRIVACY_RDP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_RDP_ORDERS = 257 };
int lmb_rdp_order(int i); /* 2 .. 256, 512, 1024 */

typedef struct lmb_rdp { double at[LMB_RDP_ORDERS]; } lmb_rdp; /* all 0: nothing was told */

/* How the clients of a round are drawn, from all that are there. */
typedef enum {
    LMB_SAMPLING_ALL,     /* everybody takes part, or nothing is claimed of the drawing                               */
    LMB_SAMPLING_POISSON, /* each by itself with probability q: neighbours differ by one client more or less          */
    LMB_SAMPLING_FIXED    /* a share q, without replacement: neighbours differ by the data of one client              */
} lmb_sampling;

/* What a federation remembers of its privacy. */
typedef struct lmb_rdp_ledger {
    uint64_t sampling, rounds;
    double clip; /* of the next round */
    lmb_rdp spent;
} lmb_rdp_ledger;

/* Of order alpha, of one round: a sum of vectors of norm <= C, one a client, with normal noise of standard deviation z
 * C. Infinite for z = 0. 0 < q <= 1. */
double lmb_rdp_gaussian(lmb_sampling sampling, double q, double z, int alpha);
/* sum += times * of one round, at all orders. */
void lmb_rdp_add(lmb_rdp *sum, lmb_sampling sampling, double q, double z, uint64_t times);

/* The epsilon that rdp[n] at orders alpha[n] gives for delta, and by which order (best: NULL: not wanted). Never below
 * 0. */
double lmb_rdp_convert(const double *rdp, const int *alpha, int n, double delta, int *best);
double lmb_rdp_epsilon(const lmb_rdp *r, double delta, int *best);

#ifdef __cplusplus
}
#endif
#endif
