/* launch/model_file.h - the models of commands: of a section, or of a file that the command line names, as the
 * configuration describes it. Losses, metrics and teachers are of logits, so that a Softmax at the end of what others
 * wrote is left out, of which a line to stderr tells. */
#ifndef LMB_LAUNCH_MODEL_FILE_H
#define LMB_LAUNCH_MODEL_FILE_H

#include "core/graph/graph.h"
#include "launch/job.h"

/* The model that `section` describes, for the job's data, which are open; say: the line of a Softmax. */
LMB_MUST_CHECK lmb_status lmb_model_of(const lmb_job *j, const lmb_tree *section, uint64_t seed, bool say,
                                       lmb_graph **out, lmb_error *err);
/* E_ARG, which says what to give: the file is a .lmb where a model of floats is wanted. */
LMB_MUST_CHECK lmb_status lmb_no_lmb(const char *file, lmb_error *err);
/* Do both paths lead to one file that is there? */
bool lmb_same_file(const char *a, const char *b);
/* Read the .onnx file at `path`. Where a section {name: onnx, path: ...} of the configuration (`model`, a stage's
 * `model`, compress.teacher) names the same file, pixels go into it as that section says (mean, scale, channel_mean,
 * channel_deviation), which a line to stderr tells; one with a `new_head` is another model. The job's data are open.
 *   errors  as lmb_onnx_read; E_SHAPE and E_ARG of the section */
LMB_MUST_CHECK lmb_status lmb_model_file(const lmb_job *j, const char *path, lmb_graph **out, lmb_error *err);

#endif
