/* core/cuda/queue.h - what lmb_run.queue points to: a stream and the handles of the libraries that work on it. */
#ifndef LMB_CORE_CUDA_QUEUE_H
#define LMB_CORE_CUDA_QUEUE_H

#include <cublasLt.h>
#include <cudnn.h>

#include "core/cuda/contest.h"
#include "core/cuda/internal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMBI_BLAS_WORKSPACE = 32 << 20, LMBI_OUTGROWN = 64 }; /* each at least twice the one before */

struct lmb_cuda_queue {
    cudaStream_t stream;
    cudnnHandle_t dnn;
    cublasLtHandle_t blas;
    void *blas_workspace; /* LMBI_BLAS_WORKSPACE bytes on the device; one product at a time on a stream */
    void *dnn_workspace;  /* the largest that a convolution asked for so far; one at a time on a stream    */
    size_t dnn_workspace_bytes;
    void *outgrown[LMBI_OUTGROWN]; /* smaller ones, which work that was captured may still use */
    int n_outgrown;
    bool measures;           /* engines are timed at their first run (contest.h) */
    const lmb_log *log;      /* who hears how that ended, or NULL                */
    lmb_cuda_known known;    /* from before, or all NULL                         */
    lmbi_contest_time time;  /* of all contests                                  */
    lmbi_contests *contests; /* what was found out                               */
    cudaEvent_t clock[2];    /* made when they are needed                        */
};

lmb_status lmbi_queue_create(lmb_cuda_stream *s, lmb_cuda_queue **out, lmb_error *err);
void lmbi_queue_destroy(lmb_cuda_queue *q); /* NULL is fine */
void lmbi_queue_measure(lmb_cuda_queue *q, bool on, const lmb_log *log); /* see lmb_cuda_api */
void lmbi_queue_measure_within(lmb_cuda_queue *q, double seconds, const lmb_cuda_known *known);
/* What is known of a shape, from this process or from before; NULL: nothing. */
const lmbi_contest *lmbi_queue_known(lmb_cuda_queue *q, const char *shape);
/* A contest was held, in that many seconds. */
void lmbi_queue_decided(lmb_cuda_queue *q, const char *shape, const lmbi_contest *c, double seconds);
/* There is time for a contest; if there is no more, log hears it once. */
bool lmbi_queue_may_measure(lmb_cuda_queue *q);
double lmbi_queue_clock(void); /* seconds */
/* Milliseconds that `turns` calls of once(ctx), which put work on q, take there together; waits. */
lmb_status lmbi_queue_time(lmb_cuda_queue *q, lmb_status (*once)(void *ctx, lmb_error *err), void *ctx, int turns,
                           double *ms, lmb_error *err);
bool lmbi_queue_recording(const lmb_cuda_queue *q); /* into a graph: nothing can be waited for */
/* From now on dnn_workspace has at least so many bytes. */
lmb_status lmbi_queue_workspace(lmb_cuda_queue *q, size_t bytes, lmb_error *err);

/* E_DEVICE, or E_UNSUPPORTED when the library has nothing for what was asked. LMB_OK stays. */
lmb_status lmbi_dnn_check(cudnnStatus_t s, const char *doing, lmb_error *err);
lmb_status lmbi_blas_check(cublasStatus_t s, const char *doing, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
