/* core/cuda/ops/blas.cu - matrix products by cuBLASLt, in f32, TF32 or bf16 with sums in f32, and our own kernel
 * behind them.
 *
 * Idea: matrices are row-major here and column-major there: the product of the transposed, in the other order, is the
 * same bytes, and a bias of the columns here is one of the rows there, which the library adds as it writes (its
 * epilogue), as it applies Relu. The chain: product with what follows -> product, then a pass -> our own. Which of them
 * runs is decided at the first run, as in dnn_conv.cu: the first algorithm of the first that has one, or, where the
 * queue measures, the best by its time of the first few algorithms of both (race.h).
 */
#include <stdio.h>
#include <string.h>

#include "core/cuda/ops/product.h"
#include "core/cuda/ops/race.h"

namespace lmb {
namespace {

struct ending {
    float *y;
    const float *c;
    float beta;
    walk w;
    bool relu;
    LMB_BODY void operator()(int i) const
    {
        float v = c ? y[i] + beta * c[w.at(i)] : y[i];
        y[i] = relu && v < 0 ? 0 : v;
    }
};

/* One product as the library is told of it. */
struct lt_product {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t layout[3] = {};
    static constexpr int most = 4;
    cublasLtMatmulAlgo_t made[most]; /* as the heuristics order them */
    int n_made = 0, at = 0;

    lmb_status set(cublasLtMatmulDescAttributes_t name, const void *value, size_t bytes, lmb_error *err)
    {
        return lmbi_blas_check(cublasLtMatmulDescSetAttribute(product, name, value, bytes), "describing a product",
                               err);
    }
    lmb_status matrix(int i, cudaDataType_t type, int64_t rows, int64_t columns, lmb_error *err)
    {
        return lmbi_blas_check(cublasLtMatrixLayoutCreate(&layout[i], type, (uint64_t)rows, (uint64_t)columns, rows),
                               "describing a matrix", err);
    }
    /* y [m][n] = a b, transposed where ta, tb say so. */
    lmb_status describe(cudaDataType_t factors, cublasComputeType_t compute, int64_t m, int64_t n, int64_t k, bool ta,
                        bool tb, cublasLtEpilogue_t ending, lmb_error *err)
    {
        cublasOperation_t first = tb ? CUBLAS_OP_T : CUBLAS_OP_N, second = ta ? CUBLAS_OP_T : CUBLAS_OP_N;
        LMB_TRY(lmbi_blas_check(cublasLtMatmulDescCreate(&product, compute, CUDA_R_32F), "describing a product", err));
        LMB_TRY(set(CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first, err));
        LMB_TRY(set(CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second, err));
        if (ending != CUBLASLT_EPILOGUE_DEFAULT)
            LMB_TRY(set(CUBLASLT_MATMUL_DESC_EPILOGUE, &ending, sizeof ending, err));
        LMB_TRY(matrix(0, factors, tb ? k : n, tb ? n : k, err));
        LMB_TRY(matrix(1, factors, ta ? m : k, ta ? k : m, err));
        return matrix(2, CUDA_R_32F, n, m, err);
    }
    /* The library's number of an algorithm. */
    int number(int i) const
    {
        int id = -1;
        size_t written = 0;
        if (cublasLtMatmulAlgoConfigGetAttribute(&made[i], CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id, &written) !=
            CUBLAS_STATUS_SUCCESS)
            return -1;
        return id;
    }
    lmb_status plan(lmb_cuda_queue *q, uint32_t alignment, lmb_error *err)
    {
        static const cublasLtMatmulPreferenceAttributes_t operand[] = {
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES };
        size_t workspace = LMBI_BLAS_WORKSPACE;
        uint32_t in_place = CUBLASLT_REDUCTION_SCHEME_NONE; /* no sums whose order is left open */
        cublasLtMatmulPreference_t wish = nullptr;
        cublasLtMatmulHeuristicResult_t found[most];
        int got = 0;

        LMB_TRY(lmbi_blas_check(cublasLtMatmulPreferenceCreate(&wish), "asking for an algorithm", err));
        cublasStatus_t s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                                &workspace, sizeof workspace);
        if (s == CUBLAS_STATUS_SUCCESS)
            s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &in_place,
                                                     sizeof in_place);
        for (int i = 0; i < 4 && s == CUBLAS_STATUS_SUCCESS; i++)
            s = cublasLtMatmulPreferenceSetAttribute(wish, operand[i], &alignment, sizeof alignment);
        if (s == CUBLAS_STATUS_SUCCESS)
            s = cublasLtMatmulAlgoGetHeuristic(q->blas, product, layout[0], layout[1], layout[2], layout[2], wish, most,
                                               found, &got);
        cublasLtMatmulPreferenceDestroy(wish);
        LMB_TRY(lmbi_blas_check(s, "asking for an algorithm", err));
        n_made = at = 0;
        for (int i = 0; i < got; i++)
            if (found[i].state == CUBLAS_STATUS_SUCCESS)
                made[n_made++] = found[i].algo;
        return n_made ? LMB_OK
                      : LMB_FAIL(err, LMB_E_UNSUPPORTED, "cuBLASLt has no algorithm for this product");
    }
    ~lt_product()
    {
        for (int i = 0; i < 3; i++)
            if (layout[i])
                cublasLtMatrixLayoutDestroy(layout[i]);
        if (product)
            cublasLtMatmulDescDestroy(product);
    }
};

/* Types, and the alignment that the operands must have: tensor cores are fed by vectors. */
struct exact {
    typedef float type;
    static constexpr cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
    static constexpr uint32_t alignment = 4;
};
struct tf32 {
    typedef float type;
    static constexpr cublasComputeType_t compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    static constexpr uint32_t alignment = 16;
};
struct brief {
    typedef bf16 type;
    static constexpr cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
    static constexpr uint32_t alignment = 16;
};

template <class P> struct blas_kernel {
    static constexpr int n_links = 2; /* with the bias and Relu, without */
    fallback own = {};
    remarks said = {};
    lt_product link[n_links];
    bool described[n_links] = {}, planned = false, row_bias = false, ta = false, tb = false;
    int at = 0;
    int64_t m, n, k;
    float alpha;
    ending c = {};

    static bool accepts(const lmb_call *call, const char **why) { return all_f32(call, 0, why); }
    static const char *note(const void *state) { return ((const blas_kernel *)state)->said.text; }
    static const char *name(int i) { return i == 0 ? "fused" : "product"; }

    static const lmb_kernel *own_row(bool act)
    {
        return sizeof(typename P::type) == 2 ? (act ? &lmbi_cuda_bf16_gemm_act : &lmbi_cuda_bf16_gemm)
                                             : (act ? &lmbi_cuda_op_gemm_act : &lmbi_cuda_op_gemm);
    }
    void describe(int i)
    {
        lmb_error why = LMB_ERROR_INIT;
        cudaDataType_t factors = sizeof(typename P::type) == 2 ? CUDA_R_16BF : CUDA_R_32F;
        cublasLtEpilogue_t end = i == 1               ? CUBLASLT_EPILOGUE_DEFAULT
                                 : row_bias && c.relu ? CUBLASLT_EPILOGUE_RELU_BIAS
                                 : row_bias           ? CUBLASLT_EPILOGUE_BIAS
                                                      : CUBLASLT_EPILOGUE_RELU;
        described[i] = link[i].describe(factors, P::compute, m, n, k, ta, tb, end, &why) == LMB_OK;
        said.add(name(i), described[i] ? "described" : why.msg);
    }
    lmb_status prepare(const lmb_call *call, size_t *scratch, lmb_error *err)
    {
        const lmb_gemm_attr *a = (const lmb_gemm_attr *)call->attr;
        bool has_c = call->n_in > 2 && call->in[2].present;
        ta = a->transA != 0, tb = a->transB != 0;
        m = call->out[0].shape.d[0], n = call->out[0].shape.d[1], k = call->in[0].shape.d[a->transA == 0];
        alpha = a->alpha, c.beta = a->beta, c.relu = ends_in_relu(call);
        if (has_c)
            c.w = broadcast(call->out[0].shape, call->in[2].shape);
        own.row = own_row(call->op->attr_size == sizeof(lmb_gemm_act_attr));
        row_bias = has_c && c.beta == 1 && lmb_shape_count(&call->in[2].shape) == n &&
                   call->in[2].shape.d[call->in[2].shape.n - 1] == n;
        if (m && n && k) {
            if (row_bias || (!has_c && c.relu))
                describe(0);
            describe(1);
        }
        return own.prepare(call, scratch, err);
    }
    void take_first(lmb_cuda_queue *q)
    {
        for (at = 0; at < n_links; at++) {
            lmb_error why = LMB_ERROR_INIT;
            lmb_status st = described[at] ? link[at].plan(q, P::alignment, &why) : LMB_E_UNSUPPORTED;
            if (st == LMB_OK)
                break;
            if (described[at])
                said.add(name(at), why.msg);
        }
    }

    /* ---- by their times: race.h ---- */

    int links() const { return n_links; }
    void shape_text(char *to, size_t room) const
    {
        snprintf(to, room, "%s, %lld x %lld x %lld%s%s, alpha %g%s%s%s",
                 sizeof(typename P::type) == 2 ? "Gemm bf16" : P::alignment == 16 ? "Gemm TF32" : "Gemm f32",
                 (long long)m, (long long)n, (long long)k, ta ? ", first transposed" : "",
                 tb ? ", second transposed" : "", (double)alpha,
                 row_bias          ? ", bias of columns"
                 : c.beta && c.w.n ? ", bias"
                                   : "",
                 c.relu ? ", Relu" : "", described[0] ? "" : ", plain");
    }
    void name_of(char to[LMBI_CONTEST_NAME], int l, int i) const
    {
        snprintf(to, LMBI_CONTEST_NAME, "%s algorithm %d", name(l), link[l].number(i));
    }
    void enter_all(race<blas_kernel> &x)
    {
        static_assert(n_links * lt_product::most <= LMBI_CONTEST_MOST, "both links have room");
        char to[LMBI_CONTEST_NAME];
        for (int l = 0; l < n_links; l++) {
            lmb_error why = LMB_ERROR_INIT;
            if (!described[l])
                continue;
            if (link[l].plan(x.q, P::alignment, &why) != LMB_OK)
                said.add(name(l), why.msg);
            for (int i = 0; i < link[l].n_made; i++) {
                name_of(to, l, i);
                x.enter(to, l, i, i);
            }
        }
    }
    lmb_status take(int l, int i, lmb_cuda_queue *, lmb_error *)
    {
        link[l].at = i;
        return LMB_OK;
    }
    void keep(int l, int i)
    {
        if (l < n_links)
            link[l].at = i;
    }
    lmb_status take_known(const lmbi_contestant &o, lmb_cuda_queue *q, lmb_error *err)
    {
        char to[LMBI_CONTEST_NAME];
        for (int l = 0; l < n_links; l++) {
            if (!described[l] || strncmp(o.name, name(l), strlen(name(l))) != 0)
                continue;
            LMB_TRY(link[l].plan(q, P::alignment, err));
            if (o.place < link[l].n_made)
                name_of(to, l, o.place);
            if (o.place >= link[l].n_made || strcmp(to, o.name) != 0)
                return LMB_FAIL(err, LMB_E_UNSUPPORTED, "it is not at %d now", o.place);
            at = l;
            return take(l, o.place, q, err);
        }
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "there is no such way");
    }
    void choose(const lmb_run *r, lmb_cuda_queue *q)
    {
        said.clear();
        planned = true;
        if (q->measures && (described[0] || described[1]) && aligned(r) && !lmbi_queue_recording(q)) {
            char shape[160];
            shape_text(shape, sizeof shape);
            take_best(this, r, q, shape);
        } else {
            take_first(q);
        }
        said.add(at < n_links ? name(at) : "own kernel", at < n_links ? "runs" : "");
    }
    static bool aligned(const lmb_run *r)
    {
        return ((uintptr_t)r->in[0].data | (uintptr_t)r->in[1].data | (uintptr_t)r->out[0].data) % P::alignment == 0;
    }
    lmb_status run_link(int which, const lmb_run *r, lmb_cuda_queue *q, lmb_error *err)
    {
        float zero = 0;
        lt_product &l = link[which];
        if (which == 0 && row_bias)
            LMB_TRY(l.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &c.c, sizeof c.c, err));
        LMB_TRY(lmbi_blas_check(cublasLtMatmul(q->blas, l.product, &alpha, r->in[1].data, l.layout[0], r->in[0].data,
                                               l.layout[1], &zero, r->out[0].data, l.layout[2], r->out[0].data,
                                               l.layout[2], &l.made[l.at], q->blas_workspace, LMBI_BLAS_WORKSPACE,
                                               q->stream),
                                "multiplying matrices", err));
        return which && (c.c || c.relu) ? each(r, m * n, c, err) : LMB_OK;
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        lmb_cuda_queue *q = (lmb_cuda_queue *)r->queue;
        if (!q)
            return own.run(r, err);
        c.y = out<float>(r, 0), c.c = in<const float>(r, 2);
        if (!planned)
            choose(r, q);
        return at < n_links && aligned(r) ? run_link(at, r, q, err) : own.run(r, err);
    }
};

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
#define BLAS(prefix, name, P, rule)                                                                                    \
    const lmb_kernel lmbi_cuda_##prefix##_gemm =                                                                       \
        stored<blas_kernel<P>>(name ":gemm", "Gemm", "", rule, blas_kernel<P>::note);                                  \
    const lmb_kernel lmbi_cuda_##prefix##_gemm_act =                                                                   \
        stored<blas_kernel<P>>(name ":gemm_act", "GemmAct", "limbeck", rule, blas_kernel<P>::note)
BLAS(blas, "cublaslt", exact, nullptr);
BLAS(blas_tf32, "cublaslt-tf32", tf32, nullptr);
BLAS(blas_bf16, "cublaslt-bf16", brief, bf16_factors);
}
