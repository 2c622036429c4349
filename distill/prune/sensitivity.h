/* distill/prune/sensitivity.h - which layers mind: accuracy against the share of a class's channels that are gone.
 *
 * Idea: each class of channels (axes.h) alone is cut to less and less, by a criterion, and the model is evaluated each
 * time without any training. The curves say where there is something to be had, and where not; joined, cuts hurt more
 * than the sum of what each does alone.
 *
 *   source   Li et al. 2017, arXiv:1608.08710, section 3.2, figure 2 (b)
 */
#ifndef LMB_DISTILL_PRUNE_SENSITIVITY_H
#define LMB_DISTILL_PRUNE_SENSITIVITY_H

#include "datasets/dataset.h"
#include "distill/prune/channels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_SENSITIVITY_SHARES = 16 };

typedef struct lmb_sensitivity_config {
    lmb_prune_channels prune; /* criterion, seed, gradients; targets and floors do not count */
    int n_shares;
    double share[LMB_SENSITIVITY_SHARES]; /* of the channels that go, rising, in (0, 1); one channel always stays */
    const char *backend;
    int threads;
} lmb_sensitivity_config;

typedef struct lmb_sensitivity_row {
    char name[64];     /* of the weight that makes the class */
    int32_t channels;
    int32_t left[LMB_SENSITIVITY_SHARES];
    double accuracy[LMB_SENSITIVITY_SHARES], loss[LMB_SENSITIVITY_SHARES];
    double macs[LMB_SENSITIVITY_SHARES]; /* share of the whole model's */
} lmb_sensitivity_row;

/* A class that no channel can be taken from. */
typedef struct lmb_sensitivity_held {
    char name[64], why[160];
    int32_t channels;
} lmb_sensitivity_held;

typedef struct lmb_sensitivity {
    double accuracy, loss; /* of the whole model */
    int64_t samples;
    int n, n_shares;
    double share[LMB_SENSITIVITY_SHARES];
    lmb_sensitivity_row *row; /* [n] classes that channels can be taken from, in the order of the graph */
    int n_held;
    lmb_sensitivity_held *held; /* [n_held] the others */
} lmb_sensitivity;

/*   g         in inference form, its state inside
 *   progress  after each class, may be NULL
 *   errors    E_ARG: shares, a criterion that has nothing to go by; E_UNSUPPORTED: no class can be cut, with the reasons;
 *             E_NUMERIC: weights, or answers of the whole model, that are not finite */
LMB_MUST_CHECK lmb_status lmb_sensitivity_create(const lmb_graph *g, const lmb_dataset *data,
                                                 const lmb_sensitivity_config *c,
                                                 void (*progress)(void *ctx, int done, int all), void *ctx,
                                                 lmb_sensitivity **out, lmb_error *err);
void lmb_sensitivity_destroy(lmb_sensitivity *s); /* NULL is a no-op */

#ifdef __cplusplus
}
#endif
#endif
