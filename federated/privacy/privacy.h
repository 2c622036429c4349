/* federated/privacy/privacy.h - differential privacy for the clients of a federation: what the models that are given
 * out tell about any one client is bounded, whatever it has and whoever looks.
 *
 * Idea: every client of a round has the same weight and a change of bounded norm (clip); the server adds normal noise
 * of noise_multiplier times that bound to their sum, and divides by a number that does not depend on who came (target).
 * An accountant (rdp.h) adds up what the rounds tell. Before a round begins it is known what epsilon will be after it:
 * a round that would overspend the budget does not begin. The server is trusted; the models, and all that is made of
 * them, are not.
 *
 * The unit is one client with everything it has. Neighbours are federations with one client more or less (sampling all,
 * poisson), or with one client's data replaced (fixed). Who takes part is drawn by a generator that nobody can guess,
 * and must not become known: so says the theory that makes rounds of a few of many clients cheaper.
 *
 * Adaptive clip: clients say whether they were below it, that count gets noise too, and the clip moves so that a
 * quantile of them is. Of the privacy that noise_multiplier buys the count takes its part: the sum's noise is a little
 * greater.
 *
 *   source   McMahan, Ramage, Talwar, Zhang: ICLR 2018, arXiv:1710.06963
 *            Andrew, Thakkar, McMahan, Ramaswamy: NeurIPS 2021, arXiv:1905.03871, theorem 1 and algorithm 1
 *   threads  one lmb_privacy belongs to one thread
 */
#ifndef LMB_FEDERATED_PRIVACY_PRIVACY_H
#define LMB_FEDERATED_PRIVACY_PRIVACY_H

#include <stddef.h>

#include "core/base/field.h"
#include "federated/aggregators/exact_sum.h"
#include "federated/privacy/noise.h"
#include "federated/privacy/rdp.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

typedef struct lmb_privacy_config {
    double noise_multiplier, delta, epsilon_budget;
    int64_t sampling, population; /* lmb_sampling */
    const struct lmb_tree *clip;
} lmb_privacy_config;
extern const lmb_field lmb_privacy_fields[];

typedef struct lmb_privacy_adaptive {
    double initial, quantile, rate, noise, most;
} lmb_privacy_adaptive;
extern const lmb_field lmb_privacy_adaptive_fields[]; /* of `clip: {name: adaptive, ...}` */

typedef struct lmb_privacy {
    lmb_privacy_config c;
    lmb_privacy_adaptive a;
    bool on, adaptive;
    uint64_t cohort;       /* what sums are divided by: target */
    double z;              /* of the sum's noise               */
    double most_clip;      /* it never goes beyond             */
    const uint8_t *key;    /* [LMB_DP_KEY], given by a test or a simulation; NULL: noise that nobody can repeat */
    bool repeatable;       /* a key was given: said in the description */
    lmb_rdp_ledger ledger; /* goes to the journal              */
} lmb_privacy;

enum { LMB_PRIVACY_TEXT = 400 };

/* `tree` NULL: out->on is false. E_ARG names what is missing or contradicts itself. */
LMB_MUST_CHECK lmb_status lmb_privacy_open(const struct lmb_tree *tree, uint64_t target, lmb_privacy *out,
                                           lmb_error *err);
/* Go on from a ledger; E_ARG when its rounds were counted for other neighbours. */
LMB_MUST_CHECK lmb_status lmb_privacy_resume(lmb_privacy *p, const lmb_rdp_ledger *ledger, lmb_error *err);

double lmb_privacy_share(const lmb_privacy *p);               /* of the clients that a round draws, as configured */
double lmb_privacy_epsilon(const lmb_privacy *p);             /* so far */
double lmb_privacy_after(const lmb_privacy *p, double share, uint64_t rounds); /* and so many more */
bool lmb_privacy_allows(const lmb_privacy *p, double share);  /* one more round */
uint64_t lmb_privacy_rounds_left(const lmb_privacy *p);       /* as configured; at most 10^6 */

/* Who takes part: chosen[] gets numbers below n, at most `room` of them, `target` for LMB_SAMPLING_FIXED. Returns how
 * many; *share: the q of the round. Not for LMB_SAMPLING_ALL. */
size_t lmb_privacy_draw(const lmb_privacy *p, uint64_t round, size_t n, size_t room, uint32_t *chosen, double *share);

/* Noise on the sum of `delivered` updates of weight 1, of which `within` were not cut; its weight becomes the cohort.
 * The round is entered into the ledger and the clip adapted.
 *   errors  E_ARG when the sum's units are too coarse or too fine for the noise */
LMB_MUST_CHECK lmb_status lmb_privacy_add_noise(lmb_privacy *p, lmbi_exact_sum *sum, uint64_t round, double share,
                                                uint64_t delivered, uint64_t within, lmb_error *err);
/* The same for a sum whose noise is in it already: the clients added their parts. */
void lmb_privacy_account(lmb_privacy *p, lmbi_exact_sum *sum, double share);
/* What limits->max_abs must be for the sum to hold the noise as well. */
double lmb_privacy_room(const lmb_privacy *p, double max_abs, uint64_t max_updates);

/* "epsilon 1.23 at delta 1e-05 after 7 rounds (budget 8); ..." with unit, neighbours and mechanism. */
void lmb_privacy_describe(const lmb_privacy *p, char out[LMB_PRIVACY_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
