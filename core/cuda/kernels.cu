/* core/cuda/kernels.cu - kernels over flat f32 vectors.
 *
 * Idea: one thread an element, and a loop for vectors longer than the grid. The order of operations is that of
 * the CPU's kernels, products are not contracted (--fmad=false) and subnormals are kept (nvcc's default), so
 * that a GPU and a CPU end in the same bits.
 */
#include "core/cuda/internal.h"

namespace {

constexpr unsigned threads_a_block = 256;
constexpr size_t most_blocks = 1u << 16; /* 16 Mi elements at once: every GPU is full long before */

unsigned blocks_for(size_t n)
{
    size_t blocks = (n - 1) / threads_a_block + 1;
    return (unsigned)(blocks < most_blocks ? blocks : most_blocks);
}

__device__ size_t first()
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ size_t stride()
{
    return (size_t)gridDim.x * blockDim.x;
}

/* x and y may be the same: each element is read before it is written, by the same thread. */
__global__ void relu(const float *x, float *y, size_t n)
{
    for (size_t i = first(); i < n; i += stride())
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

template <bool nesterov>
__global__ void sgd_momentum(float *__restrict__ w, const float *__restrict__ grad, float *__restrict__ v, size_t n,
                             float lr, float momentum, float weight_decay)
{
    for (size_t i = first(); i < n; i += stride()) {
        float g = grad[i] + weight_decay * w[i];
        float step = momentum * v[i] + g;
        v[i] = step;
        w[i] -= lr * (nesterov ? g + momentum * step : step);
    }
}

} // namespace

/* A launch reports through the thread's last error, which lmbi_cuda_check leaves clear after any failure. */
lmb_status lmbi_cuda_relu(const float *x, float *y, size_t n, lmb_cuda_stream *s, lmb_error *err)
{
    if (n == 0)
        return LMB_OK;
    relu<<<blocks_for(n), threads_a_block, 0, (cudaStream_t)s>>>(x, y, n);
    return lmbi_cuda_check(cudaGetLastError(), "starting relu", err);
}

lmb_status lmbi_cuda_sgd_momentum(float *w, const float *g, float *v, size_t n, float lr, float momentum,
                                  float weight_decay, bool nesterov, lmb_cuda_stream *s, lmb_error *err)
{
    if (n == 0)
        return LMB_OK;
    auto kernel = nesterov ? sgd_momentum<true> : sgd_momentum<false>;
    kernel<<<blocks_for(n), threads_a_block, 0, (cudaStream_t)s>>>(w, g, v, n, lr, momentum, weight_decay);
    return lmbi_cuda_check(cudaGetLastError(), "starting sgd_momentum", err);
}

lmb_status lmbi_cuda_code(int *code, int *ptx, lmb_error *err)
{
    cudaFuncAttributes a;
    LMB_TRY(lmbi_cuda_check(cudaFuncGetAttributes(&a, relu), "looking for code for this GPU", err));
    *code = a.binaryVersion;
    *ptx = a.ptxVersion;
    return LMB_OK;
}
