/* core/edge/time/measure.h - times of operators and of whole models by the clock of the machine that runs them: the one
 * that searches (distill/search/timer.h), or a device (serve.h). POSIX beside libc.
 *
 *   op      the median of 31 samples of at least 20 us, the least of 3 repeats
 *   whole   301 runs, the best of 9 repeats with rests by the median, or of 30 while it is far above the sum of the ops;
 *           the tail, p99 and what is late, is of all runs of all repeats
 *   energy  of a third of a second of runs
 */
#ifndef LMB_CORE_EDGE_TIME_MEASURE_H
#define LMB_CORE_EDGE_TIME_MEASURE_H

#include "core/edge/lmb.h"
#include "core/edge/time/energy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whole runs, one after another on one thread. */
typedef struct lmb_timing {
    double p50, p99;   /* microseconds                                                                       */
    double throughput; /* predictions a second                                                               */
    double missed;     /* share of the runs that took longer than the deadline                               */
    double energy;     /* microjoules of the whole processor a prediction; 0: it can not be read, or frozen  */
} lmb_timing;

/* A prepared model that can be run: memory, and input and output of zeros; what its whole runs took so far, in seconds.
 * false: there is no memory. */
typedef struct lmbi_bench {
    void *arena, *input;
    float *output;
    double *run;
    int n_runs;
} lmbi_bench;
bool lmbi_bench_make(const lmb_edge_model *m, lmbi_bench *b);
void lmbi_bench_free(lmbi_bench *b);

/* Microseconds, > 0. */
double lmbi_measure_op(const lmb_edge_model *m, const lmbi_bench *b, uint32_t op);
/* A machine that is busy is slow for a while: sleep for some milliseconds. */
void lmbi_measure_rest(void);
/* p50 and throughput, of the repeat with the least p50; at most twice a bench. sum: of the model's ops, microseconds: a
 * whole that takes much longer is measured more often. */
void lmbi_measure_whole(const lmb_edge_model *m, lmbi_bench *b, double sum, lmb_timing *out);
/* p99 and missed, of all n runs of all repeats, which are sorted: a tail that leaves out when the machine was busy is
 * none. */
void lmbi_measure_tail(double *run, int n, double deadline, lmb_timing *out);
/* Seconds that this takes at most where a run takes `sum`: who waits for it knows how long. */
double lmbi_measure_whole_s(double sum);
/* What a prediction uses into out->energy, where it can be read. */
void lmbi_measure_energy(lmb_energy *e, const lmb_edge_model *m, const lmbi_bench *b, lmb_timing *out);

#ifdef __cplusplus
}
#endif
#endif
