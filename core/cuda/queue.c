/* core/cuda/queue.c - see queue.h. */
#include "core/cuda/queue.h"

#include <stdlib.h>

lmb_status lmbi_dnn_check(cudnnStatus_t s, const char *doing, lmb_error *err)
{
    if (s == CUDNN_STATUS_SUCCESS)
        return LMB_OK;
    bool nothing = s >= CUDNN_STATUS_NOT_SUPPORTED && s < CUDNN_STATUS_INTERNAL_ERROR;
    return LMB_FAIL(err, nothing ? LMB_E_UNSUPPORTED : LMB_E_DEVICE, "cuDNN, %s: %s", doing, cudnnGetErrorString(s));
}

lmb_status lmbi_blas_check(cublasStatus_t s, const char *doing, lmb_error *err)
{
    if (s == CUBLAS_STATUS_SUCCESS)
        return LMB_OK;
    return LMB_FAIL(err, s == CUBLAS_STATUS_NOT_SUPPORTED ? LMB_E_UNSUPPORTED : LMB_E_DEVICE, "cuBLASLt, %s: %s", doing,
                    cublasLtGetStatusString(s));
}

static lmb_status open_libraries(lmb_cuda_queue *q, lmb_error *err)
{
    LMB_TRY(lmbi_dnn_check(cudnnCreate(&q->dnn), "opening", err));
    LMB_TRY(lmbi_dnn_check(cudnnSetStream(q->dnn, q->stream), "choosing a stream", err));
    LMB_TRY(lmbi_blas_check(cublasLtCreate(&q->blas), "opening", err));
    return lmbi_cuda_check(cudaMalloc(&q->blas_workspace, LMBI_BLAS_WORKSPACE), "allocating the workspace of matrix products", err);
}

lmb_status lmbi_queue_create(lmb_cuda_stream *s, lmb_cuda_queue **out, lmb_error *err)
{
    lmb_cuda_queue *q = calloc(1, sizeof *q);

    if (!q)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a queue");
    q->stream = (cudaStream_t)s;
    lmb_status st = open_libraries(q, err);
    if (st != LMB_OK) {
        lmbi_queue_destroy(q);
        return st;
    }
    *out = q;
    return LMB_OK;
}

void lmbi_queue_destroy(lmb_cuda_queue *q)
{
    if (!q)
        return;
    if (q->blas_workspace && cudaFree(q->blas_workspace) != cudaSuccess)
        (void)cudaGetLastError();
    if (q->blas)
        cublasLtDestroy(q->blas);
    if (q->dnn)
        cudnnDestroy(q->dnn);
    free(q);
}
