/* distill/quantize/observer.h - from a calibration set to the range of an activation.
 *
 * Idea: an observer is a row. It sees the batches of a calibration set one by one, each in memory of its own, and
 * merges what it saw in the order of the batches, so that the answer does not depend on how many threads looked. One
 * that needs to know the widest range before it can count (a histogram) asks for a second pass.
 *
 *   memory   a row says how many bytes it keeps; all zero is "nothing seen"
 *   threads  see() of different memories may run at once; merge() and range() run alone
 */
#ifndef LMB_DISTILL_QUANTIZE_OBSERVER_H
#define LMB_DISTILL_QUANTIZE_OBSERVER_H

#include "core/base/field.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The integers that a range will have; symmetric: those of -x and x, of which a range on one side of 0 has half. */
typedef struct lmb_grid { int levels; bool symmetric; } lmb_grid;

typedef struct lmb_observer {
    const char *name, *summary, *source;
    const lmb_field *fields;
    size_t config_size, bytes;
    bool needs_range; /* see() wants the widest range of the whole set: a pass of its own before */
    bool held;        /* a training's batch alone does not say such a range: it stays as it is   */
    /* The n > 0 numbers of one batch; lo, hi: widest range of the whole set, or 0, 0. */
    void (*see)(const void *config, void *memory, const float *x, int64_t n, float lo, float hi);
    /* What the next batch saw, into what all before it saw. */
    void (*merge)(const void *config, void *into, const void *batch);
    /* The range to quantise: from <= to. */
    void (*range)(const void *config, const void *memory, const lmb_grid *of, float lo, float hi, float *from,
                  float *to);
} lmb_observer;

extern const lmb_observer *const lmb_observers[]; /* NULL-terminated: distill/quantize/observer.c */
const lmb_observer *lmb_observer_find(const char *name);

/* Smallest and largest of n > 0 numbers. */
void lmb_observed_range(const float *x, int64_t n, float *lo, float *hi);

#ifdef __cplusplus
}
#endif
#endif
