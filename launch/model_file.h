/* launch/model_file.h - a model that the command line names by its file, as the configuration describes that file. */
#ifndef LMB_LAUNCH_MODEL_FILE_H
#define LMB_LAUNCH_MODEL_FILE_H

#include "core/graph/graph.h"
#include "launch/job.h"

/* Read the .onnx file at `path`. Where a section {name: onnx, path: ...} of the configuration (`model`, a stage's `model`,
 * compress.teacher) names the same file, pixels go into it as that section says (mean, scale, channel_mean,
 * channel_deviation), which a line to stderr tells; one with a `new_head` is another model. The job's data are open.
 *   errors  as lmb_onnx_read; E_SHAPE and E_ARG of the section */
LMB_MUST_CHECK lmb_status lmb_model_file(const lmb_job *j, const char *path, lmb_graph **out, lmb_error *err);

#endif
