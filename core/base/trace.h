/* core/base/trace.h - what was done when, and where, for a picture of it: spans on lanes.
 *
 * Idea: a recorder with room for so many spans, all allocated at the start. Whoever works gets a pointer to it (NULL:
 * no trace is kept, and nothing costs more than looking at that pointer) and leaves a span when a piece of work is
 * done. Texts are copied, so what was traced may be gone when the trace is written. A lane is a row of the picture,
 * usually a thread; spans of one lane nest by their times. When the room is used up, further spans are counted and
 * dropped.
 *
 * Fine spans, many a step, are meant for the first steps only: fine() says whether to leave them.
 *
 *   threads  span(), now() and fine() from any thread; the others from one, while no span is being left
 *   source   the Trace Event Format ("complete" and "metadata" events), which Perfetto and Chrome read
 */
#ifndef LMB_CORE_BASE_TRACE_H
#define LMB_CORE_BASE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_trace lmb_trace;
struct lmb_str;

/* Rows of the picture: the thread that trains, which is worker 0; the other workers are lanes 1, 2, ... */
enum { LMB_LANE_TRAINING = 0, LMB_LANE_SUMS = 2000, LMB_LANE_LOADER = 2001 /* + its thread */, LMB_LANES = 3000 };

/*   spans       room for
 *   fine_steps  during which fine spans are wanted */
LMB_MUST_CHECK lmb_status lmb_trace_create(size_t spans, int64_t fine_steps, lmb_trace **out, lmb_error *err);
void lmb_trace_destroy(lmb_trace *t); /* NULL is a no-op */
/* Times count from `origin` on, seconds of the monotonic clock (lmb_seconds); create() takes its own moment. */
void lmb_trace_begin(lmb_trace *t, double origin);

/* Seconds, to hand to span() later; NULL: 0. */
double lmb_trace_now(const lmb_trace *t);
/* From `from` until now, `name` was done on `lane` in [0, LMB_LANES). `category`: static text; `detail` may be NULL.
 * Long texts are cut. NULL is a no-op. */
void lmb_trace_span(lmb_trace *t, int lane, const char *category, const char *name, const char *detail, double from);
/* Are fine spans wanted? NULL: no. */
bool lmb_trace_fine(const lmb_trace *t);
/* A step is done. NULL is a no-op. */
void lmb_trace_step(lmb_trace *t);

/* When time 0 was, in seconds of the monotonic clock. */
double lmb_trace_origin(const lmb_trace *t);
/* The spans as JSON objects, each preceded by ",\n" but the first, as rows of the process `process` called `name`. */
void lmb_trace_json(const lmb_trace *t, int process, const char *name, struct lmb_str *out);

#ifdef __cplusplus
}
#endif
#endif
