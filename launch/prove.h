/* launch/prove.h - does the teacher help? Trained first without it, a model goes on with it and, as long, without. Both
 * answer the same validation samples; the teacher's is kept when it has won more of them than it has lost, else it is
 * rejected. How likely such a difference is by chance is said beside it (the exact McNemar test).
 *
 *   files    <run>/<stage>/proof.json   {"kept": "taught" or "alone", "samples", "taught", "alone" (accuracies, 0 to
 *            1),
 *                                        "won", "lost", "p", "says"}
 *   source   joining distillation and few bits carelessly can cost more than it gives; a first phase of quantisation
 *            alone: Kim et al. 2019 (QKD), arXiv:1911.12491, section 3
 */
#ifndef LMB_LAUNCH_PROVE_H
#define LMB_LAUNCH_PROVE_H

#include "core/graph/graph.h"
#include "datasets/dataset.h"

typedef struct lmb_prove {
    const char *run, *stage, *backend;
    const lmb_dataset *validation;
    bool leave; /* write proof.json, and say what was decided on stdout: rank 0 */
    /* Train `model` as stage `name`, from what it holds. */
    lmb_status (*train)(void *ctx, const char *name, bool taught, lmb_graph *model, lmb_error *err);
    void *ctx;
} lmb_prove;

/* Stages <stage>-first, <stage>-alone, <stage>-taught; `model` ends with the state of the better, on every rank.
 *   errors  E_ARG without validation samples */
LMB_MUST_CHECK lmb_status lmb_prove_teacher(const lmb_prove *p, lmb_graph *model, lmb_error *err);

/* Another student takes the place of the one that an earlier proof is about. */
LMB_MUST_CHECK lmb_status lmb_prove_forget(const char *run, const char *stage, lmb_error *err);
/* Append what the proof of a stage says to the text in note[cap]; nothing where there is none. */
LMB_MUST_CHECK lmb_status lmb_prove_note(const char *run, const char *stage, char *note, size_t cap, lmb_error *err);

#endif
