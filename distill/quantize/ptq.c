/* distill/quantize/ptq.c - see ptq.h. */
#include "distill/quantize/ptq.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/config.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "core/passes/rewrite.h"
#include "core/plan/plan.h"
#include "datasets/split.h"
#include "core/passes/fold.h"
#include "distill/quantize/observer.h"
#include "distill/quantize/qat.h"

enum { BATCH = 32 };

/* One observed activation: its value in the float graph, its range's places in the graph that is to be calibrated. */
typedef struct point { lmb_vid x, lo, hi; float widest[2]; } point;

/* One thread: a plan of its own, and what its batch showed. */
typedef struct worker { lmb_plan *plan; float *x; uint8_t *raw; char *seen; float *range; lmb_error err; } worker;

typedef struct calibration {
    const lmb_dataset *data;
    const lmb_observer *observer;
    void *config;
    lmb_graph *g; /* float, batch BATCH */
    point *point;
    int n_points;
    uint32_t *order; /* the images, first `n` of a permutation */
    int64_t n, numbers;
    size_t bytes;    /* of an observer's memory, rounded up   */
    worker *worker;
    int threads;
    char *memory;    /* [points][bytes] merged                */
    int64_t wave;    /* first batch of the wave under way     */
    bool widest;     /* the pass that only finds the widest ranges */
} calibration;

/* ---- the graph without its FakeQuants ---- */

static lmb_status bridge_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done, lmb_error *err)
{
    calibration *c = r->ctx;
    const char *op = n->op->name;

    (void)err;
    *done = true;
    if (strcmp(op, "FakeQuant") == 0)
        out[0] = in[0];
    else if (strcmp(op, "ObserveRange") == 0) {
        c->point[c->n_points++] = (point){ in[0], n->in[1], n->in[2], { 0, 0 } };
        out[0] = out[1] = LMB_NONE;
    } else if (strcmp(op, "RangeToScale") == 0)
        out[0] = out[1] = LMB_NONE;
    else if (strcmp(op, "WeightScale") == 0)
        out[0] = LMB_NONE;
    else
        *done = false;
    return LMB_OK;
}

static lmb_status drop_observer(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    if (r->old->value[v].role == LMB_ROLE_OBSERVER) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

static lmb_status bridge(calibration *c, const lmb_graph *qat, lmb_error *err)
{
    lmb_rewrite r = { .node = bridge_node, .value = drop_observer, .ctx = c, .batch = BATCH };
    char name[40];

    c->point = malloc(sizeof *c->point * ((size_t)qat->n_nodes + 1));
    if (!c->point)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate");
    LMB_TRY(lmb_rewrite_run(&r, qat, &c->g, NULL, err));
    if (lmb_graph_input(c->g, 0) == LMB_NONE || lmb_shape_count(&c->g->value[lmb_graph_input(c->g, 0)].shape) != BATCH * c->numbers) {
        char a[LMB_SHAPE_TEXT];
        return LMB_FAIL(err, LMB_E_SHAPE, "the model does not take samples %s, which the data has", lmb_shape_text(&c->data->shape, a, sizeof a));
    }
    for (int k = 0; k < c->n_points; k++) {
        snprintf(name, sizeof name, "observed.%d", k);
        LMB_TRY(lmb_graph_output_add(c->g, name, c->point[k].x, err));
    }
    return LMB_OK;
}

/* ---- one batch ---- */

static lmb_status read_batch(calibration *c, worker *w, int64_t first, int64_t n, lmb_error *err)
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

static lmb_status see_batch(calibration *c, worker *w, int64_t batch, lmb_error *err)
{
    int64_t first = batch * BATCH, n = c->n - first < BATCH ? c->n - first : BATCH;

    LMB_TRY(read_batch(c, w, first, n, err));
    LMB_TRY(lmb_plan_run(w->plan, NULL, err));
    memset(w->seen, 0, c->bytes * (size_t)c->n_points);
    for (int k = 0; k < c->n_points; k++) { /* rows behind the n-th are left from another batch */
        point *p = &c->point[k];
        const float *x = lmb_plan_data(w->plan, p->x);
        int64_t numbers = lmb_shape_count(&c->g->value[p->x].shape) / BATCH * n;
        if (!all_finite(x, numbers))
            return LMB_FAIL(err, LMB_E_NUMERIC, "%s: not finite for an image of the calibration set", c->g->value[p->x].name);
        if (c->widest)
            lmb_observed_range(x, numbers, &w->range[2 * k], &w->range[2 * k + 1]);
        else
            c->observer->see(c->config, w->seen + (size_t)k * c->bytes, x, numbers, p->widest[0], p->widest[1]);
    }
    return LMB_OK;
}

static void task(void *ctx, int t, int unused)
{
    calibration *c = ctx;
    worker *w = &c->worker[t];
    (void)unused;
    if (w->err.status == LMB_OK && (c->wave + t) * BATCH < c->n && see_batch(c, w, c->wave + t, &w->err) != LMB_OK)
        w->err.status = w->err.status == LMB_OK ? LMB_E_NOMEM : w->err.status;
}

static void merge(calibration *c, const worker *w, bool first)
{
    for (int k = 0; k < c->n_points; k++) {
        point *p = &c->point[k];
        if (!c->widest) {
            c->observer->merge(c->config, c->memory + (size_t)k * c->bytes, w->seen + (size_t)k * c->bytes);
            continue;
        }
        p->widest[0] = first ? w->range[2 * k] : fminf(p->widest[0], w->range[2 * k]);
        p->widest[1] = first ? w->range[2 * k + 1] : fmaxf(p->widest[1], w->range[2 * k + 1]);
    }
}

/* All batches, as many at once as there are threads, merged in their order. */
static lmb_status pass(calibration *c, lmb_pool *pool, bool widest, lmb_error *err)
{
    c->widest = widest;
    for (c->wave = 0; c->wave * BATCH < c->n; c->wave += c->threads) {
        lmb_pool_run(pool, c->threads, task, c);
        for (int t = 0; t < c->threads; t++) {
            if (c->worker[t].err.status != LMB_OK)
                return LMB_FAIL(err, c->worker[t].err.status, "%s", c->worker[t].err.msg);
            if ((c->wave + t) * BATCH < c->n)
                merge(c, &c->worker[t], c->wave + t == 0);
        }
    }
    return LMB_OK;
}

/* ---- setting up ---- */

static lmb_status unknown_observer(const lmb_tree *tree, const char *name, lmb_error *err)
{
    enum { MOST = 32 };
    const char *names[MOST];
    int n = 0;

    for (; lmb_observers[n] && n < MOST - 1; n++)
        names[n] = lmb_observers[n]->name;
    names[n] = NULL;
    const char *near = lmb_nearest(name, names);
    return lmb_tree_fail(tree, err, LMB_E_ARG, "there is no observer '%s'%s%s%s", name, near ? "; did you mean " : "", near ? near : "",
                         near ? "?" : "; `limbeck quantize --help` lists them");
}

static lmb_status pick_observer(calibration *c, const lmb_tree *tree, lmb_error *err)
{
    const char *name = "minmax";

    if (tree)
        LMB_TRY(lmb_tree_name(tree, &name, err));
    c->observer = lmb_observer_find(name);
    if (!c->observer)
        return unknown_observer(tree, name, err);
    c->bytes = (c->observer->bytes + 15) / 16 * 16;
    c->config = calloc(1, c->observer->config_size + 1);
    if (!c->config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an observer");
    return lmb_fields_bind(c->observer->fields, tree, c->config, err);
}

static lmb_status choose_images(calibration *c, const lmb_ptq_config *config, lmb_error *err)
{
    if (config->calibration < 1 || config->calibration > c->data->n)
        return LMB_FAIL(err, LMB_E_ARG, "calibration with %lld images; the training part has %lld", (long long)config->calibration,
                        (long long)c->data->n);
    c->n = config->calibration;
    c->numbers = lmb_shape_count(&c->data->shape);
    c->order = malloc(sizeof *c->order * (size_t)c->data->n);
    if (!c->order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose %lld images", (long long)c->n);
    lmb_split(config->seed, (uint32_t)c->data->n, c->order);
    return LMB_OK;
}

static lmb_status make_workers(calibration *c, const lmb_ptq_config *config, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_plan_options o = { .backends = backends };
    int64_t batches = (c->n + BATCH - 1) / BATCH;
    size_t points = (size_t)c->n_points + 1;

    LMB_TRY(lmb_cpu_backends(config->backend, backends, err));
    c->threads = config->threads > 0 ? config->threads : lmb_cpu_count();
    c->threads = c->threads > batches ? (int)batches : c->threads;
    c->memory = calloc(points, c->bytes);
    c->worker = calloc((size_t)c->threads, sizeof *c->worker);
    bool ok = c->memory && c->worker;
    for (int t = 0; ok && t < c->threads; t++) {
        worker *w = &c->worker[t];
        w->x = calloc((size_t)(BATCH * c->numbers), sizeof *w->x);
        w->raw = malloc((size_t)c->numbers);
        w->seen = calloc(points, c->bytes);
        w->range = calloc(points, 2 * sizeof *w->range);
        ok = w->x && w->raw && w->seen && w->range;
        if (ok) {
            LMB_TRY(lmb_plan_compile(c->g, &o, &w->plan, err));
            LMB_TRY(lmb_plan_bind(w->plan, lmb_graph_input(c->g, 0), w->x, err));
        }
    }
    return ok ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate on %d threads", c->threads);
}

static void release(calibration *c)
{
    for (int t = 0; c->worker && t < c->threads; t++) {
        lmb_plan_destroy(c->worker[t].plan);
        free(c->worker[t].x);
        free(c->worker[t].raw);
        free(c->worker[t].seen);
        free(c->worker[t].range);
    }
    free(c->worker);
    lmb_graph_destroy(c->g);
    free(c->memory);
    free(c->point);
    free(c->order);
    free(c->config);
}

/* Ranges into the stored content of the observers. */
static lmb_status put_ranges(const calibration *c, lmb_graph *qat, lmb_error *err)
{
    lmb_state_layout *l = NULL;
    float *state = NULL, lo, hi;
    lmb_status st = lmb_state_layout_create(qat, &l, err);

    if (st == LMB_OK && !(state = malloc(sizeof *state * (l->count + 1))))
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu numbers", l->count);
    if (st == LMB_OK) {
        lmb_state_from_graph(l, qat, state);
        for (int k = 0; k < c->n_points; k++) {
            const point *p = &c->point[k];
            c->observer->range(c->config, c->memory + (size_t)k * c->bytes, p->widest[0], p->widest[1], &lo, &hi);
            state[lmb_state_find(l, qat->value[p->lo].name)->offset] = lo;
            state[lmb_state_find(l, qat->value[p->hi].name)->offset] = hi;
        }
        st = lmb_state_to_graph(l, state, qat, err);
    }
    free(state);
    lmb_state_layout_destroy(l);
    return st;
}

lmb_status lmb_ptq_observe(lmb_graph *qat, const lmb_ptq_config *config, const lmb_dataset *train, lmb_error *err)
{
    calibration c = { .data = train };
    lmb_pool *pool = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, pick_observer(&c, config->observer, err));
    LMB_TRY_GOTO(st, done, choose_images(&c, config, err));
    LMB_TRY_GOTO(st, done, bridge(&c, qat, err));
    LMB_TRY_GOTO(st, done, make_workers(&c, config, err));
    LMB_TRY_GOTO(st, done, lmb_pool_create(c.threads, &pool, err));
    if (c.observer->needs_range)
        LMB_TRY_GOTO(st, done, pass(&c, pool, true, err));
    LMB_TRY_GOTO(st, done, pass(&c, pool, false, err));
    LMB_TRY_GOTO(st, done, put_ranges(&c, qat, err));
done:
    lmb_pool_destroy(pool);
    release(&c);
    return st;
}

lmb_status lmb_ptq(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train, lmb_graph **out, lmb_error *err)
{
    lmb_graph *folded = NULL, *qat = NULL;
    lmb_qat_config q;
    lmb_status st;

    lmb_fields_default(lmb_qat_fields, &q);
    LMB_TRY_GOTO(st, done, lmb_pass_fold(model, &folded, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qat(folded, &q, &qat, err));
    LMB_TRY_GOTO(st, done, lmb_ptq_observe(qat, c, train, err));
    st = lmb_pass_qat_freeze(qat, out, err);
done:
    lmb_graph_destroy(folded);
    lmb_graph_destroy(qat);
    return st;
}
