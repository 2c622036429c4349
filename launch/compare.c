/* launch/compare.c - see compare.h. */
#include "launch/compare.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "train/predictor.h"

enum { BATCH = 100, MAX_THREADS = 64 };

typedef struct slice { lmb_metrics m[2]; int64_t flips; lmb_error err; } slice;

typedef struct comparison {
    const lmb_graph *model[2];
    const lmb_dataset *data;
    const lmb_backend *backends[3];
    slice *slice;
    int slices;
} comparison;

static lmb_status read_batch(const lmb_dataset *d, int64_t first, int64_t n, uint8_t *raw, float *x, int64_t *y,
                             lmb_error *err)
{
    int64_t numbers = lmb_shape_count(&d->shape);
    bool f32 = d->dtype == LMB_F32;
    int32_t label;

    for (int64_t i = 0; i < n; i++) {
        LMB_TRY(d->read(d, first + i, f32 ? (void *)(x + i * numbers) : raw, &label, err));
        for (int64_t k = 0; !f32 && k < numbers; k++)
            x[i * numbers + k] = raw[k];
        y[i] = label;
    }
    return LMB_OK;
}

static lmb_status run_slice(comparison *c, int which, lmb_predictor *p[2], uint8_t *raw, float *x, lmb_error *err)
{
    slice *s = &c->slice[which];
    int64_t end = c->data->n * (which + 1) / c->slices, y[BATCH];
    const float *logits[2];

    for (int64_t at = c->data->n * which / c->slices; at < end; at += BATCH) {
        int64_t n = end - at < BATCH ? end - at : BATCH;
        LMB_TRY(read_batch(c->data, at, n, raw, x, y, err));
        for (int k = 0; k < 2; k++) {
            LMB_TRY(lmb_predictor_run(p[k], x, n, &logits[k], err));
            lmb_metrics_add(&s->m[k], logits[k], y, n);
        }
        int classes = c->data->classes;
        for (int64_t i = 0; i < n; i++)
            s->flips += lmb_argmax(logits[0] + i * classes, classes) != lmb_argmax(logits[1] + i * classes, classes);
    }
    return LMB_OK;
}

static lmb_status open_and_run(comparison *c, int which, lmb_error *err)
{
    int64_t numbers = lmb_shape_count(&c->data->shape);
    float *x = malloc(sizeof *x * (size_t)(BATCH * numbers));
    uint8_t *raw = malloc((size_t)numbers + 1);
    lmb_predictor *p[2] = { NULL, NULL };
    lmb_status st = x && raw ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare two models");

    for (int k = 0; k < 2 && st == LMB_OK; k++)
        st = lmb_predictor_create(c->model[k], NULL, c->backends, BATCH, &p[k], err);
    if (st == LMB_OK)
        st = run_slice(c, which, p, raw, x, err);
    lmb_predictor_destroy(p[0]);
    lmb_predictor_destroy(p[1]);
    free(x);
    free(raw);
    return st;
}

static void task(void *ctx, int which, int worker)
{
    comparison *c = ctx;
    (void)worker;
    if (open_and_run(c, which, &c->slice[which].err) != LMB_OK && c->slice[which].err.status == LMB_OK)
        c->slice[which].err.status = LMB_E_NOMEM;
}

static lmb_status check(const lmb_graph *g, const lmb_dataset *d, lmb_error *err)
{
    const lmb_value *x = &g->value[lmb_graph_input(g, 0)], *y = &g->value[g->output[0].value];
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];

    if (y->shape.n != 2 || y->shape.d[1] != d->classes)
        return LMB_FAIL(err, LMB_E_SHAPE, "the model answers %s, the data has %d classes",
                        lmb_shape_text(&y->shape, a, sizeof a), d->classes);
    if (x->shape.n < 1 || x->shape.d[0] < 1 || lmb_shape_count(&x->shape) / x->shape.d[0] != lmb_shape_count(&d->shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "the model takes %s, the data has samples %s",
                        lmb_shape_text(&x->shape, a, sizeof a), lmb_shape_text(&d->shape, b, sizeof b));
    return LMB_OK;
}

lmb_status lmb_compare(const lmb_graph *before, const lmb_graph *after, const lmb_dataset *data, const char *backend,
                       int threads, lmb_metrics *metrics, int64_t *flips, lmb_error *err)
{
    comparison c = { .model = { before, after },
                     .data = data,
                     .slices = threads < 1             ? 1
                               : threads > MAX_THREADS ? MAX_THREADS
                                                       : threads };
    lmb_pool *pool = NULL;

    LMB_TRY(check(before, data, err));
    LMB_TRY(check(after, data, err));
    LMB_TRY(lmb_cpu_backends(backend, c.backends, err));
    c.slice = calloc((size_t)c.slices, sizeof *c.slice);
    lmb_status st = c.slice ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare two models");
    for (int i = 0; i < 2 * c.slices && st == LMB_OK; i++)
        st = lmb_metrics_init(&c.slice[i / 2].m[i % 2], data->classes, err);
    if (st == LMB_OK)
        st = lmb_pool_create(c.slices, &pool, err);
    if (st == LMB_OK)
        lmb_pool_run(pool, c.slices, task, &c);
    *flips = 0;
    for (int i = 0; i < c.slices && st == LMB_OK; i++) {
        slice *s = &c.slice[i];
        if (s->err.status != LMB_OK)
            st = LMB_FAIL(err, s->err.status, "%s", s->err.msg);
        *flips += s->flips;
        for (int k = 0; k < 2; k++) {
            for (int64_t j = 0; j < (int64_t)data->classes * data->classes; j++)
                metrics[k].confusion[j] += s->m[k].confusion[j];
            metrics[k].n += s->m[k].n;
            metrics[k].loss_sum += s->m[k].loss_sum;
        }
    }
    lmb_pool_destroy(pool);
    for (int i = 0; c.slice && i < 2 * c.slices; i++)
        lmb_metrics_deinit(&c.slice[i / 2].m[i % 2]);
    free(c.slice);
    return st;
}

lmb_status lmb_compare_print(const char *title, const lmb_graph *before, const lmb_graph *after,
                             const lmb_dataset *data, const char *backend, lmb_error *err)
{
    lmb_metrics m[2];
    int64_t flips = 0;

    LMB_TRY(lmb_metrics_init(&m[0], data->classes, err));
    lmb_status st = lmb_metrics_init(&m[1], data->classes, err);
    if (st == LMB_OK) {
        st = lmb_compare(before, after, data, backend, lmb_cpu_count(), m, &flips, err);
        if (st == LMB_OK)
            printf("%s: test accuracy %.2f %% before, %.2f %% after; %lld of %lld answers differ\n", title,
                   100 * lmb_metrics_accuracy(&m[0]), 100 * lmb_metrics_accuracy(&m[1]), (long long)flips,
                   (long long)data->n);
        lmb_metrics_deinit(&m[1]);
    }
    lmb_metrics_deinit(&m[0]);
    return st;
}
