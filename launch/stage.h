/* launch/stage.h - what a stage of a run leaves for the report: figures, a history, and that it is done.
 *
 *   <run>/<name>/history.jsonl   one JSON object an epoch or round
 *   <run>/<name>/stage.json      {"name", "parameters", "macs", "bytes", "accuracy" (0 to 1), "latency_us", "interval",
 *                                "confusion", "classes", "note", "peak_memory_bytes"}
 *
 * The peak is of the process that leaves the result: the whole training in it, or the whole export. Of several ranks it
 * is rank 0, which holds what the others hold and validates as well.
 */
#ifndef LMB_LAUNCH_STAGE_H
#define LMB_LAUNCH_STAGE_H

#include "core/plan/plan.h"
#include "datasets/dataset.h"
#include "train/metrics.h"

typedef struct lmb_stage_result {
    const char *name;
    double parameters, macs, bytes, latency_us;
    const lmb_metrics *metrics;
    const lmb_dataset *data; /* names of classes */
    const char *note;        /* may be NULL      */
    const char *part;        /* that was evaluated, of the data; NULL: test */
} lmb_stage_result;

enum { LMB_STAGE_PATH = 1024 };
enum {
    LMB_STAGE_CLASSES = 200
}; /* of more, no confusion matrix is left: nobody would read it, and it grows with the square */
/* "<run>/<stage>/<file>" (file may be ""), making the folders. */
LMB_MUST_CHECK lmb_status lmb_stage_path(char out[LMB_STAGE_PATH], const char *run, const char *stage, const char *file,
                                         lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_stage_write(const char *run, const lmb_stage_result *r, lmb_error *err);

/* Parameters, MACs of one sample, and the median time of a prediction at batch 1 on one thread. `state` NULL: the
 * graph's own content. */
LMB_MUST_CHECK lmb_status lmb_stage_measure(const lmb_graph *model, const float *state, const lmb_dataset *data,
                                            const char *backend, lmb_stage_result *r, lmb_error *err);

/* What the model's numbers are worth on `data`, by the kernels of `backend`; cuda: on the GPU, or, unless it is `asked`
 * for by name, where there is none, on the processor with a sentence to stderr. */
LMB_MUST_CHECK lmb_status lmb_stage_evaluate(const lmb_graph *model, const lmb_dataset *data, const char *backend,
                                             bool asked, lmb_metrics *out, lmb_error *err);
/* Evaluate on the test part, measure, print one line and write stage.json. `file`: whose size counts as bytes. */
LMB_MUST_CHECK lmb_status lmb_stage_report(const char *run, const char *stage, const char *file, const lmb_graph *model,
                                           const lmb_dataset *test, const char *backend, lmb_error *err);
/* One line of figures to stdout. */
void lmb_stage_print(const lmb_stage_result *r);

#endif
