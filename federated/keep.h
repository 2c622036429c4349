/* federated/keep.h - numbers of the model that stay with each client (`local.keep`).
 *
 * Idea: where clients' samples differ in kind, such as another sensor, the layers that normalise features do better
 * with numbers of their own: what is kept is trained by the client, never sent and never overwritten (FedBN).
 *
 *   keep: batch_norm             scale, offset and statistics of every BatchNormalization
 *   keep: [batch_norm, "head.*"] patterns over the names of the model's numbers (core/base/scan.h)
 *
 *   source  Li et al.: FedBN. ICLR 2021, arXiv:2102.07623
 */
#ifndef LMB_FEDERATED_KEEP_H
#define LMB_FEDERATED_KEEP_H

#include "core/graph/state.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

typedef struct lmb_keep {
    bool *segment; /* [segments of the layout]; NULL: nothing is kept */
    size_t values; /* how many numbers that is                        */
} lmb_keep;

/* E_ARG when `tree` is neither a text nor a list of texts. NULL is fine. */
LMB_MUST_CHECK lmb_status lmb_keep_check(const struct lmb_tree *tree, lmb_error *err);
/* errors  E_ARG for a pattern that no number of the model is named by */
LMB_MUST_CHECK lmb_status lmb_keep_open(const struct lmb_tree *tree, const lmb_graph *model, const lmb_state_layout *l,
                                        lmb_keep *out, lmb_error *err);
void lmb_keep_close(lmb_keep *k);
static inline bool lmb_keep_has(const lmb_keep *k, int segment) { return k->segment && k->segment[segment]; }
/* kept[values] into the places they have in state, or out of them. */
void lmb_keep_put(const lmb_keep *k, const lmb_state_layout *l, const float *kept, float *state);
void lmb_keep_take(const lmb_keep *k, const lmb_state_layout *l, const float *state, float *kept);

#ifdef __cplusplus
}
#endif
#endif
