/* launch/integers.h - a .lmb evaluated as a command line and a configuration say. */
#ifndef LMB_LAUNCH_INTEGERS_H
#define LMB_LAUNCH_INTEGERS_H

#include "distill/quantize/lower.h"
#include "launch/cmd.h"

/* lmb_deploy_evaluate by --kernels or --backend; by neither, where train.backend is cuda, on a GPU, or, with a
 * sentence on stderr, on the processor where there is none: the integers are the same. */
LMB_MUST_CHECK lmb_status lmb_integers_evaluate(const lmb_args *a, const char *backend, const void *file, size_t n,
                                                const lmb_dataset *data, lmb_metrics *out, float *logits,
                                                lmb_deploy_figures *figures, lmb_error *err);

#endif
