/* launch/answers.h - the logits of a model for every sample of a data set, and a file for them. */
#ifndef LMB_LAUNCH_ANSWERS_H
#define LMB_LAUNCH_ANSWERS_H

#include "core/graph/graph.h"
#include "datasets/dataset.h"

/* logits: [data->n, classes]; raw samples go in, the first output comes out. */
LMB_MUST_CHECK lmb_status lmb_answers(const lmb_graph *model, const lmb_dataset *data, const char *backend,
                                      float *logits, lmb_error *err);
/* As a .npy file (NumPy format 1.0): little-endian f32 [n, classes]. */
LMB_MUST_CHECK lmb_status lmb_answers_write(const char *path, const float *logits, int64_t n, int64_t classes,
                                            lmb_error *err);

#endif
