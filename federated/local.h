/* federated/local.h - what a client does in a round: train the model it was sent on its own samples.
 *
 * The server hands clients a graph (ONNX bytes), the numbers in it and settings as YAML text: a training
 * (train/trainer.h), and what keeps a client from forgetting what it was sent. A client knows few classes well and its
 * labels are few; left alone, it drifts away. Remedies, all standard: `distill` holds it to the predictions of the
 * round's model (train/loss.h), and `calibrate` tells the cross-entropy how frequent each class is here, so that the
 * classifier need not learn it (Zhang et al. 2022, arXiv:2209.00189, with the form of Menon et al. 2021). `prox` is
 * FedProx. `keep` leaves numbers with the client (keep.h), `validation` and `personal` tell how it fares (personal.h).
 *
 * One lmb_local serves many rounds, and in a simulation many clients: it keeps what is compiled as long as it fits.
 * What comes out depends on the task and the samples alone, not on what was done before.
 *
 *   errors   whatever the server sends is bound and checked like a configuration: a sentence, never more
 *   threads  one call at a time
 */
#ifndef LMB_FEDERATED_LOCAL_H
#define LMB_FEDERATED_LOCAL_H

#include "core/graph/state.h"
#include "datasets/dataset.h"
#include "federated/client.h"
#include "federated/keep.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const lmb_field lmb_local_fields[]; /* the settings */
/* A mistake in the settings shows where they are written, not on the clients. NULL: the defaults. `term`: what the
 * aggregator asks for (federated/terms/term.h), or NULL. */
LMB_MUST_CHECK lmb_status lmb_local_check(const struct lmb_tree *settings, const char *term, lmb_error *err);

/* Parameters travel between server and clients; statistics, observers, masks and what is frozen stay where they are,
 * and the change of them is 0. */
static inline bool lmb_local_travels(const lmb_segment *s) { return s->role == LMB_ROLE_PARAMETER && !s->frozen; }

typedef struct lmb_local lmb_local;
LMB_MUST_CHECK lmb_status lmb_local_create(lmb_local **out, lmb_error *err);
void lmb_local_destroy(lmb_local *l); /* NULL is a no-op */

/* Which numbers `keep` of the settings leaves with clients; their change is 0 too. lmb_keep_close() it. */
LMB_MUST_CHECK lmb_status lmb_local_stays(const struct lmb_tree *settings, const lmb_graph *model,
                                          const lmb_state_layout *l, lmb_keep *out, lmb_error *err);

/* Train `task` on `data`; result->delta (n) is filled, result->examples is the number of those trained on.
 *   memory  a file for what a client keeps from round to round, where term or `keep` ask for it; NULL: it is forgotten
 *   errors  E_SHAPE when the data have other classes than the model, E_STOPPED when the task is no longer wanted */
LMB_MUST_CHECK lmb_status lmb_local_train(lmb_local *l, const lmb_dataset *data, const lmb_train_task *task,
                                          lmb_train_result *result, const char *memory, lmb_error *err);
/* The model that the client trained last has made for itself (kept numbers, a head of its own) into an ONNX file;
 * nothing where it makes none. Before the next lmb_local_train. */
LMB_MUST_CHECK lmb_status lmb_local_own(lmb_local *l, const char *path, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
