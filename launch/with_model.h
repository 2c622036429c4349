/* launch/with_model.h - commands that take a configuration (for its data) and a model file: an ONNX model, or one that
 * is computed in integers by the runtime of devices: a .lmb, or an ONNX model with QuantizeLinear and DequantizeLinear.
 */
#ifndef LMB_LAUNCH_WITH_MODEL_H
#define LMB_LAUNCH_WITH_MODEL_H

#include "core/graph/graph.h"
#include "launch/job.h"

typedef struct lmb_model_use {
    int most_words; /* on the command line; 0: any */
    lmb_status (*floats)(lmb_job *j, const lmb_args *a, const lmb_graph *model, lmb_error *err);
    /* The bytes of a .lmb. */
    lmb_status (*integers)(const lmb_job *j, const lmb_args *a, const void *file, size_t n, lmb_error *err);
} lmb_model_use;

/* Read the command line (options `known`), the configuration and the model, and use it. Without a file, the model that
 * the configuration describes. */
LMB_MUST_CHECK lmb_status lmb_with_model(int argc, char **argv, const char *const *known, const lmb_model_use *use,
                                         lmb_error *err);
/* The job's data that --part names, by default the test part. */
LMB_MUST_CHECK lmb_status lmb_part_of(const lmb_job *j, const lmb_args *a, const lmb_dataset **out, lmb_error *err);

#endif
