/* distill/search/probe.h - what each move costs, by trying it.
 *
 * Idea: gradients (taylor.h) tell what a small change costs. A stage's channels or a block gone are no small changes: on
 * a ResNet-56 first-order estimates of them are up to fifty times too low, and those of a layer's own channels twenty
 * times too high, so that a search by them takes the wrong ones. Moves are few and a forward pass of some samples is
 * cheap; so each is made, and its answers are compared with those of the model as it is.
 *
 *   loss     mean over the samples of KL(softmax(z / T) || softmax(z' / T)): no labels, and a temperature, because a
 *            trained model's labels are nearly all right on what it was trained on and would tell little apart
 *   source   the comparison of answers: Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2
 *   ranks    moves are shared out among ranks, and of a rank among threads; each is computed by one, so how many there
 *            are changes no bit
 */
#ifndef LMB_DISTILL_SEARCH_PROBE_H
#define LMB_DISTILL_SEARCH_PROBE_H

#include "comm/collective.h"
#include "datasets/dataset.h"
#include "distill/search/moves.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_probe_config {
    int64_t samples;     /* of the data, chosen by the seed; all if there are not so many */
    uint64_t seed;
    const char *backend;
    int threads;
    double temperature;
    bool (*work)(void *ctx, const char *what, int64_t done, int64_t all); /* false: stop, E_STOPPED; NULL: nobody looks */
    void *ctx;
    lmb_comm *comm; /* all ranks call, with the same moves (lmb_moves_share); NULL: this one alone */
} lmb_probe_config;

/* Every move's `loss` becomes what it was tried to be, > 0, on all ranks. E_NUMERIC: the model's own answers are not
 * finite; E_STOPPED on all ranks where one was stopped. */
LMB_MUST_CHECK lmb_status lmb_probe_moves(lmb_moves *m, const lmb_dataset *data, const lmb_probe_config *c,
                                          lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
