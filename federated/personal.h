/* federated/personal.h - how good the round's model is for a client, and what it makes of it for itself.
 *
 * Idea: a client holds out a share of its samples, the same in every round, and tells how the model that it was sent
 * does on them: so a federation knows how its clients fare, one by one, and not only how a server's samples do. It may
 * also train the last layer alone, for itself: that head is never sent, and begins anew from each round's model.
 *
 *   source  federated evaluation: Wang et al. 2019, arXiv:1910.10252; a local last layer: Collins et al. 2021,
 *           arXiv:2102.07078
 */
#ifndef LMB_FEDERATED_PERSONAL_H
#define LMB_FEDERATED_PERSONAL_H

#include "core/graph/state.h"
#include "datasets/dataset.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A client's samples in two parts, views of them; both NULL where nothing is held out. */
typedef struct lmb_held {
    lmb_dataset *train, *valid;
} lmb_held;

/* `share` of each class is held out, at least one sample and never all; of one sample or with share 0: nothing. */
LMB_MUST_CHECK lmb_status lmb_held_open(const lmb_dataset *d, double share, uint64_t seed, lmb_held *out,
                                        lmb_error *err);
void lmb_held_close(lmb_held *h);

typedef struct lmb_personal_config {
    int64_t head;
    double lr;
} lmb_personal_config;
extern const lmb_field lmb_personal_fields[];

/* The training of a last layer, kept from client to client as long as its plans fit. Zeros at first. */
typedef struct lmb_head {
    lmb_graph *model;  /* everything but the last layer is frozen */
    lmb_trainer *trainer;
    lmb_loss loss;
    double smoothing;
    int64_t shards;    /* that the trainer's plans are for */
} lmb_head;

/* From `start` [count of the layout] of `model`; *trained: borrowed until the next call.
 *   errors  E_UNSUPPORTED for a model without a last layer that has weights; E_STOPPED when the watcher stopped it */
LMB_MUST_CHECK lmb_status lmb_head_train(lmb_head *h, const lmb_train_config *c, const lmb_graph *model,
                                         const lmb_state_layout *l, const float *start, const lmb_dataset *data,
                                         const lmb_train_watch *watch, const float **trained, lmb_error *err);
void lmb_head_close(lmb_head *h);

#ifdef __cplusplus
}
#endif
#endif
