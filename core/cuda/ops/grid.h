/* core/cuda/ops/grid.h - one body, two machines: how kernels are written here, and how they start.
 *
 * Idea: a kernel is a struct with its operands as members and a body that both compilers take. `each` runs the body for
 * every element, `teams` for every row that has to be summed: on a GPU a block of threads shares a row, on the host the
 * team is one. Which of the two, lmb_run.queue says: NULL is the host, so that indices and formulas are checked against
 * the references on machines without a GPU, case by case, with the same sources.
 *
 *   limits   operands have fewer than 2^31 elements: indices are 32 bits, because a GPU divides those fast
 *   sums     in double and in a fixed order, which is another one on a GPU than on the host
 */
#ifndef LMB_CORE_CUDA_OPS_GRID_H
#define LMB_CORE_CUDA_OPS_GRID_H

#include <math.h>
#include <new>

#include <cuda_runtime_api.h>

#include "core/cuda/queue.h"
#include "core/plan/backend.h"

#define LMB_BODY __host__ __device__ __forceinline__

namespace lmb {

/* The team of the host. */
struct solo {
    LMB_BODY int lane() const { return 0; }
    LMB_BODY int lanes() const { return 1; }
    LMB_BODY double sum(double v) const { return v; }
    LMB_BODY double largest(double v) const { return v; }
};

#ifdef __CUDACC__
constexpr int each_threads = 256, team_threads = 256;

/* A block: every lane calls, every lane gets the result. The tree is fixed, so that results are the same run after
 * run. */
struct block {
    LMB_BODY int lane() const
    {
#ifdef __CUDA_ARCH__
        return (int)threadIdx.x;
#else
        return 0;
#endif
    }
    LMB_BODY int lanes() const { return team_threads; }
    template <class Op> LMB_BODY double tree(double v, Op op) const
    {
#ifdef __CUDA_ARCH__
        __shared__ double part[team_threads];
        __syncthreads(); /* who still reads the last result */
        part[threadIdx.x] = v;
        for (int half = team_threads / 2; half; half /= 2) {
            __syncthreads();
            if ((int)threadIdx.x < half)
                part[threadIdx.x] = op(part[threadIdx.x], part[threadIdx.x + half]);
        }
        __syncthreads();
        return part[0];
#else
        (void)op;
        return v;
#endif
    }
    struct plus { LMB_BODY double operator()(double a, double b) const { return a + b; } };
    struct larger { LMB_BODY double operator()(double a, double b) const { return a > b ? a : b; } };
    LMB_BODY double sum(double v) const { return tree(v, plus()); }
    LMB_BODY double largest(double v) const { return tree(v, larger()); }
};

template <class F> __global__ void __launch_bounds__(each_threads) each_kernel(F f, int n)
{
    for (long long i = (long long)blockIdx.x * each_threads + threadIdx.x; i < n;
         i += (long long)gridDim.x * each_threads)
        f((int)i);
}

template <class F> __global__ void __launch_bounds__(team_threads) team_kernel(F f) { f(block(), (int)blockIdx.x); }
#endif

/* f(i) for every i in [0, n). */
template <class F> lmb_status each(const lmb_run *r, int64_t n, const F &f, lmb_error *err)
{
    if (n <= 0)
        return LMB_OK;
    if (!r->queue) {
        for (int i = 0; i < (int)n; i++)
            f(i);
        return LMB_OK;
    }
    int64_t blocks = (n + each_threads - 1) / each_threads;
    each_kernel<<<(unsigned)(blocks < 65536 ? blocks : 65536), each_threads, 0, ((lmb_cuda_queue *)r->queue)->stream>>>(
        f, (int)n);
    return lmbi_cuda_check(cudaGetLastError(), "starting a kernel", err);
}

/* f(team, row) for every row in [0, rows). */
template <class F> lmb_status teams(const lmb_run *r, int64_t rows, const F &f, lmb_error *err)
{
    if (rows <= 0)
        return LMB_OK;
    if (!r->queue) {
        for (int i = 0; i < (int)rows; i++)
            f(solo(), i);
        return LMB_OK;
    }
    team_kernel<<<(unsigned)rows, team_threads, 0, ((lmb_cuda_queue *)r->queue)->stream>>>(f);
    return lmbi_cuda_check(cudaGetLastError(), "starting a kernel", err);
}

/* ---- indices ---- */

/* Element i of a row-major result -> offset in an operand, by strides. */
struct walk {
    int n, d[LMB_MAX_DIMS], stride[LMB_MAX_DIMS], first;
    LMB_BODY int at(int i) const
    {
        int o = first;
        for (int k = n - 1; k > 0; k--) {
            o += i % d[k] * stride[k];
            i /= d[k];
        }
        return n ? o + i * stride[0] : o;
    }
};

/* `from` broadcasts to `result`. */
inline walk broadcast(const lmb_shape &result, const lmb_shape &from)
{
    walk w = {};
    int64_t stride = 1;
    w.n = result.n;
    for (int i = result.n - 1, k = from.n - 1; i >= 0; i--, k--) {
        w.d[i] = (int)result.d[i];
        if (k >= 0) {
            w.stride[i] = from.d[k] == 1 ? 0 : (int)stride;
            stride *= from.d[k];
        }
    }
    return w;
}

/* ---- rows of the table ---- */

inline bool small_enough(const lmb_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].present && lmb_shape_count(&c->in[i].shape) > INT32_MAX)
            return false;
    for (int i = 0; i < c->n_out; i++)
        if (lmb_shape_count(&c->out[i].shape) > INT32_MAX)
            return false;
    return true;
}

/* Numbers are f32; `index` operands (bit i: input i) are what the kernel says they are. */
inline bool all_f32(const lmb_call *c, unsigned index, const char **why)
{
    *why = "an operand has 2^31 elements or more";
    if (!small_enough(c))
        return false;
    *why = "numbers are not f32";
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].present && !(index >> i & 1) && c->in[i].dtype != LMB_F32)
            return false;
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i].present && c->out[i].dtype != LMB_F32)
            return false;
    return true;
}

/* A row from a struct K: static accepts; prepare(call) fills members; run(lmb_run). */
template <class K> struct row {
    static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
    {
        K *k = new (std::nothrow) K();
        if (!k)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a kernel");
        lmb_status st = k->prepare(c, scratch, err);
        if (st != LMB_OK)
            delete k;
        else
            *state = k;
        return st;
    }
    static lmb_status run(void *state, const lmb_run *r, lmb_error *err) { return ((K *)state)->run(r, err); }
    static void destroy(void *state) { delete (K *)state; }
};

template <class K>
constexpr lmb_kernel kernel(const char *name, const char *op, const char *domain, bool inplace = false,
                            bool order_free = false)
{
    return lmb_kernel{ name, op, domain, K::accepts, nullptr, nullptr, row<K>::create, row<K>::run, row<K>::destroy,
        inplace, order_free, nullptr };
}

template <class T> T *in(const lmb_run *r, int i) { return i < r->n_in ? (T *)r->in[i].data : nullptr; }
template <class T> T *out(const lmb_run *r, int i) { return i < r->n_out ? (T *)r->out[i].data : nullptr; }

} // namespace lmb

#endif
