/* train/events.h - curves for TensorBoard: an append-only file of scalar events.
 *
 * Idea: an event file is a sequence of TFRecords, each holding one small Event message. Every record is
 * appended whole, so a reader may follow the file while it grows, and a crash costs at most the last record.
 * A resumed run opens a new file beside the old ones: TensorBoard joins the files of a folder by step. What the files
 * tell of steps that the resumed run does again is cut out of them first.
 *
 *   record   u64 length, u32 masked CRC-32C of the length, the message, u32 masked CRC-32C of the message;
 *            little-endian; masked = rotate right by 15, then add 0xa282ead8
 *   message  Event { 1: double wall_time, 2: int64 step, 3: string file_version | 5: Summary }
 *            Summary { 1: repeated Value { 1: string tag, 2: float simple_value } }
 *   source   TensorFlow core/lib/io/record_writer.h, core/util/event.proto, core/framework/summary.proto
 */
#ifndef LMB_TRAIN_EVENTS_H
#define LMB_TRAIN_EVENTS_H

#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_EVENTS_PATH = 1024, LMB_EVENTS_TAG = 200 };
typedef struct lmb_events { char path[LMB_EVENTS_PATH]; } lmb_events; /* nothing to close */

/* Begin a new event file in `folder`, which is made if need be. wall_time: seconds since 1970. */
LMB_MUST_CHECK lmb_status lmb_events_begin(lmb_events *e, const char *folder, double wall_time, lmb_error *err);
/* Append one value of the curve `tag` ("train/loss"), at most LMB_EVENTS_TAG bytes. step >= 0. */
LMB_MUST_CHECK lmb_status lmb_events_scalar(const lmb_events *e, const char *tag, int64_t step, double wall_time,
                                            double value, lmb_error *err);
/* What an epoch looked like, at step epoch + 1, that is the number of finished epochs: train/loss, train/accuracy,
 * train/lr, train/images_per_second and, where there was validation, valid/loss, valid/accuracy. */
LMB_MUST_CHECK lmb_status lmb_events_epoch(const lmb_events *e, double wall_time, const lmb_epoch *epoch,
                                           lmb_error *err);
/* Take all events after step `last` out of the event files of a folder, and whatever follows a record that is not whole
 * (a crash has torn it; no reader gets past it). A file without events is removed. No folder is no error. */
LMB_MUST_CHECK lmb_status lmb_events_cut(const char *folder, int64_t last, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
