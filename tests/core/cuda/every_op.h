/* tests/core/cuda/every_op.h - every case of every op: how far results are from the reference, in units of the sum of
 * the magnitudes of what is multiplied and added, or, for ops that are no sums of products, of the largest number of
 * the result: f32 1e-5, TF32 1e-3, bf16 1e-2. For the host (test_errors.c) and a GPU (test_gpu_errors.c) alike. Results
 * begin as NaN. Products are set against sums in double in errors.h. */
#ifndef LMB_TESTS_CORE_CUDA_EVERY_OP_H
#define LMB_TESTS_CORE_CUDA_EVERY_OP_H

#include "core/check/check.h"
#include "tests/core/cuda/errors.h"

static int op_cases(void)
{
    int n = 0;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}

static bool sums_products(const char *op)
{
    static const char *const list[] = { "Add", "AveragePool", "AveragePoolGrad", "BiasGrad", "Conv", "ConvAct",
                                        "ConvGradData", "ConvGradWeights", "Gemm", "GemmAct", "GlobalAveragePool",
                                        "MatMul", "Mul", "ReduceMean", "ReduceSum", "SumTo" };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(list[i], op) == 0)
            return true;
    return false;
}

/* Output k of a plan's one run, in memory that begins as NaN. */
static void *output_of(const lmb_op_case *c, bool rounded, bool magnitudes, const lmb_backend *backend, int k,
                       lmb_dtype *type, int64_t *n)
{
    const lmb_backend *list[] = { backend, NULL };
    lmb_plan_options o = { .backends = backend ? list : NULL };
    lmb_step_info step = { 7, 3, NULL };
    lmb_error e = LMB_ERROR_INIT;
    lmb_graph *g;
    lmb_plan *p;

    ck_ok_at(lmb_case_graph(c, 1, rounded, magnitudes, &g, &e), &e);
    const lmb_value *v = &g->value[g->output[k].value];
    size_t bytes = lmb_shape_bytes(&v->shape, v->dtype);
    *type = v->dtype;
    *n = lmb_shape_count(&v->shape);
    void *to = malloc(bytes + 64);
    memset(to, 0xFF, bytes);
    ck_ok_at(lmb_plan_compile(g, &o, &p, &e), &e);
    ck_ok_at(lmb_plan_bind(p, g->output[k].value, to, &e), &e);
    ck_ok_at(lmb_plan_run(p, &step, &e), &e);
    lmb_plan_destroy(p);
    lmb_graph_destroy(g);
    return to;
}

static void check_op(const lmb_backend *backend, const lmb_op_case *c, double bound, bool rounded)
{
    for (int k = 0; k < (c->n_out ? c->n_out : 1); k++) {
        lmb_dtype type;
        int64_t n;
        void *got = output_of(c, rounded, false, backend, k, &type, &n),
             *want = output_of(c, rounded, false, NULL, k, &type, &n);
        float *size = type == LMB_F32 ? output_of(c, rounded, true, NULL, k, &type, &n) : NULL;
        double largest = 1e-6;
        for (int64_t i = 0; size && i < n; i++)
            largest = fmax(largest, fabs(((float *)want)[i]));
        for (int64_t i = 0; size && i < n; i++) {
            double a = ((float *)got)[i], b = ((float *)want)[i], unit = sums_products(c->op) ? size[i] : largest;
            ck_assert_msg(fabs(a - b) <= bound * unit + 1e-30,
                          "%s, case %s, output %d at %lld: %g instead of %g, off by %g of the magnitudes", c->op,
                          c->label, k, (long long)i, a, b, fabs(a - b) / unit);
        }
        if (!size)
            ck_assert_msg(memcmp(got, want, lmb_dtype_bytes(type) * (size_t)n) == 0, "%s, case %s, output %d", c->op,
                          c->label, k);
        free(got);
        free(want);
        free(size);
    }
}
#endif
