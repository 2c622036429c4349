/* distill/search/latency.h - how long a model takes, from a table of measured operators.
 *
 * Idea: the time of a model is nearly the sum of the times of its operators, and an operator's time depends on its
 * shape, not on its weights. So each (op, shape, bits) is measured once, by core/edge on this machine or on a device
 * (timer.h), at its place in a real model's arena, and candidates that nobody has trained are summed up from the table.
 * A whole model is measured end to end when it is evaluated, so that everyone sees how good the sum was.
 *
 *   file      JSON lines: {"kernels": "avx512vnni"} first, of a device with its "device", "processor" and "no_energy";
 *             then {"op": "conv 32x32x16 ...", "us": 3.25};
 *             of an op that comes again the least counts; {"doubted": true}: all before may be too much
 *   frozen    nothing is measured: what is not in the table is unknown, and a whole model takes the sum. So a search
 *             gives the same decisions again, or those for another machine whose table this is, as long as no other
 *             search measures into the file
 *   drift     a machine is not always as fast: before new ops are measured, one that the table has is measured again,
 *             and what it takes longer now is taken off the new ones. Where a whole model takes clearly less than the
 *             sum of its ops, the machine was slow before: each op is measured again when it is next asked for
 *   measured  as core/edge/time/measure.h says: ops, whole models, and, where the machine lets it be read, energy
 *   threads   one at a time
 */
#ifndef LMB_DISTILL_SEARCH_LATENCY_H
#define LMB_DISTILL_SEARCH_LATENCY_H

#include <stdbool.h>

#include "core/base/error.h"
#include "distill/search/timer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_latency lmb_latency;

/* Read or begin the table at `path`, which new measurements are appended to. timer: borrowed; NULL is this machine. It
 * is not asked before something is to be measured.
 *   errors  E_ARG: frozen, and there is no such file; measured on another device than the timer's, or with other
 *           kernels than this machine's, and not frozen */
LMB_MUST_CHECK lmb_status lmb_latency_open(const char *path, bool frozen, const lmb_timer *timer, lmb_latency **out,
                                           lmb_error *err);
void lmb_latency_close(lmb_latency *t); /* NULL is a no-op */
bool lmb_latency_frozen(const lmb_latency *t);
/* Whose times these are; as far as the file says, until something was measured. */
const lmb_timer_about *lmb_latency_about(const lmb_latency *t);
/* Is who measures there, and still the same? Frozen: always.
 *   errors  as lmb_timer; E_ARG: the device is another than the table's */
LMB_MUST_CHECK lmb_status lmb_latency_ready(lmb_latency *t, lmb_error *err);

/* Microseconds of the ops of an open, prepared file: us [n_ops] or NULL, and their sum.
 *   errors  E_UNSUPPORTED names an op that a frozen table does not have; as lmb_timer */
LMB_MUST_CHECK lmb_status lmb_latency_ops(lmb_latency *t, const struct lmb_deployed *d, double *us, double *sum,
                                          lmb_error *err);

/* deadline: microseconds; 0: there is none. Frozen: all follows from the sum of the ops. */
LMB_MUST_CHECK lmb_status lmb_latency_whole(lmb_latency *t, const struct lmb_deployed *d, double deadline,
                                            lmb_timing *out, lmb_error *err);

enum { LMB_LATENCY_KEY = 160 };
/* "conv 32x32x16 to 32x32x16 k3x3 s1x1 d1x1 p1,1,1,1 g1 int8": all that an op's time depends on. */
void lmb_latency_key(const lmb_edge_model *m, uint32_t op, char key[LMB_LATENCY_KEY]);

#ifdef __cplusplus
}
#endif
#endif
