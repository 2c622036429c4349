/* train/evaluate.c - how good are these weights on that data, on all threads. See trainer.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "train/predictor.h"
#include "train/trainer.h"

enum { BATCH = 100 };

typedef struct job {
    const lmb_graph *model;
    const float *state;
    const lmb_dataset *data;
    const lmb_backend **backends;
    lmb_metrics *metrics; /* [threads] */
    lmb_error *err;       /* [threads] */
    int threads;
    bool *right; /* [samples], or NULL */
} job;

static lmb_status evaluate_slice(job *j, int w, lmb_error *err)
{
    int64_t lo = j->data->n * w / j->threads, hi = j->data->n * (w + 1) / j->threads,
            numbers = lmb_shape_count(&j->data->shape);
    lmb_predictor *p = NULL;
    float *x = malloc(sizeof *x * (size_t)(BATCH * numbers));
    uint8_t *raw = malloc((size_t)numbers * 4);
    int64_t y[BATCH];
    lmb_status st = x && raw ? lmb_predictor_create(j->model, j->state, j->backends, BATCH, &p, err)
                             : LMB_FAIL(err, LMB_E_NOMEM, "no memory to evaluate");

    for (int64_t at = lo; at < hi && st == LMB_OK; at += BATCH) {
        int64_t n = hi - at < BATCH ? hi - at : BATCH;
        const float *logits;
        for (int64_t i = 0; i < n && st == LMB_OK; i++) {
            int32_t label = 0;
            bool f32 = j->data->dtype == LMB_F32;
            st = j->data->read(j->data, at + i, f32 ? (void *)(x + i * numbers) : raw, &label, err);
            for (int64_t k = 0; !f32 && k < numbers; k++)
                x[i * numbers + k] = raw[k];
            y[i] = label;
        }
        if (st == LMB_OK)
            st = lmb_predictor_run(p, x, n, &logits, err);
        if (st == LMB_OK)
            lmb_metrics_add(&j->metrics[w], logits, y, n);
        for (int64_t i = 0; i < n && st == LMB_OK && j->right; i++)
            j->right[at + i] = lmb_argmax(logits + i * j->metrics[w].classes, j->metrics[w].classes) == y[i];
    }
    lmb_predictor_destroy(p);
    free(x);
    free(raw);
    return st;
}

static void slice_task(void *ctx, int task, int worker)
{
    job *j = ctx;
    (void)worker;
    lmb_status st = evaluate_slice(j, task, &j->err[task]);
    if (st != LMB_OK && j->err[task].status == LMB_OK)
        j->err[task].status = st;
}

lmb_status lmb_evaluate_check(const lmb_graph *model, const lmb_dataset *data, const lmb_metrics *out, lmb_error *err)
{
    const lmb_value *y = &model->value[model->output[0].value];
    const lmb_value *x = &model->value[lmb_graph_input(model, 0)];

    if (y->shape.n != 2 || y->shape.d[1] != out->classes)
        return LMB_FAIL(err, LMB_E_SHAPE, "the model has %lld outputs, the data %d classes",
                        (long long)(y->shape.n == 2 ? y->shape.d[1] : 0), out->classes);
    if (lmb_shape_count(&x->shape) / (x->shape.d[0] ? x->shape.d[0] : 1) != lmb_shape_count(&data->shape)) {
        char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "the model takes %s, the data has samples %s",
                        lmb_shape_text(&x->shape, a, sizeof a), lmb_shape_text(&data->shape, b, sizeof b));
    }
    return LMB_OK;
}

lmb_status lmb_evaluate(const lmb_graph *model, const float *state, const lmb_dataset *data, const char *backend,
                        int threads, lmb_metrics *out, lmb_error *err)
{
    return lmb_evaluate_each(model, state, data, backend, threads, out, NULL, err);
}

lmb_status lmb_evaluate_each(const lmb_graph *model, const float *state, const lmb_dataset *data, const char *backend,
                             int threads, lmb_metrics *out, bool *right, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_pool *pool = NULL;
    job j = { model, state, data, backends, NULL, NULL, threads < 1 ? 1 : threads, right };

    LMB_TRY(lmb_evaluate_check(model, data, out, err));
    LMB_TRY(lmb_cpu_backends(backend, backends, err));
    j.metrics = calloc((size_t)j.threads, sizeof *j.metrics);
    j.err = calloc((size_t)j.threads, sizeof *j.err);
    lmb_status st = j.metrics && j.err ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to evaluate");
    for (int w = 0; w < j.threads && st == LMB_OK; w++)
        st = lmb_metrics_init(&j.metrics[w], out->classes, err);
    if (st == LMB_OK)
        st = lmb_pool_create(j.threads, &pool, err);
    if (st == LMB_OK)
        lmb_pool_run(pool, j.threads, slice_task, &j);
    for (int w = 0; w < j.threads && st == LMB_OK; w++) {
        if (j.err[w].status != LMB_OK)
            st = LMB_FAIL(err, j.err[w].status, "%s", j.err[w].msg);
        for (int64_t i = 0; i < (int64_t)out->classes * out->classes; i++)
            out->confusion[i] += j.metrics[w].confusion[i];
        out->n += j.metrics[w].n;
        out->loss_sum += j.metrics[w].loss_sum;
    }
    lmb_pool_destroy(pool);
    for (int w = 0; j.metrics && w < j.threads; w++)
        lmb_metrics_deinit(&j.metrics[w]);
    free(j.metrics);
    free(j.err);
    return st;
}
