/* distill/prune/carry.h - what an optimizer remembers goes from one training to the next, past a cut.
 *
 * Idea: between two trainings channels are taken away. Weights and running statistics come along in the graph; momentum
 * and moments are the trainer's, and would begin at zero. They are taken from the first trainer, cut along the same
 * lineage, and given to the second before its first step, with the number of steps that they remember: Adam divides by
 * 1 - beta^t, and its moments are wrong by that factor with any other t. Segments go by name: a loss's own weights
 * (train/heads.c) are in no model and begin anew.
 *
 *   owns     its vectors; { 0 } is an empty one, which gives nothing
 *   threads  one at a time
 */
#ifndef LMB_DISTILL_PRUNE_CARRY_H
#define LMB_DISTILL_PRUNE_CARRY_H

#include "distill/prune/lineage.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_carry {
    lmb_state_layout *layout;    /* NULL: empty */
    const char *optimizer;       /* its name    */
    int n_slots;
    float *slot[LMB_MAX_SLOTS];  /* [layout->count] */
    int64_t steps;               /* that the slots remember */
} lmb_carry;

/* Of what a training, whose state is whole here (lmb_trainer_gather), remembers of `model`; what was in it before is
 * forgotten. */
LMB_MUST_CHECK lmb_status lmb_carry_take(lmb_carry *c, const lmb_graph *model, const lmb_trainer_state *s,
                                         lmb_error *err);
/* The model has become `cut` along the lineage. */
LMB_MUST_CHECK lmb_status lmb_carry_cut(lmb_carry *c, const lmb_lineage *l, const lmb_graph *cut, lmb_error *err);
/* Is there something that this trainer's optimizer understands? Another one's vectors mean other things. */
bool lmb_carry_fits(const lmb_carry *c, const lmb_trainer_state *s);
/* What fits into a trainer's state before its first step, as a checkpoint is loaded: gather, give, share, scatter.
 *   errors  E_SHAPE: a layer is of another shape */
LMB_MUST_CHECK lmb_status lmb_carry_give(const lmb_carry *c, lmb_trainer_state *s, lmb_error *err);
void lmb_carry_free(lmb_carry *c);

#ifdef __cplusplus
}
#endif
#endif
