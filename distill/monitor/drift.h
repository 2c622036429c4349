/* distill/monitor/drift.h - do the samples of a device still look like those of the calibration?
 *
 * Idea: two sets of counters (core/edge/monitor.h) are compared bin by bin with the population stability index,
 * PSI = sum (p - q) ln(p / q). Convention reads below 0.1 as the same, from 0.25 on as another population; the limit
 * here is 0.2 unless told otherwise. Few samples differ by chance alone: of B bins, PSI / (1/N + 1/M) follows a
 * chi-square distribution with B - 1 degrees of freedom, so the limit is never below what 1 of 1,000 equal populations
 * exceeds. N and M are numbers of predictions, not of pixels, which are not independent within an image.
 *
 *   source   Yurdakul 2018, "Statistical properties of population stability index", sections 3 and 4; chi-square
 *            quantiles: Wilson and Hilferty 1931
 *   threads  pure functions
 */
#ifndef LMB_DISTILL_MONITOR_DRIFT_H
#define LMB_DISTILL_MONITOR_DRIFT_H

#include <stdbool.h>

#include "core/base/error.h"
#include "core/edge/monitor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_drift_limits {
    double psi;        /* 0.2                                                 */
    double latency_us; /* that 99 of 100 timed predictions keep, and some are timed; 0: no such limit */
} lmb_drift_limits;

enum { LMB_DRIFT_INPUT, LMB_DRIFT_MARGINS, LMB_DRIFT_ANSWERS, LMB_DRIFT_LATENCY };
enum { LMB_DRIFT_MOST = LMB_MONITOR_CHANNELS + 3, LMB_DRIFT_LEAST = 30 };

typedef struct lmb_drift_row {
    int kind, channel;
    double value, limit;  /* PSI; latency: microseconds, what the 99th percentile is at most; 0: nobody measured it */
    double least;         /* latency: what it is at least. A limit between the two is not said to be exceeded */
    double before, after; /* input: means; margins, answers: unused; latency: what the medians of reference and device
                             are at most */
    bool beyond;
} lmb_drift_row;

typedef struct lmb_drift {
    lmb_drift_row row[LMB_DRIFT_MOST];
    int n;
    bool beyond; /* any of them */
} lmb_drift;

/*   errors  E_SHAPE: counters of another model, where both say which; E_ARG: fewer than 30 predictions in either */
LMB_MUST_CHECK lmb_status lmb_drift_compare(const lmb_monitor *reference, const lmb_monitor *device,
                                            const lmb_drift_limits *limits, lmb_drift *out, lmb_error *err);

/* The time that `share` of the timed predictions keep, in microseconds: the ends of its bin, a quarter of an octave.
 * Both 0: none is timed. */
typedef struct lmb_drift_range { double least, most; } lmb_drift_range;
lmb_drift_range lmb_drift_quantile(const lmb_monitor *k, double share);

#ifdef __cplusplus
}
#endif
#endif
