/* core/cuda/ops/library.cu - convolutions by cuDNN and matrix products by cuBLASLt, each with our own kernel behind it.
 *
 * Idea: which engine or algorithm runs is decided at the first run, when there is a device to ask. If the library has none
 * that is reproducible in f32 for a shape, the own kernel of the same row runs from then on. What a convolution is fused
 * with (a bias, a sum, an activation) is one pass over its result. Matrices are row-major here and column-major there: the
 * product of the transposed, in the other order, is the same bytes.
 */
#include "core/cuda/dnn.h"
#include "core/cuda/ops/grid.h"
#include "core/cuda/ops/table.h"
#include "core/ops/gemm.h"

namespace lmb {
namespace {

/* The kernel of our own behind a library's. */
struct fallback {
    const lmb_kernel *row;
    void *state = nullptr;
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *err) { return row->create(c, &state, scratch, err); }
    lmb_status run(const lmb_run *r, lmb_error *err) { return row->run(state, r, err); }
    ~fallback()
    {
        if (state)
            row->destroy(state);
    }
};

enum progress { NEW, READY, OWN };

/* ---- convolution ---- */

/* y = act(y + bias + add) */
struct ending {
    float *y;
    const float *bias, *add;
    int area, k;
    char function;
    float lo, hi;
    LMB_BODY void operator()(int i) const
    {
        float v = y[i] + (bias ? bias[i / area % k] : 0);
        v += add ? add[i] : 0;
        y[i] = function == 'R' ? (v < 0 ? 0 : v) : function == 'C' ? (v < lo ? lo : v > hi ? hi : v) : v;
    }
};

template <lmbi_dnn_kind kind> const lmb_kernel *own_conv(const lmb_call *c)
{
    bool fused = c->op->attr_size == sizeof(lmb_conv_act_attr);
    return kind == LMBI_DNN_DATA      ? &lmbi_cuda_op_conv_grad_data
           : kind == LMBI_DNN_WEIGHTS ? &lmbi_cuda_op_conv_grad_weights
           : fused                    ? &lmbi_cuda_op_conv_act
                                      : &lmbi_cuda_op_conv;
}

template <lmbi_dnn_kind kind> struct dnn_kernel {
    lmbi_dnn *dnn = nullptr;
    fallback own = {};
    progress at = NEW;
    ending end = {};
    static bool accepts(const lmb_call *c, const char **why) { return all_f32(c, 0, why); }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *err)
    {
        lmb_conv g = lmb_conv_of_call(c);
        end.area = (int)(g.oh * g.ow), end.k = (int)g.k;
        if (kind == LMBI_DNN_FORWARD && c->op->attr_size == sizeof(lmb_conv_act_attr)) {
            const lmb_conv_act_attr *a = (const lmb_conv_act_attr *)c->attr;
            end.function = *a->function, end.lo = a->lo, end.hi = a->hi;
        }
        own.row = own_conv<kind>(c);
        LMB_TRY(own.prepare(c, scratch, err));
        lmb_error why = LMB_ERROR_INIT; /* a shape that cuDNN does not describe is ours */
        if (lmbi_dnn_describe(kind, &g, &dnn, &why) != LMB_OK)
            at = OWN;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        lmb_cuda_queue *q = (lmb_cuda_queue *)r->queue;
        if (at == NEW && q) {
            lmb_error why = LMB_ERROR_INIT;
            lmb_status st = lmbi_dnn_plan(dnn, q, &why);
            if (st != LMB_OK && st != LMB_E_UNSUPPORTED)
                return LMB_FAIL(err, st, "%s", why.msg);
            at = st == LMB_OK ? READY : OWN;
        }
        if (at != READY || !q)
            return own.run(r, err);
        const void *a = r->in[0].data, *b = r->in[1].data;
        void *y = r->out[0].data;
        if constexpr (kind == LMBI_DNN_DATA) {
            return lmbi_dnn_run(dnn, q, y, b, a, err);
        } else if constexpr (kind == LMBI_DNN_WEIGHTS) {
            return lmbi_dnn_run(dnn, q, b, y, a, err);
        } else {
            LMB_TRY(lmbi_dnn_run(dnn, q, a, b, y, err));
            end.y = (float *)y, end.bias = in<const float>(r, 2), end.add = in<const float>(r, 3);
            return end.bias || end.add || end.function ? each(r, lmb_shape_count(&r->out[0].shape), end, err) : LMB_OK;
        }
    }
    ~dnn_kernel() { lmbi_dnn_destroy(dnn); }
};

/* ---- matrix products ---- */

struct plus_c {
    float *y;
    const float *c;
    float beta;
    walk w;
    LMB_BODY void operator()(int i) const { y[i] += beta * c[w.at(i)]; }
};

struct blas_gemm_kernel {
    fallback own = {};
    progress at = NEW;
    int64_t m, n, k;
    bool ta, tb;
    float alpha;
    plus_c c = {};
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t layout[3] = {};
    cublasLtMatmulAlgo_t algo;
    static bool accepts(const lmb_call *call, const char **why) { return all_f32(call, 0, why); }
    lmb_status prepare(const lmb_call *call, size_t *scratch, lmb_error *err)
    {
        const lmb_gemm_attr *a = (const lmb_gemm_attr *)call->attr;
        m = call->out[0].shape.d[0], n = call->out[0].shape.d[1], k = call->in[0].shape.d[a->transA == 0];
        ta = a->transA != 0, tb = a->transB != 0, alpha = a->alpha, c.beta = a->beta;
        if (call->n_in > 2 && call->in[2].present)
            c.w = broadcast(call->out[0].shape, call->in[2].shape);
        own.row = &lmbi_cuda_op_gemm;
        at = m && n && k ? NEW : OWN;
        return own.prepare(call, scratch, err);
    }
    /* The library sees the transposed: [n, m] = [n, k] [k, m]. */
    lmb_status plan(lmb_cuda_queue *q, lmb_error *err)
    {
        cublasOperation_t first = tb ? CUBLAS_OP_T : CUBLAS_OP_N, second = ta ? CUBLAS_OP_T : CUBLAS_OP_N;
        size_t workspace = LMBI_BLAS_WORKSPACE;
        uint32_t in_place = CUBLASLT_REDUCTION_SCHEME_NONE; /* no sums whose order is left open */
        cublasLtMatmulPreference_t wish = nullptr;
        cublasLtMatmulHeuristicResult_t found;
        int got = 0;

        LMB_TRY(lmbi_blas_check(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product", err));
        LMB_TRY(lmbi_blas_check(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), "describing a product", err));
        LMB_TRY(lmbi_blas_check(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), "describing a product", err));
        LMB_TRY(lmbi_blas_check(cublasLtMatrixLayoutCreate(&layout[0], CUDA_R_32F, tb ? (uint64_t)k : (uint64_t)n, tb ? (uint64_t)n : (uint64_t)k, tb ? k : n), "describing a matrix", err));
        LMB_TRY(lmbi_blas_check(cublasLtMatrixLayoutCreate(&layout[1], CUDA_R_32F, ta ? (uint64_t)m : (uint64_t)k, ta ? (uint64_t)k : (uint64_t)m, ta ? m : k), "describing a matrix", err));
        LMB_TRY(lmbi_blas_check(cublasLtMatrixLayoutCreate(&layout[2], CUDA_R_32F, (uint64_t)n, (uint64_t)m, n), "describing a matrix", err));
        LMB_TRY(lmbi_blas_check(cublasLtMatmulPreferenceCreate(&wish), "asking for an algorithm", err));
        cublasStatus_t s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
        if (s == CUBLAS_STATUS_SUCCESS)
            s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &in_place, sizeof in_place);
        if (s == CUBLAS_STATUS_SUCCESS)
            s = cublasLtMatmulAlgoGetHeuristic(q->blas, product, layout[0], layout[1], layout[2], layout[2], wish, 1, &found, &got);
        cublasLtMatmulPreferenceDestroy(wish);
        LMB_TRY(lmbi_blas_check(s, "asking for an algorithm", err));
        if (!got)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "cuBLASLt has no algorithm for this product");
        algo = found.algo;
        return LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        lmb_cuda_queue *q = (lmb_cuda_queue *)r->queue;
        float zero = 0;
        if (at == NEW && q) {
            lmb_error why = LMB_ERROR_INIT;
            lmb_status st = plan(q, &why);
            if (st != LMB_OK && st != LMB_E_UNSUPPORTED)
                return LMB_FAIL(err, st, "%s", why.msg);
            at = st == LMB_OK ? READY : OWN;
        }
        if (at != READY || !q)
            return own.run(r, err);
        LMB_TRY(lmbi_blas_check(cublasLtMatmul(q->blas, product, &alpha, r->in[1].data, layout[0], r->in[0].data, layout[1], &zero,
                                               r->out[0].data, layout[2], r->out[0].data, layout[2], &algo, q->blas_workspace,
                                               LMBI_BLAS_WORKSPACE, q->stream), "multiplying matrices", err));
        c.y = out<float>(r, 0), c.c = in<const float>(r, 2);
        return c.c ? each(r, m * n, c, err) : LMB_OK;
    }
    ~blas_gemm_kernel()
    {
        for (int i = 0; i < 3; i++)
            if (layout[i])
                cublasLtMatrixLayoutDestroy(layout[i]);
        if (product)
            cublasLtMatmulDescDestroy(product);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
const lmb_kernel lmbi_cuda_dnn_conv = kernel<dnn_kernel<LMBI_DNN_FORWARD>>("cudnn:conv", "Conv", "");
const lmb_kernel lmbi_cuda_dnn_conv_act = kernel<dnn_kernel<LMBI_DNN_FORWARD>>("cudnn:conv_act", "ConvAct", "limbeck");
const lmb_kernel lmbi_cuda_dnn_conv_grad_data = kernel<dnn_kernel<LMBI_DNN_DATA>>("cudnn:conv_grad_data", "ConvGradData", "limbeck");
const lmb_kernel lmbi_cuda_dnn_conv_grad_weights = kernel<dnn_kernel<LMBI_DNN_WEIGHTS>>("cudnn:conv_grad_weights", "ConvGradWeights", "limbeck");
const lmb_kernel lmbi_cuda_blas_gemm = kernel<blas_gemm_kernel>("cublaslt:gemm", "Gemm", "");
}
