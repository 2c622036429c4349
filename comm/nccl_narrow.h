/* comm/nccl_narrow.h - gradients as bf16 on their way, on the device, and a count of what a stream has passed, in
 * memory of the host. Part of the NCCL module. */
#ifndef LMB_COMM_NCCL_NARROW_H
#define LMB_COMM_NCCL_NARROW_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t lmbi_narrow(const float *from, uint16_t *to, size_t n, void *stream);
cudaError_t lmbi_widen(const uint16_t *from, float *to, size_t n, void *stream);
cudaError_t lmbi_count(uint64_t *at, void *stream); /* *at += 1; may be captured */

#ifdef __cplusplus
}
#endif
#endif
