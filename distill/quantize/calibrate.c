/* distill/quantize/calibrate.c - see calibrate.h. */
#include "distill/quantize/calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/plan/plan.h"
#include "datasets/split.h"

enum { BATCH = LMB_CALIBRATION_BATCH };

/* One thread: a plan of its own, and what its batch showed. */
typedef struct worker {
    lmb_plan *plan;
    float *x;
    uint8_t *raw;
    char *seen;
    lmb_error err;
} worker;

struct lmb_calibration {
    const lmb_dataset *data;
    lmb_graph *g;
    lmb_vid *point;
    int n_points;
    uint32_t *order; /* the images, first `n` of a permutation */
    int64_t n, numbers;
    worker *worker;
    int threads;
    lmb_pool *pool;
    const lmb_look *look; /* of the pass under way             */
    int64_t wave;         /* first batch of the wave under way */
};

static size_t stride(const lmb_look *look) { return (look->bytes + 15) / 16 * 16; }
void *lmb_calibration_at(void *merged, const lmb_look *look, int k)
{
    return (char *)merged + (size_t)k * stride(look);
}

/* ---- one batch ---- */

static lmb_status read_batch(const lmb_calibration *c, worker *w, int64_t first, int64_t n, lmb_error *err)
{
    bool f32 = c->data->dtype == LMB_F32;
    int32_t label;

    for (int64_t i = 0; i < n; i++) {
        float *x = w->x + i * c->numbers;
        LMB_TRY(c->data->read(c->data, c->order[first + i], f32 ? (void *)x : w->raw, &label, err));
        for (int64_t k = 0; !f32 && k < c->numbers; k++)
            x[k] = w->raw[k];
    }
    return LMB_OK;
}

LMB_HOT static bool all_finite(const float *x, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * 0.0f;
    return sum == 0.0f;
}

static lmb_status see_batch(const lmb_calibration *c, worker *w, int64_t batch, lmb_error *err)
{
    int64_t first = batch * BATCH, n = c->n - first < BATCH ? c->n - first : BATCH;

    LMB_TRY(read_batch(c, w, first, n, err));
    LMB_TRY(lmb_plan_run(w->plan, NULL, err));
    memset(w->seen, 0, stride(c->look) * (size_t)c->n_points);
    for (int k = 0; k < c->n_points; k++) { /* rows behind the n-th are left from another batch */
        const lmb_value *v = &c->g->value[c->point[k]];
        const float *x = lmb_plan_data(w->plan, c->point[k]);
        if (!all_finite(x, lmb_shape_count(&v->shape) / BATCH * n))
            return LMB_FAIL(err, LMB_E_NUMERIC, "%s: not finite for an image of the calibration set", v->name);
        c->look->see(c->look->ctx, k, lmb_calibration_at(w->seen, c->look, k), x, &v->shape, n);
    }
    return LMB_OK;
}

static void task(void *ctx, int t, int unused)
{
    lmb_calibration *c = ctx;
    worker *w = &c->worker[t];
    (void)unused;
    if (w->err.status == LMB_OK && (c->wave + t) * BATCH < c->n && see_batch(c, w, c->wave + t, &w->err) != LMB_OK)
        w->err.status = w->err.status == LMB_OK ? LMB_E_NOMEM : w->err.status;
}

/* All batches, as many at once as there are threads, merged in their order. */
static lmb_status run_waves(lmb_calibration *c, void *merged, lmb_error *err)
{
    for (c->wave = 0; c->wave * BATCH < c->n; c->wave += c->threads) {
        lmb_pool_run(c->pool, c->threads, task, c);
        for (int t = 0; t < c->threads; t++) {
            worker *w = &c->worker[t];
            if (w->err.status != LMB_OK)
                return LMB_FAIL(err, w->err.status, "%s", w->err.msg);
            for (int k = 0; k < c->n_points && (c->wave + t) * BATCH < c->n; k++)
                c->look->merge(c->look->ctx, k, lmb_calibration_at(merged, c->look, k),
                               lmb_calibration_at(w->seen, c->look, k));
        }
    }
    return LMB_OK;
}

lmb_status lmb_calibration_pass(lmb_calibration *c, const lmb_look *look, void **merged, lmb_error *err)
{
    size_t bytes = stride(look) * ((size_t)c->n_points + 1);
    void *all = calloc(1, bytes);
    bool ok = all != NULL;

    c->look = look;
    for (int t = 0; t < c->threads; t++) {
        free(c->worker[t].seen);
        c->worker[t].seen = malloc(bytes);
        ok = ok && c->worker[t].seen;
    }
    lmb_status st =
        ok ? run_waves(c, all, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate on %d threads", c->threads);
    if (st == LMB_OK)
        *merged = all;
    else
        free(all);
    return st;
}

/* ---- setting up ---- */

lmb_status lmb_calibration_check(const lmb_ptq_config *config, const lmb_dataset *train, lmb_error *err)
{
    if (config->calibration < 1 || config->calibration > train->n)
        return LMB_FAIL(err, LMB_E_ARG, "calibration with %lld images; the training part has %lld, so give 1 to %lld",
                        (long long)config->calibration, (long long)train->n, (long long)train->n);
    return LMB_OK;
}

static lmb_status choose_images(lmb_calibration *c, const lmb_ptq_config *config, lmb_error *err)
{
    LMB_TRY(lmb_calibration_check(config, c->data, err));
    c->n = config->calibration;
    c->numbers = lmb_shape_count(&c->data->shape);
    c->order = malloc(sizeof *c->order * (size_t)c->data->n);
    if (!c->order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose %lld images", (long long)c->n);
    lmb_split(config->seed, (uint32_t)c->data->n, c->order);
    return LMB_OK;
}

static lmb_status take_points(lmb_calibration *c, const lmb_vid *point, int n, lmb_error *err)
{
    lmb_vid x = lmb_graph_input(c->g, 0);
    char name[40];

    if (x == LMB_NONE || lmb_shape_count(&c->g->value[x].shape) != BATCH * c->numbers) {
        char a[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "the model does not take samples %s, which the data has",
                        lmb_shape_text(&c->data->shape, a, sizeof a));
    }
    c->point = malloc(sizeof *c->point * ((size_t)n + 1));
    if (!c->point)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate");
    memcpy(c->point, point, sizeof *point * (size_t)n);
    c->n_points = n;
    for (int k = 0; k < n; k++) {
        snprintf(name, sizeof name, "observed.%d", k);
        LMB_TRY(lmb_graph_output_add(c->g, name, point[k], err));
    }
    return LMB_OK;
}

static lmb_status make_workers(lmb_calibration *c, const lmb_ptq_config *config, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_plan_options o = { .backends = backends };
    int64_t batches = (c->n + BATCH - 1) / BATCH;

    LMB_TRY(lmb_cpu_backends(config->backend, backends, err));
    c->threads = config->threads > 0 ? config->threads : lmb_cpu_count();
    c->threads = c->threads > batches ? (int)batches : c->threads;
    c->worker = calloc((size_t)c->threads, sizeof *c->worker);
    bool ok = c->worker != NULL;
    for (int t = 0; ok && t < c->threads; t++) {
        worker *w = &c->worker[t];
        w->x = calloc((size_t)(BATCH * c->numbers), sizeof *w->x);
        w->raw = malloc((size_t)c->numbers);
        ok = w->x && w->raw;
        if (ok) {
            LMB_TRY(lmb_plan_compile(c->g, &o, &w->plan, err));
            LMB_TRY(lmb_plan_bind(w->plan, lmb_graph_input(c->g, 0), w->x, err));
        }
    }
    return ok ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate on %d threads", c->threads);
}

void lmb_calibration_destroy(lmb_calibration *c)
{
    if (!c)
        return;
    for (int t = 0; c->worker && t < c->threads; t++) {
        lmb_plan_destroy(c->worker[t].plan);
        free(c->worker[t].x);
        free(c->worker[t].raw);
        free(c->worker[t].seen);
    }
    lmb_pool_destroy(c->pool);
    free(c->worker);
    free(c->point);
    free(c->order);
    free(c);
}

lmb_status lmb_calibration_create(lmb_graph *g, const lmb_vid *point, int n_points, const lmb_ptq_config *config,
                                  const lmb_dataset *train, lmb_calibration **out, lmb_error *err)
{
    lmb_calibration *c = calloc(1, sizeof *c);
    lmb_status st;

    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate");
    c->data = train;
    c->g = g;
    LMB_TRY_GOTO(st, failed, choose_images(c, config, err));
    LMB_TRY_GOTO(st, failed, take_points(c, point, n_points, err));
    LMB_TRY_GOTO(st, failed, make_workers(c, config, err));
    LMB_TRY_GOTO(st, failed, lmb_pool_create(c->threads, &c->pool, err));
    *out = c;
    return LMB_OK;
failed:
    lmb_calibration_destroy(c);
    return st;
}
