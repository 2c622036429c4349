/* federated/lanes.h - who trains a simulation's clients: one lmb_local a lane, on one GPU.
 *
 * Idea: a client of a federation is small beside a GPU: its kernels fill a part of it, and between them the host
 * computes. Several clients, each with a trainer, memory and a queue of its own, fill it together; what each leaves is
 * what it leaves alone. On the processor one client takes all threads, and there is one lane.
 *
 *   memory   a lane keeps what its trainer has compiled from client to client. Without a number, as many lanes as fit:
 *            the first client shows what one takes
 *   threads  each lane's on one thread at a time; the others between rounds
 */
#ifndef LMB_FEDERATED_LANES_H
#define LMB_FEDERATED_LANES_H

#include "federated/local.h"
#include "federated/simulate.h"

typedef struct lmb_lanes lmb_lanes;
/* settings: of local training; streams: of lmb_simulate_config; log: hears how many lanes there are; borrowed, may be
 * NULL.
 *   errors  E_ARG several streams without a GPU */
LMB_MUST_CHECK lmb_status lmb_lanes_create(const struct lmb_tree *settings, int64_t streams, const lmb_log *log,
                                           lmb_lanes **out, lmb_error *err);
void lmb_lanes_destroy(lmb_lanes *l); /* NULL is a no-op */
/* What lmb_lanes_create would refuse. */
LMB_MUST_CHECK lmb_status lmb_lanes_check(const struct lmb_tree *settings, int64_t streams, lmb_error *err);

bool lmb_lanes_on_gpu(const lmb_lanes *l);
/* Between rounds: how many there are; those that were left are not counted, and the numbers begin at 0 again.
 * *unsettled: room() has a say. */
int lmb_lanes_count(lmb_lanes *l, bool *unsettled);
LMB_MUST_CHECK lmb_status lmb_lanes_train(lmb_lanes *l, int lane, const lmb_dataset *data, const lmb_train_task *task,
                                          lmb_train_result *result, const char *memory, lmb_error *err);
/* Lanes that the GPU has memory for, now that lane 0 has trained and no other: at least 1. Those beyond are left. */
int lmb_lanes_room(lmb_lanes *l);
void lmb_lanes_leave(lmb_lanes *l, int lane); /* its memory is given back */

#endif
