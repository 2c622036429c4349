/* launch/lowrank.h - the section `student.lowrank`: which layers of a trained student become thinner ones, and how it
 * learns on.
 *
 *   lowrank: {energy: 0.9, tile: 8, train: {...}, distill: {...}}
 *
 *   <run>/<stage>/lowrank.json   {"energy", "macs", "macs_after", "layers": [{"weight", "out", "in", "taps", "rank_out",
 *                                "rank_in", "energy", "macs", "macs_after", "thin"}, ...]}, for the report
 */
#ifndef LMB_LAUNCH_LOWRANK_H
#define LMB_LAUNCH_LOWRANK_H

#include "train/loss.h"
#include "train/trainer.h"
#include "distill/lowrank/ranks.h"

typedef struct lmb_lowrank_config {
    lmb_train_config train;
    lmb_distill_config distill;
    lmb_ranks_config ranks;
} lmb_lowrank_config;

/* Rows beside lmb_ranks_fields. */
extern const lmb_field lmb_lowrank_fields[];

/* Bind `student.lowrank`. */
LMB_MUST_CHECK lmb_status lmb_lowrank_bind(const struct lmb_tree *lowrank, lmb_lowrank_config *out, lmb_error *err);
/* The student that learns on, and what was chosen. `ranks`: the caller's to free; its names are its own. */
LMB_MUST_CHECK lmb_status lmb_lowrank_student(const lmb_lowrank_config *c, const lmb_graph *student, lmb_ranks *ranks,
                                              lmb_graph **out, lmb_error *err);
/* The table to stdout: ranks, energy, MACs of each layer, and of all of them. */
void lmb_lowrank_print(const lmb_ranks *ranks);
/* lowrank.json of the stage; and away with that of an earlier configuration. */
LMB_MUST_CHECK lmb_status lmb_lowrank_leave(const lmb_lowrank_config *c, const lmb_ranks *ranks, const char *run,
                                            const char *stage, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_lowrank_forget(const char *run, const char *stage, lmb_error *err);

#endif
