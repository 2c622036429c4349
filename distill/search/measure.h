/* distill/search/measure.h - times of operators and of whole models on core/edge. Private to latency.c, whose head says how
 * often what is measured. */
#ifndef LMB_DISTILL_SEARCH_MEASURE_H
#define LMB_DISTILL_SEARCH_MEASURE_H

#include "distill/search/energy.h"
#include "distill/search/latency.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A model that can be run: memory, and input and output of zeros; what its whole runs took so far, in seconds. */
typedef struct lmbi_bench {
    void *arena, *input;
    float *output;
    double *run;
    int n_runs;
} lmbi_bench;
LMB_MUST_CHECK lmb_status lmbi_bench_make(const lmb_edge_model *m, lmbi_bench *b, lmb_error *err);
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
/* What a prediction uses into out->energy, where it can be read. */
void lmbi_measure_energy(lmb_energy *e, const lmb_edge_model *m, const lmbi_bench *b, lmb_timing *out);

#ifdef __cplusplus
}
#endif
#endif
