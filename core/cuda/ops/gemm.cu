/* core/cuda/ops/gemm.cu - matrix products by their definition: what runs when cuBLASLt has nothing, and on the host.
 *   source   core/ops/{gemm,gemm_act}.c
 */
#include "core/cuda/ops/product.h"

namespace lmb {
namespace {

template <class T> struct product {
    const T *a, *b;
    const float *c;
    float *y;
    int m, n, k, a_row, a_col, b_row, b_col;
    float alpha, beta;
    bool relu;
    walk wc;       /* of c */
    walk wa, wb;   /* of the leading dimensions; matrices of a batch */
    LMB_BODY void operator()(int i) const
    {
        int column = i % n, row = i / n % m, batch = i / (n * m);
        const T *p = a + wa.at(batch) * m * k + row * a_row, *q = b + wb.at(batch) * k * n + column * b_col;
        float sum = 0;
        for (int j = 0; j < k; j++)
            sum += alpha * (float)p[j * a_col] * (float)q[j * b_row];
        sum += c ? beta * c[wc.at(i)] : 0;
        y[i] = relu && sum < 0 ? 0 : sum;
    }
};

template <class T> struct gemm_kernel {
    product<T> p = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *)
    {
        const lmb_gemm_attr *a = (const lmb_gemm_attr *)c->attr;
        p.m = (int)c->out[0].shape.d[0], p.n = (int)c->out[0].shape.d[1], p.k = (int)c->in[0].shape.d[a->transA == 0];
        p.a_row = a->transA ? 1 : p.k, p.a_col = a->transA ? p.m : 1;
        p.b_row = a->transB ? 1 : p.n, p.b_col = a->transB ? p.k : 1;
        p.alpha = a->alpha, p.beta = a->beta, p.relu = ends_in_relu(c);
        if (c->n_in > 2 && c->in[2].present)
            p.wc = broadcast(c->out[0].shape, c->in[2].shape);
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        p.a = in<const T>(r, 0), p.b = in<const T>(r, 1), p.c = in<const float>(r, 2), p.y = out<float>(r, 0);
        return each(r, lmb_shape_count(&r->out[0].shape), p, err);
    }
};

/* Leading dimensions of x, which has a matrix behind them. */
lmb_shape leading(const lmb_shape *x)
{
    lmb_shape s = *x;
    s.n = s.n > 2 ? s.n - 2 : 0;
    return s;
}

struct matmul_kernel : gemm_kernel<float> {
    lmb_status prepare(const lmb_call *c, size_t *, lmb_error *err)
    {
        const lmb_shape *a = &c->in[0].shape, *b = &c->in[1].shape;
        lmb_shape la = leading(a), lb = leading(b), both;
        LMB_TRY(lmb_shape_broadcast(&la, &lb, &both, err));
        p.k = (int)a->d[a->n - 1], p.m = a->n > 1 ? (int)a->d[a->n - 2] : 1, p.n = b->n > 1 ? (int)b->d[b->n - 1] : 1;
        p.a_row = p.k, p.a_col = 1, p.b_row = p.n, p.b_col = 1;
        p.alpha = 1;
        p.wa = broadcast(both, la), p.wb = broadcast(both, lb);
        return LMB_OK;
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_op_gemm = kernel<gemm_kernel<float>>("cuda:gemm", "Gemm", "");
const lmb_kernel lmbi_cuda_bf16_gemm = stored<gemm_kernel<bf16>>("cuda-bf16:gemm", "Gemm", "", bf16_factors);
const lmb_kernel lmbi_cuda_op_gemm_act = kernel<gemm_kernel<float>>("cuda:gemm_act", "GemmAct", "limbeck");
const lmb_kernel lmbi_cuda_bf16_gemm_act =
    stored<gemm_kernel<bf16>>("cuda-bf16:gemm_act", "GemmAct", "limbeck", bf16_factors);
const lmb_kernel lmbi_cuda_op_matmul = kernel<matmul_kernel>("cuda:matmul", "MatMul", "");
}
