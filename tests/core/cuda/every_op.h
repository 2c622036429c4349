/* tests/core/cuda/every_op.h - every case of every op, and of the layers of measured networks: how far results are from
 * the definition in double precision (doubles.h), in units of the sum of the magnitudes of what is multiplied and
 * added, or, for ops that are no sums of products, of the largest number of the result: f32 1e-5, TF32 1e-3, bf16 1e-2.
 * For the host (test_errors.c) and a GPU (test_gpu_errors.c) alike. Results begin as NaN. What is rounded to integers
 * on the way jumps, and is set against the reference in f32. */
#ifndef LMB_TESTS_CORE_CUDA_EVERY_OP_H
#define LMB_TESTS_CORE_CUDA_EVERY_OP_H

#include "tests/core/cuda/doubles.h"
#include "tests/core/cuda/errors.h"
#include "tests/core/cuda/layers.h"

static bool any_of(const char *op, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, op) == 0)
            return true;
    return false;
}

static bool sums_products(const char *op)
{
    static const char *const list[] = { "Add", "AveragePool", "AveragePoolGrad", "BiasGrad", "Conv", "ConvAct",
                                        "ConvGradData", "ConvGradWeights", "Gemm", "GemmAct", "GlobalAveragePool",
                                        "MatMul", "Mul", "ReduceMean", "ReduceSum", "SumTo", NULL };
    return any_of(op, list);
}

static bool jumps(const char *op)
{
    static const char *const list[] = { "FakeQuant", "FakeQuantGrad", NULL };
    return any_of(op, list);
}

typedef struct results {
    int n;
    lmb_dtype type[LMB_MAX_OUT];
    int64_t count[LMB_MAX_OUT];
    void *got[LMB_MAX_OUT];
} results;

static lmb_graph *graph_of_case(int which, bool rounded, bool magnitudes)
{
    lmb_error e = LMB_ERROR_INIT;
    lmb_graph *g;
    ck_ok_at(lmb_case_graph(any_case(which), 1, rounded, magnitudes, &g, &e), &e);
    return g;
}

static int outputs_of(int which) { return any_case(which)->n_out ? any_case(which)->n_out : 1; }

/* The outputs of a plan's one run, in memory that begins as NaN. */
static results run_case(int which, bool rounded, const lmb_backend *backend)
{
    const lmb_backend *list[] = { backend, NULL };
    lmb_plan_options o = { .backends = backend ? list : NULL };
    lmb_step_info step = { 7, 3, NULL };
    lmb_error e = LMB_ERROR_INIT;
    lmb_graph *g = graph_of_case(which, rounded, false);
    results r = { .n = outputs_of(which) };
    lmb_plan *p;

    ck_ok_at(lmb_plan_compile(g, &o, &p, &e), &e);
    for (int k = 0; k < r.n; k++) {
        const lmb_value *v = &g->value[g->output[k].value];
        size_t bytes = lmb_shape_bytes(&v->shape, v->dtype);
        r.type[k] = v->dtype;
        r.count[k] = lmb_shape_count(&v->shape);
        r.got[k] = malloc(bytes + 64);
        memset(r.got[k], 0xFF, bytes);
        ck_ok_at(lmb_plan_bind(p, g->output[k].value, r.got[k], &e), &e);
    }
    ck_ok_at(lmb_plan_run(p, &step, &e), &e);
    lmb_plan_destroy(p);
    lmb_graph_destroy(g);
    return r;
}

static double *as_doubles(const float *f, int64_t n)
{
    double *d = malloc(sizeof *d * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        d[i] = f[i];
    return d;
}

/* The same in double precision, or with the magnitudes of all operands. */
static void run_exactly(int which, bool rounded, bool magnitudes, double *out[LMB_MAX_OUT])
{
    lmb_graph *g = graph_of_case(which, rounded, magnitudes);
    double **value = calloc((size_t)g->n_values + 1, sizeof *value);
    char why[256] = "built without CUDA";

    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].data && g->value[v].dtype == LMB_F32)
            value[v] = as_doubles(g->value[v].data, lmb_shape_count(&g->value[v].shape));
    ck_assert_msg(doubles_run(which, 1, (const double *const *)value, g->n_values, out, outputs_of(which), why) == 0,
                  "%s", why);
    for (int v = 0; v < g->n_values; v++)
        free(value[v]);
    free(value);
    lmb_graph_destroy(g);
}

static void compare_output(int which, int k, const float *got, const double *want, const double *size, int64_t n,
                           double bound)
{
    double largest = 1e-6;

    for (int64_t i = 0; i < n; i++) { /* infinity is near to everything */
        ck_assert_msg(isfinite(want[i]), "%s, case %s, output %d at %lld: %g tells nothing", any_case(which)->op,
                      any_case(which)->label, k, (long long)i, want[i]);
        largest = fmax(largest, fabs(want[i]));
    }
    for (int64_t i = 0; i < n; i++) {
        double unit = size ? size[i] : largest, error = fabs(got[i] - want[i]);
        if (!(error <= bound * unit + 1e-30))
            ck_abort_msg("%s, case %s, output %d at %lld: %g instead of %g, off by %g of the magnitudes",
                         any_case(which)->op, any_case(which)->label, k, (long long)i, (double)got[i], want[i],
                         error / unit);
    }
}

/* For each backend, as numbers of the case that all of one `rounded` are given. */
static void check_op(const lmb_backend *const *backend, int n_backends, int which, const double *bound, bool rounded)
{
    double *want[LMB_MAX_OUT] = { NULL }, *size[LMB_MAX_OUT] = { NULL };
    const char *op = any_case(which)->op;
    results plain = run_case(which, rounded, NULL);

    run_exactly(which, rounded, false, want);
    if (sums_products(op))
        run_exactly(which, rounded, true, size);
    for (int k = 0; k < plain.n && jumps(op); k++) {
        free(want[k]);
        want[k] = plain.type[k] == LMB_F32 ? as_doubles(plain.got[k], plain.count[k]) : NULL;
    }
    for (int b = 0; b < n_backends; b++) {
        results r = run_case(which, rounded, backend[b]);
        for (int k = 0; k < r.n; k++) {
            if (want[k])
                compare_output(which, k, r.got[k], want[k], size[k], r.count[k], bound[b]);
            else
                ck_assert_msg(memcmp(r.got[k], plain.got[k], lmb_dtype_bytes(r.type[k]) * (size_t)r.count[k]) == 0,
                              "%s, case %s, output %d", op, any_case(which)->label, k);
            free(r.got[k]);
        }
    }
    for (int k = 0; k < plain.n; k++) {
        free(plain.got[k]);
        free(want[k]);
        free(size[k]);
    }
}

/* In all precisions. */
static void check_everywhere(const lmb_backend *const all[LMB_CUDA_PRECISIONS], int which)
{
    check_op(all, LMB_CUDA_BF16_MAPS, which, bounds, false);
    check_op(all + LMB_CUDA_BF16_MAPS, 1, which, bounds + LMB_CUDA_BF16_MAPS, true);
}
#endif
