/* train/history.h - what each epoch looked like, as JSON lines: for reports, plots and people's own tools. */
#ifndef LMB_TRAIN_HISTORY_H
#define LMB_TRAIN_HISTORY_H

#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Append one object: epoch, loss, accuracy, valid_loss, valid_accuracy (null without validation), lr, seconds,
 * images_per_second, waited. */
LMB_MUST_CHECK lmb_status lmb_history_add(const char *path, const lmb_epoch *e, lmb_error *err);
/* Cut off the first line that does not begin with `key` ("epoch", "round") and a number below n, and all after it: a
 * run that goes on from epoch n writes them again, and a line that a crash has torn goes too. No file is no error. */
LMB_MUST_CHECK lmb_status lmb_history_cut(const char *path, const char *key, int64_t n, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
