/* launch/update.h - `limbeck train --continue`: an incremental update of a trained model.
 *
 *   update:
 *     data: {name: folder, path: labelled}   new samples of the same shape, in classes of the same names (the
 *                                            training part of the set)
 *     list: label.csv                        of `limbeck monitor --label`: only those samples (update_list.h); "": all
 *     share: 1                               old samples beside each new one, so that what was learnt is not forgotten
 *     train: {epochs: 3, batch: 32, lr: 0.002}
 *
 * It begins with the weights of <run>/<stage>/model.onnx, or, where that was not trained, of the teacher that a search
 * of the same configuration compresses (compress.teacher), and leaves <run>/<stage>-updated; other weights, another list
 * or other labels there are another update, which wants --fresh (the same one anew) or --again: a further update, which
 * begins with what the last finished one has left and leaves <run>/<stage>-updated-2, -3 ... Without --again it is the
 * last one that is gone on with. Which samples an update has learnt is in its samples.txt. Rehearsal of old samples:
 * Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal".
 */
#ifndef LMB_LAUNCH_UPDATE_H
#define LMB_LAUNCH_UPDATE_H

#include "comm/collective.h"
#include "core/base/hash.h"
#include "launch/job.h"
#include "launch/stage.h"

typedef struct lmb_update_config {
    const lmb_tree *data;
    const char *list;
    double share;
    lmb_train_config train;
} lmb_update_config;
extern const lmb_field lmb_update_fields[];

/* For `limbeck config check`: keys, samples, list and, where it is there, the model, against the data of a job that is
 * open (lmb_job_data). begins: what the first update begins with, for people; "": --stage will say.
 *   errors  E_ARG, E_SHAPE, E_IO, E_FORMAT before any work */
enum { LMB_UPDATE_BEGINS = LMB_STAGE_PATH + 64 };
LMB_MUST_CHECK lmb_status lmbi_update_check(const lmb_job *j, char begins[LMB_UPDATE_BEGINS], lmb_error *err);

/* The whole of it, on all ranks. again: see above.  errors  E_ARG: no `update` section; E_IO: the stage has no model
 * yet, and there is no teacher of a search */
LMB_MUST_CHECK lmb_status lmbi_update(lmb_job *j, lmb_comm *comm, bool fresh, bool again, lmb_error *err);

/* The last finished update, for who makes something of it (`limbeck compress --refresh`). */
typedef struct lmb_update_last {
    int number;                 /* 1: <stage>-updated, 2: <stage>-updated-2 ...        */
    char model[LMB_STAGE_PATH]; /* its file                                            */
    char learnt[LMB_HASH_HEX];  /* which new samples                                   */
    int64_t fresh;              /* how many                                            */
    lmb_dataset *train;         /* they, and all of the training part                  */
    struct material *material;  /* what `train` is a view of                           */
} lmb_update_last;
/* Of the stage `model` or `teacher`. The job's data and training part are open.
 *   errors  E_ARG: there is none, or of both stages, or `update` names samples that it has not learnt */
LMB_MUST_CHECK lmb_status lmbi_update_last(const lmb_job *j, lmb_update_last *out, lmb_error *err);
void lmbi_update_last_free(lmb_update_last *u); /* of zeros is a no-op */

#endif
