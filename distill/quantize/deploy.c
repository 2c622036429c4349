/* distill/quantize/deploy.c - a .lmb run over a data set by core/edge itself. See lower.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/edge/lmb.h"
#include "distill/quantize/deploy_gpu.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/packed_file.h"

typedef struct job {
    const lmb_edge_model *model;
    const lmb_dataset *data;
    int threads, classes;
    float *logits;
    lmb_metrics *metrics; /* [threads] */
    lmb_error *err;       /* [threads] */
} job;

static lmb_status run_slice(job *j, int w, lmb_error *err)
{
    int64_t lo = j->data->n * w / j->threads, hi = j->data->n * (w + 1) / j->threads;
    void *arena = malloc(lmb_edge_arena_bytes(j->model));
    uint8_t *x = malloc(lmb_shape_bytes(&j->data->shape, LMB_U8) + 1);
    float *y = malloc(sizeof *y * (size_t)j->classes);
    lmb_status st = arena && x && y ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to run a model");

    for (int64_t i = lo; i < hi && st == LMB_OK; i++) {
        int32_t label = 0;
        st = j->data->read(j->data, i, x, &label, err);
        if (st == LMB_OK && lmb_edge_run(j->model, arena, x, y) != LMB_EDGE_OK)
            st = LMB_FAIL(err, LMB_E_FORMAT, "the model refuses to run");
        if (st != LMB_OK)
            break;
        int64_t label64 = label;
        lmb_metrics_add(&j->metrics[w], y, &label64, 1);
        if (j->logits)
            memcpy(j->logits + i * j->classes, y, sizeof *y * (size_t)j->classes);
    }
    free(arena);
    free(x);
    free(y);
    return st;
}

static void slice_task(void *ctx, int task, int worker)
{
    job *j = ctx;
    (void)worker;
    lmb_status st = run_slice(j, task, &j->err[task]);
    if (st != LMB_OK && j->err[task].status == LMB_OK)
        j->err[task].status = st;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static lmb_status measure(const lmb_edge_model *m, const lmb_dataset *data, int classes, lmb_deploy_figures *f,
                          lmb_error *err)
{
    enum { WARM = 50, RUNS = 501 };
    double t[RUNS];
    void *arena = malloc(lmb_edge_arena_bytes(m));
    uint8_t *x = malloc(lmb_shape_bytes(&data->shape, LMB_U8) + 1);
    float *y = malloc(sizeof *y * (size_t)classes);
    int32_t label;
    lmb_status st =
        arena && x && y ? data->read(data, 0, x, &label, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to run a model");

    for (int i = -WARM; i < RUNS && st == LMB_OK; i++) {
        double start = lmb_seconds();
        if (lmb_edge_run(m, arena, x, y) != LMB_EDGE_OK)
            st = LMB_FAIL(err, LMB_E_FORMAT, "the model refuses to run");
        if (i >= 0)
            t[i] = lmb_seconds() - start;
    }
    if (st == LMB_OK) {
        qsort(t, RUNS, sizeof *t, by_time);
        f->latency_us = 1e6 * t[RUNS / 2];
    }
    f->macs = (double)lmb_edge_macs(m);
    f->parameters = (double)lmb_edge_parameters(m);
    f->arena_bytes = (double)lmb_edge_arena_bytes(m);
    free(arena);
    free(x);
    free(y);
    return st;
}

static lmb_status run_all(job *j, lmb_metrics *out, lmb_error *err)
{
    lmb_pool *pool = NULL;
    lmb_status st = LMB_OK;

    j->metrics = calloc((size_t)j->threads, sizeof *j->metrics);
    j->err = calloc((size_t)j->threads, sizeof *j->err);
    if (!j->metrics || !j->err)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to evaluate");
    for (int w = 0; w < j->threads && st == LMB_OK; w++)
        st = lmb_metrics_init(&j->metrics[w], j->classes, err);
    if (st == LMB_OK)
        st = lmb_pool_create(j->threads, &pool, err);
    if (st == LMB_OK)
        lmb_pool_run(pool, j->threads, slice_task, j);
    for (int w = 0; w < j->threads && st == LMB_OK; w++) {
        if (j->err[w].status != LMB_OK)
            st = LMB_FAIL(err, j->err[w].status, "%s", j->err[w].msg);
        for (int64_t i = 0; i < (int64_t)j->classes * j->classes; i++)
            out->confusion[i] += j->metrics[w].confusion[i];
        out->n += j->metrics[w].n;
        out->loss_sum += j->metrics[w].loss_sum;
    }
    lmb_pool_destroy(pool);
    for (int w = 0; j->metrics && w < j->threads; w++)
        lmb_metrics_deinit(&j->metrics[w]);
    free(j->metrics);
    free(j->err);
    return st;
}

lmb_status lmb_deploy_bounded(const lmb_edge_model *m, lmb_error *err)
{
    const size_t most = (size_t)1 << 31, prepared = lmb_edge_prepare_bytes(m), arena = lmb_edge_arena_bytes(m);

    if (lmb_edge_work(m) > LMB_EDGE_WORK_MOST)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "one answer of the model takes %llu operations; at most %llu are run",
                        (unsigned long long)lmb_edge_work(m), (unsigned long long)LMB_EDGE_WORK_MOST);
    if (prepared > most || arena > most)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "the model takes %zu bytes for its weights and %zu to work in; at most %zu each are given", prepared,
                        arena, most);
    return LMB_OK;
}

/* Does the model take this data and give this many classes? */
static lmb_status check_fit(const lmb_edge_model *m, const lmb_dataset *data, int classes, lmb_error *err)
{
    lmb_edge_tensor in, out;
    lmb_edge_tensor_at(m, 0, &in);
    lmb_edge_tensor_at(m, m->n_ops, &out); /* op i writes tensor i + 1 */
    LMB_TRY(lmb_deploy_bounded(m, err));
    if (data->dtype != LMB_U8 || data->shape.n != 3 || in.c != data->shape.d[0] || in.h != data->shape.d[1] ||
        in.w != data->shape.d[2])
        return LMB_FAIL(err, LMB_E_SHAPE, "the model takes images of %u x %u x %u; the data has others", in.c, in.h,
                        in.w);
    if ((int64_t)out.h * out.w * out.c != classes || out.type != LMB_EDGE_F32)
        return LMB_FAIL(err, LMB_E_SHAPE, "the model gives %u numbers, the data has %d classes", out.h * out.w * out.c,
                        classes);
    return LMB_OK;
}

static lmb_status evaluate_plain(const void *file, size_t n, const lmb_dataset *data, const char *kernels, int threads,
                                 lmb_metrics *out, float *logits, lmb_deploy_figures *figures, lmb_error *err)
{
    lmb_edge_model m;
    char why[200] = "";

    if (lmb_edge_open(file, n, &m, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "the .lmb model can not be opened: %s", why);
    bool on_gpu = kernels && strcmp(kernels, LMB_DEPLOY_GPU) == 0;
    if (kernels && !on_gpu && lmb_edge_use(&m, kernels) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_ARG, "this machine has no kernels '%s' for .lmb models", kernels);
    LMB_TRY(check_fit(&m, data, out->classes, err));
    if (on_gpu)
        LMB_TRY(lmbi_deploy_gpu(&m, data, threads, out, logits, err));
    if (on_gpu && !figures)
        return LMB_OK;
    void *prepared = malloc(lmb_edge_prepare_bytes(&m));
    if (!prepared)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to load a model");
    lmb_edge_prepare(&m, prepared);
    job j = {
        .model = &m, .data = data, .threads = threads < 1 ? 1 : threads, .classes = out->classes, .logits = logits
    };
    lmb_status st = on_gpu ? LMB_OK : run_all(&j, out, err);
    if (st == LMB_OK && figures)
        st = measure(&m, data, out->classes, figures, err);
    free(prepared);
    return st;
}

lmb_status lmb_deploy_evaluate(const void *file, size_t n, const lmb_dataset *data, const char *kernels, int threads,
                               lmb_metrics *out, float *logits, lmb_deploy_figures *figures, lmb_error *err)
{
    size_t bytes = n;
    void *plain;

    LMB_TRY(lmb_packed_open(file, n, &plain, &bytes, err));
    lmb_status st = evaluate_plain(plain ? plain : file, bytes, data, kernels, threads, out, logits, figures, err);
    if (st == LMB_OK && figures)
        figures->bytes = (double)n;
    free(plain);
    return st;
}

const char *lmb_deploy_kernels(const char *kernels, const char *backend)
{
    return !kernels && strcmp(backend, "cuda") == 0 ? LMB_DEPLOY_GPU : kernels;
}
