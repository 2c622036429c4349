/* launch/prove.h - does the teacher help? Trained first without it, a model goes on with it and, as long, without; the
 * better one by validation samples is kept, without the teacher where they are equal.
 *
 *   source   joining distillation and few bits carelessly can cost more than it gives; a first phase of quantisation
 *            alone: Kim et al. 2019 (QKD), arXiv:1911.12491, section 3
 */
#ifndef LMB_LAUNCH_PROVE_H
#define LMB_LAUNCH_PROVE_H

#include "core/graph/graph.h"
#include "datasets/dataset.h"

/* Train `model` as stage `name`, from what it holds. */
typedef lmb_status lmb_prove_train(void *ctx, const char *name, bool taught, lmb_graph *model, lmb_error *err);

/* Stages <stage>-first, <stage>-alone, <stage>-taught; `model` ends with the state of the better. `say`: what was
 * decided, to stdout.
 *   errors  E_ARG without validation samples */
LMB_MUST_CHECK lmb_status lmb_prove_teacher(const char *stage, const lmb_dataset *validation, int threads, bool say,
                                            lmb_prove_train *train, void *ctx, lmb_graph *model, lmb_error *err);

#endif
