/* core/cuda/queue.c - see queue.h. */
#include "core/cuda/queue.h"

#include <stdlib.h>
#include <time.h>

lmb_status lmbi_dnn_check(cudnnStatus_t s, const char *doing, lmb_error *err)
{
    if (s == CUDNN_STATUS_SUCCESS)
        return LMB_OK;
    bool nothing = s >= CUDNN_STATUS_NOT_SUPPORTED && s < CUDNN_STATUS_INTERNAL_ERROR;
    bool full = s == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
    return LMB_FAIL(err, full ? LMB_E_NOMEM : nothing ? LMB_E_UNSUPPORTED : LMB_E_DEVICE, "cuDNN, %s: %s", doing,
                    cudnnGetErrorString(s));
}

lmb_status lmbi_blas_check(cublasStatus_t s, const char *doing, lmb_error *err)
{
    if (s == CUBLAS_STATUS_SUCCESS)
        return LMB_OK;
    return LMB_FAIL(err,
                    s == CUBLAS_STATUS_NOT_SUPPORTED  ? LMB_E_UNSUPPORTED
                    : s == CUBLAS_STATUS_ALLOC_FAILED ? LMB_E_NOMEM
                                                      : LMB_E_DEVICE,
                    "cuBLASLt, %s: %s", doing, cublasLtGetStatusString(s));
}

static lmb_status open_libraries(lmb_cuda_queue *q, lmb_error *err)
{
    LMB_TRY(lmbi_dnn_check(cudnnCreate(&q->dnn), "opening", err));
    LMB_TRY(lmbi_dnn_check(cudnnSetStream(q->dnn, q->stream), "choosing a stream", err));
    LMB_TRY(lmbi_blas_check(cublasLtCreate(&q->blas), "opening", err));
    return lmbi_cuda_check(cudaMalloc(&q->blas_workspace, LMBI_BLAS_WORKSPACE),
                           "allocating the workspace of matrix products", err);
}

lmb_status lmbi_queue_create(lmb_cuda_stream *s, lmb_cuda_queue **out, lmb_error *err)
{
    lmb_cuda_queue *q = calloc(1, sizeof *q);

    if (!q)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a queue");
    q->stream = (cudaStream_t)s;
    q->time.limit = -1;
    lmb_status st = open_libraries(q, err);
    if (st != LMB_OK) {
        lmbi_queue_destroy(q);
        return st;
    }
    *out = q;
    return LMB_OK;
}

lmb_status lmbi_queue_workspace(lmb_cuda_queue *q, size_t bytes, lmb_error *err)
{
    void *larger = NULL;

    if (bytes <= q->dnn_workspace_bytes)
        return LMB_OK;
    if (q->n_outgrown == LMBI_OUTGROWN)
        return LMB_FAIL(err, LMB_E_NOMEM, "the workspace of convolutions grew %d times", LMBI_OUTGROWN);
    if (bytes < 2 * q->dnn_workspace_bytes)
        bytes = 2 * q->dnn_workspace_bytes;
    LMB_TRY(lmbi_cuda_check(cudaMalloc(&larger, bytes), "allocating the workspace of convolutions", err));
    if (q->dnn_workspace)
        q->outgrown[q->n_outgrown++] = q->dnn_workspace;
    q->dnn_workspace = larger;
    q->dnn_workspace_bytes = bytes;
    return LMB_OK;
}

void lmbi_queue_measure(lmb_cuda_queue *q, bool on, const lmb_log *log)
{
    q->measures = on;
    q->log = log;
}

void lmbi_queue_measure_within(lmb_cuda_queue *q, double seconds, const lmb_cuda_known *known)
{
    q->known = known ? *known : (lmb_cuda_known){ 0 };
    q->time = (lmbi_contest_time){ seconds, 0, seconds == 0 }; /* 0 was asked for: nobody needs to be told */
}

const lmbi_contest *lmbi_queue_known(lmb_cuda_queue *q, const char *shape)
{
    const lmbi_contest *held = lmbi_contests_find(q->contests, shape);
    const char *way = !held && q->known.find ? q->known.find(q->known.ctx, shape) : NULL;
    lmbi_contest before;

    if (!way || !lmbi_contest_read(way, &before))
        return held;
    lmbi_contests_keep(&q->contests, shape, &before);
    return lmbi_contests_find(q->contests, shape);
}

void lmbi_queue_decided(lmb_cuda_queue *q, const char *shape, const lmbi_contest *c, double seconds)
{
    char way[LMBI_CONTEST_WAY + 1];

    q->time.spent += seconds;
    lmbi_contests_keep(&q->contests, shape, c);
    lmbi_contest_way(c, way);
    if (q->known.found)
        q->known.found(q->known.ctx, shape, way);
}

bool lmbi_queue_may_measure(lmb_cuda_queue *q)
{
    if (lmbi_contest_time_left(&q->time))
        return true;
    if (!q->time.told)
        lmb_log_at(q->log, LMB_LOG_INFO, "cuda",
                   "the %g s for timing several ways of convolutions and products are used up: for the other shapes "
                   "the first way is taken", q->time.limit);
    q->time.told = true;
    return false;
}

double lmbi_queue_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

lmb_status lmbi_queue_time(lmb_cuda_queue *q, lmb_status (*once)(void *ctx, lmb_error *err), void *ctx, int turns,
                           double *ms, lmb_error *err)
{
    float passed = 0;

    for (int i = 0; i < 2; i++)
        if (!q->clock[i])
            LMB_TRY(lmbi_cuda_check(cudaEventCreate(&q->clock[i]), "creating an event", err));
    LMB_TRY(lmbi_cuda_check(cudaEventRecord(q->clock[0], q->stream), "recording an event", err));
    for (int i = 0; i < turns; i++)
        LMB_TRY(once(ctx, err));
    LMB_TRY(lmbi_cuda_check(cudaEventRecord(q->clock[1], q->stream), "recording an event", err));
    LMB_TRY(lmbi_cuda_check(cudaEventSynchronize(q->clock[1]), "waiting for an event", err));
    LMB_TRY(lmbi_cuda_check(cudaEventElapsedTime(&passed, q->clock[0], q->clock[1]), "timing two events", err));
    *ms = passed;
    return LMB_OK;
}

bool lmbi_queue_recording(const lmb_cuda_queue *q)
{
    enum cudaStreamCaptureStatus now = cudaStreamCaptureStatusActive;

    return cudaStreamIsCapturing(q->stream, &now) != cudaSuccess || now != cudaStreamCaptureStatusNone;
}

static void give_back(void *memory)
{
    if (memory && cudaFree(memory) != cudaSuccess)
        (void)cudaGetLastError();
}

void lmbi_queue_destroy(lmb_cuda_queue *q)
{
    if (!q)
        return;
    lmbi_contests_destroy(q->contests);
    for (int i = 0; i < 2; i++)
        if (q->clock[i] && cudaEventDestroy(q->clock[i]) != cudaSuccess)
            (void)cudaGetLastError();
    give_back(q->blas_workspace);
    give_back(q->dnn_workspace);
    for (int i = 0; i < q->n_outgrown; i++)
        give_back(q->outgrown[i]);
    if (q->blas)
        cublasLtDestroy(q->blas);
    if (q->dnn)
        cudnnDestroy(q->dnn);
    free(q);
}
