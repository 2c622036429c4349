/* distill/search/timer.h - who measures how long models take: core/edge on this machine, or a device.
 *
 * Idea: the table of latencies (latency.h) asks for the time of an operator or of a whole model, and need not know
 * where it is taken. This machine's row of functions is here; a device's comes from above (launch/device.h), where
 * commands can be started. What a model answers is no matter of the machine: all kernels give the same bytes.
 */
#ifndef LMB_DISTILL_SEARCH_TIMER_H
#define LMB_DISTILL_SEARCH_TIMER_H

#include "core/base/config.h"
#include "core/base/str.h"
#include "core/edge/time/frames.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_deployed;

enum { LMB_TIMER_DEVICE = 64 };
typedef struct lmb_timer_about {
    char device[LMB_TIMER_DEVICE];                           /* its name; "": the machine that searches */
    char kernels[LMB_FRAME_NAME], processor[LMB_FRAME_NAME]; /* processor "": not asked for             */
    char no_energy[LMB_ENERGY_PATH + 80];                    /* why; "": it can be read, or was not asked for */
} lmb_timer_about;

/* As the line that begins a table; of the machine that searches it has the kernels alone. */
LMB_MUST_CHECK lmb_status lmb_timer_about_read(const lmb_tree *line, lmb_timer_about *out, lmb_error *err);
void lmb_timer_about_write(const lmb_timer_about *a, lmb_str *line);

/* All may fail where the machine is another one: E_IO when it is gone, E_TIMEOUT when it is silent, E_FORMAT for
 * nonsense, E_ARG for a wrong version, E_DEVICE where it can not, E_STOPPED. */
typedef struct lmb_timer {
    const char *device; /* its name; NULL: the machine that searches */
    /* Is it there? To be asked before a training whose outcome it will measure. */
    lmb_status (*ready)(void *ctx, lmb_timer_about *out, lmb_error *err);
    /* A model to measure, borrowed until `end`. */
    lmb_status (*begin)(void *ctx, const struct lmb_deployed *d, void **bench, lmb_error *err);
    lmb_status (*op)(void *ctx, void *bench, uint32_t op, double *us, lmb_error *err);
    /* All but the energy, which comes by itself: sum, of the ops, and deadline in microseconds. */
    lmb_status (*whole)(void *ctx, void *bench, double sum, double deadline, lmb_timing *out, lmb_error *err);
    lmb_status (*energy)(void *ctx, void *bench, lmb_timing *out, lmb_error *err);
    void (*end)(void *ctx, void *bench);
    void *ctx;
} lmb_timer;

/* The machine that searches. */
typedef struct lmb_timer_here {
    lmb_energy energy;
} lmb_timer_here;
lmb_timer lmb_timer_of(lmb_timer_here *h);

#ifdef __cplusplus
}
#endif
#endif
