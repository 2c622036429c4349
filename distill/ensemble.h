/* distill/ensemble.h - one student taught by many models at once, on samples without labels.
 *
 * Idea: models that have seen different things know more together than their averaged weights do. Their logits on
 * samples that need no labels are averaged, and a student is trained towards them (train/loss.h, the term kl). A member
 * is there only while it answers: memory is that of one model, and of a row of logits for each sample, however many
 * members there are; they may be of different architectures, with the same input and classes. Order matters no more
 * than the rounding of doubles: add members in a fixed one.
 *
 *   source   Lin, Kong, Stich, Jaggi: Ensemble distillation for robust model fusion. NeurIPS 2020, arXiv:2006.07242
 *   threads  one call at a time
 */
#ifndef LMB_DISTILL_ENSEMBLE_H
#define LMB_DISTILL_ENSEMBLE_H

#include "datasets/dataset.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_ensemble lmb_ensemble;

/* `samples`: borrowed; its labels are never asked for. */
LMB_MUST_CHECK lmb_status lmb_ensemble_create(const lmb_dataset *samples, int classes, lmb_ensemble **out,
                                              lmb_error *err);
void lmb_ensemble_destroy(lmb_ensemble *e); /* NULL is a no-op */
void lmb_ensemble_begin(lmb_ensemble *e);   /* no members yet */
/* Ask a member about every sample. state: [count of the graph's layout]; NULL: as stored in the graph.
 *   errors  E_SHAPE where it does not fit the samples; E_NUMERIC where an answer is not finite: it is then no member */
LMB_MUST_CHECK lmb_status lmb_ensemble_add(lmb_ensemble *e, const lmb_graph *member, const float *state,
                                           lmb_error *err);
/* Leave the sum of the members' answers in a file, for an ensemble over the same samples elsewhere; add all that such
 * files in `folder` say, but for the one that is called `own` (NULL: none), in the order of their names. What ends
 * otherwise than in LMB_ENSEMBLE_FILE is passed over.
 *   errors  E_FORMAT for a file of other samples or classes */
#define LMB_ENSEMBLE_FILE ".logits"
LMB_MUST_CHECK lmb_status lmb_ensemble_leave(const lmb_ensemble *e, const char *path, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_ensemble_join(lmb_ensemble *e, const char *folder, const char *own, lmb_error *err);
/* Train a student towards the members' mean answer, from the numbers that `student` holds, by c (its optimizer, epochs,
 * batch, rate and seed). state: out [count].
 *   loss    of the last epoch; NULL: not wanted
 *   errors  E_ARG without members */
LMB_MUST_CHECK lmb_status lmb_ensemble_teach(lmb_ensemble *e, const lmb_train_config *c, double temperature,
                                             const lmb_graph *student, float *state, double *loss, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
