/* federated/simulate_parts.h - what simulate.c (rounds), simulate_open.c (what comes before), simulate_lanes.c (clients
 * at a time), simulate_update.c (updates) and simulate_save.c (checkpoints) share. Not for others. */
#ifndef LMB_FEDERATED_SIMULATE_PARTS_H
#define LMB_FEDERATED_SIMULATE_PARTS_H

#include "federated/journal.h"
#include "federated/codec.h"
#include "federated/privacy/privacy.h"
#include "federated/secure.h"
#include "federated/select.h"
#include "federated/simulate.h"

/* What a client of the round left, for all ranks to see. */
typedef struct outcome {
    uint64_t examples; /* 0: nothing */
    double loss, fare[LMB_FARES]; /* NAN: not told */
    int64_t done, within; /* within: was not cut at the privacy's clip */
    uint64_t payload;     /* bytes it would have sent */
} outcome;

typedef struct lmbi_lanes lmbi_lanes;
typedef struct lmbi_sim_masks lmbi_sim_masks;

typedef struct sim {
    const lmb_simulation *o;
    lmb_comm *comm;
    const lmb_aggregator *aggregator;
    void *aggregator_config, *sum;
    const lmb_selector *selector;
    void *selector_config;
    lmb_codec_spec codec, download;
    lmb_privacy privacy;
    lmb_secure secure;
    lmb_hash key;    /* of its noise */
    double share;    /* of the clients, that the round has drawn */
    uint64_t within;
    size_t n;
    float *model, *best, *delta, *scratch; /* scratch: 2 n floats: a received sum */
    float *before;                         /* the model as clients are given it: their updates are changes of that */
    lmb_candidate *client;                 /* [clients] */
    size_t *chosen, *mine;                 /* [target]; [target] places that this rank trains */
    lmbi_lanes *lanes;
    lmbi_sim_masks *masks;                 /* NULL: sums in the clear */
    outcome *left, *all;                   /* [target]; [ranks, target] */
    float **kept;                          /* [target] updates, where single ones are needed */
    bool collected;                        /* those of other ranks are on rank 0 */
    lmb_journal *journal;                  /* rank 0 */
    lmb_journal_state state;
    double best_score, first_score, saved;
    uint64_t best_round;
    lmb_round_report report;
} sim;

/* simulate_open.c: places of a round. Drawn by itself, each client of a private federation may have one. */
size_t lmbi_sim_target(const sim *s);
/* Rules and memory; `close` frees them, also after an error. */
LMB_MUST_CHECK lmb_status lmbi_sim_open(sim *s, lmb_error *err);
void lmbi_sim_close(sim *s);
/* simulate_lanes.c: `rank`: places of a round that this one trains at most. */
LMB_MUST_CHECK lmb_status lmbi_lanes_open(sim *s, size_t rank, lmb_error *err);
void lmbi_lanes_close(sim *s);
/* Train the clients at place[n] and take what they leave, in this order. */
LMB_MUST_CHECK lmb_status lmbi_lanes_train(sim *s, const size_t *place, size_t n, lmb_error *err);
/* simulate.c: what the client at a place has left; own: when it failed. One at a time. */
LMB_MUST_CHECK lmb_status lmbi_sim_take(sim *s, size_t place, lmb_status st, const lmb_error *own,
                                        lmb_train_result *result, lmb_error *err);
/* The updates that a round has kept are no longer needed. */
void lmbi_sim_drop(sim *s);
/* s->before: the model, there and back (server_model.c). */
LMB_MUST_CHECK lmb_status lmbi_sim_give(sim *s, lmb_error *err);
/* Make of a trained change what a server would get, in place; *usable: and would take. */
LMB_MUST_CHECK lmb_status lmbi_sim_update(sim *s, int client, lmb_train_result *r, outcome *left, bool *usable,
                                          lmb_error *err);
/* Under secure aggregation: its integers, into the sum. */
LMB_MUST_CHECK lmb_status lmbi_sim_secure(sim *s, size_t place, lmb_train_result *r, outcome *left, lmb_error *err);
/* simulate_masks.c: with simulate.masks, a round's sum is that of hidden updates: hide() each, show() it at the end. */
LMB_MUST_CHECK lmb_status lmbi_masks_open(sim *s, lmb_error *err);
void lmbi_masks_close(sim *s);
LMB_MUST_CHECK lmb_status lmbi_masks_begin(sim *s, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_masks_hide(sim *s, size_t place, lmb_ring_vector *v, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_masks_show(sim *s, lmb_error *err);
/* simulate_all.c: keep an update of this rank; then, on all ranks: s->delta by an aggregator that needs them all;
 * s->model by the job's `refine`. */
LMB_MUST_CHECK lmb_status lmbi_sim_keep(sim *s, size_t place, const float *delta, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_sim_all(sim *s, lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_sim_refine(sim *s, lmb_error *err);
/* A new run: what clients of an earlier one have left out of their updates is gone. */
LMB_MUST_CHECK lmb_status lmbi_sim_forget(const sim *s, lmb_error *err);
/* On rank 0, when checkpoint_s have passed since the last one, or `now`. */
LMB_MUST_CHECK lmb_status lmbi_sim_save(sim *s, bool now, lmb_error *err);
/* On rank 0: the journal has a state; go back to it. */
LMB_MUST_CHECK lmb_status lmbi_sim_load(sim *s, lmb_error *err);
/* Rank 0 has read a checkpoint: everybody goes on from it. */
LMB_MUST_CHECK lmb_status lmbi_sim_share(sim *s, lmb_error *err);

#endif
