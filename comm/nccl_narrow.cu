/* comm/nccl_narrow.cu - see nccl_narrow.h. Rounds as core/base/bf16.h does: to the nearest, ties to even. */
#include <cuda_bf16.h>

#include "comm/nccl_narrow.h"

namespace {

enum { THREADS = 256, MOST_BLOCKS = 1024 };

__global__ void narrow_kernel(const float *from, __nv_bfloat16 *to, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS)
        to[i] = __float2bfloat16_rn(from[i]);
}

__global__ void widen_kernel(const __nv_bfloat16 *from, float *to, size_t n)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS)
        to[i] = __bfloat162float(from[i]);
}

/* Of several streams, whose kernels may run at once; the host only looks. */
__global__ void count_kernel(unsigned long long *at)
{
    atomicAdd(at, 1ULL);
    __threadfence_system();
}

unsigned blocks(size_t n)
{
    size_t all = (n + THREADS - 1) / THREADS;
    return (unsigned)(all < MOST_BLOCKS ? all : MOST_BLOCKS);
}

} // namespace

cudaError_t lmbi_narrow(const float *from, uint16_t *to, size_t n, void *stream)
{
    if (n)
        narrow_kernel<<<blocks(n), THREADS, 0, (cudaStream_t)stream>>>(from, (__nv_bfloat16 *)to, n);
    return cudaGetLastError();
}

cudaError_t lmbi_widen(const uint16_t *from, float *to, size_t n, void *stream)
{
    if (n)
        widen_kernel<<<blocks(n), THREADS, 0, (cudaStream_t)stream>>>((const __nv_bfloat16 *)from, to, n);
    return cudaGetLastError();
}

cudaError_t lmbi_count(uint64_t *at, void *stream)
{
    count_kernel<<<1, 1, 0, (cudaStream_t)stream>>>((unsigned long long *)at);
    return cudaGetLastError();
}
