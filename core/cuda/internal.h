/* core/cuda/internal.h - what the files of the CUDA module share. */
#ifndef LMB_CORE_CUDA_INTERNAL_H
#define LMB_CORE_CUDA_INTERNAL_H

#include <cuda_runtime_api.h>

#include "core/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* E_DEVICE: "<doing>: <what CUDA says>; <what to do>", and forget the error on CUDA's side. LMB_OK stays. */
lmb_status lmbi_cuda_check(cudaError_t e, const char *doing, lmb_error *err);

/* record.c: see lmb_cuda_api */
lmb_status lmbi_cuda_host_alloc(size_t bytes, void **memory, lmb_error *err);
void lmbi_cuda_host_free(void *memory);
lmb_status lmbi_cuda_event_stamp(lmb_cuda_event *e, lmb_cuda_stream *s, lmb_error *err);
lmb_status lmbi_cuda_event_sync(lmb_cuda_event *e, lmb_error *err);
lmb_status lmbi_cuda_event_query(lmb_cuda_event *e, bool *done, lmb_error *err);
lmb_status lmbi_cuda_capture_begin(lmb_cuda_stream *s, lmb_error *err);
lmb_status lmbi_cuda_capture_end(lmb_cuda_stream *s, lmb_cuda_graph **out, lmb_error *err);
lmb_status lmbi_cuda_graph_launch(lmb_cuda_graph *g, lmb_cuda_stream *s, lmb_error *err);
void lmbi_cuda_graph_destroy(lmb_cuda_graph *g);

/* ops/step.cu */
lmb_status lmbi_cuda_step_work(void *queue, const lmb_step_work *w, lmb_error *err);
/* ops/pictures.cu: LMB_WORK_PICTURES */
lmb_status lmbi_cuda_pictures(const lmb_run *r, const lmb_step_work *w, lmb_error *err);

/* kernels.cu */
lmb_status lmbi_cuda_relu(const float *x, float *y, size_t n, lmb_cuda_stream *s, lmb_error *err);
lmb_status lmbi_cuda_sgd_momentum(float *w, const float *g, float *v, size_t n, float lr, float momentum,
                                  float weight_decay, bool nesterov, lmb_cuda_stream *s, lmb_error *err);
lmb_status lmbi_cuda_code(int *code, int *ptx, lmb_error *err); /* as in lmb_cuda_state */
/* int8.cu, chacha.cu */
lmb_status lmbi_cuda_int8_step(const lmb_int8_step *s, int64_t n, lmb_cuda_queue *q, lmb_error *err);
lmb_status lmbi_cuda_chacha_add(const lmb_chacha_job *j, lmb_cuda_queue *q, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
