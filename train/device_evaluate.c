/* train/device_evaluate.c - see device_evaluate.h. */
#include "train/device_evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "core/passes/fold.h"
#include "core/passes/rewrite.h"
#include "core/plan/device_step.h"
#include "core/plan/plan.h"
#include "datasets/loader.h"
#include "train/device_wait.h"
#include "train/program.h"

enum { MOST_ROWS = 512, SAMPLES_BYTES = 8 << 20 }; /* of a batch that is chosen here */

struct lmbi_evaluator {
    lmb_device *d;
    lmb_graph *g;
    lmb_plan *plan;
    lmb_state_layout *own; /* of g's weights                              */
    size_t *at;            /* [own segments] where each lies in the vector */
    const float *bound;
    lmb_shape sample;
    bool pictures; /* samples come as bytes */
    int64_t rows, numbers;
    size_t sample_bytes;
    int classes;
    char *memory, *pinned; /* there: x, what it is made of, logits; here: samples, logits */
    float *x, *logits, *answers;
    char *samples, *staged;
    lmb_device_mark *end; /* of a batch */
    double limit_s;
};

void lmbi_evaluator_destroy(lmbi_evaluator *e)
{
    if (!e)
        return;
    lmb_plan_destroy(e->plan);
    lmb_state_layout_destroy(e->own);
    lmb_graph_destroy(e->g);
    if (e->end)
        e->d->mark_destroy(e->d, e->end);
    if (e->memory)
        e->d->free(e->d, e->memory);
    if (e->pinned)
        e->d->unpin(e->d, e->pinned);
    free(e->at);
    free(e);
}

static size_t place(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += (bytes + 255) / 256 * 256;
    return at;
}

static lmb_status make_memory(lmbi_evaluator *e, lmb_error *err)
{
    size_t there = 0, here = 0, numbers = (size_t)(e->rows * e->numbers), out = (size_t)(e->rows * e->classes);
    size_t x = place(&there, numbers * sizeof(float)), logits = place(&there, out * sizeof(float)),
           samples = place(&there, e->pictures ? numbers : 0);
    size_t answers = place(&here, out * sizeof(float)), staged = place(&here, (size_t)e->rows * e->sample_bytes);

    LMB_TRY(e->d->mark_create(e->d, &e->end, err));
    LMB_TRY(e->d->alloc(e->d, there, (void **)&e->memory, err));
    LMB_TRY(e->d->pin(e->d, here, (void **)&e->pinned, err));
    memset(e->pinned, 0, here); /* rows of a short batch that nobody fills */
    e->x = (float *)(e->memory + x);
    e->logits = (float *)(e->memory + logits);
    e->samples = e->pictures ? e->memory + samples : (char *)e->x;
    e->answers = (float *)(e->pinned + answers);
    e->staged = e->pinned + staged;
    LMB_TRY(lmb_plan_bind_there(e->plan, lmb_graph_input(e->g, 0), e->x, err));
    return lmb_plan_bind_there(e->plan, e->g->output[0].value, e->logits, err);
}

/* Which segment of the vector each weight of the inference form is. */
static lmb_status find_weights(lmbi_evaluator *e, const lmb_state_layout *l, const size_t *at, lmb_error *err)
{
    LMB_TRY(lmb_state_layout_create(e->g, &e->own, err));
    e->at = calloc((size_t)e->own->n + 1, sizeof *e->at);
    if (!e->at)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d weights", e->own->n);
    for (int i = 0; i < e->own->n; i++) {
        const lmb_segment *s = &e->own->segment[i];
        int k = 0;
        while (k < l->n && (strcmp(l->segment[k].name, s->name) != 0 || l->segment[k].count != s->count))
            k++;
        if (k == l->n)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the inference form has state %s, which the training has not",
                            s->name);
        e->at[i] = at[k];
    }
    return LMB_OK;
}

static int64_t rows_of(const lmbi_evaluator *e, int64_t asked)
{
    int64_t fit = SAMPLES_BYTES / (e->numbers * (int64_t)sizeof(float)), rows = fit < MOST_ROWS ? fit : MOST_ROWS;
    rows = rows > asked ? rows : asked;
    return rows > 1 ? rows : 1;
}

static lmb_status set_up(lmbi_evaluator *e, const lmbi_evaluator_options *o, lmb_error *err)
{
    const lmb_plan_options plan = { .backends = o->backends };

    LMB_TRY(lmb_model_classes(o->model, &e->classes, err));
    LMB_TRY(o->fixed ? lmb_pass_deploy(o->model, NULL, e->rows, &e->g, err)
                     : lmb_pass_infer_form(o->model, e->rows, &e->g, err));
    LMB_TRY(lmb_model_rows(e->g, e->rows, err));
    LMB_TRY(lmb_plan_compile(e->g, &plan, &e->plan, err));
    if (!o->fixed)
        LMB_TRY(find_weights(e, o->layout, o->at, err));
    return make_memory(e, err);
}

lmb_status lmbi_evaluator_create(const lmbi_evaluator_options *o, const lmb_dataset *data, lmbi_evaluator **out,
                                 lmb_error *err)
{
    lmbi_evaluator *e = calloc(1, sizeof *e);

    if (!e)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to evaluate");
    e->d = o->backends[0]->device;
    e->sample = data->shape;
    e->numbers = lmb_shape_count(&data->shape);
    e->pictures = data->dtype == LMB_U8;
    e->sample_bytes = lmb_shape_bytes(&data->shape, data->dtype);
    e->rows = rows_of(e, o->rows);
    e->limit_s = o->limit_s;
    lmb_status st = set_up(e, o, err);
    if (st != LMB_OK) {
        lmbi_evaluator_destroy(e);
        return st;
    }
    *out = e;
    return LMB_OK;
}

static lmb_status bind(lmbi_evaluator *e, const float *weights, lmb_error *err)
{
    for (int i = 0; weights != e->bound && i < e->own->n; i++)
        LMB_TRY(lmb_plan_bind_there(e->plan, e->own->segment[i].value, (float *)weights + e->at[i], err));
    e->bound = weights;
    return LMB_OK;
}

/* Bytes as they are, as floats. */
static lmb_status widen(lmbi_evaluator *e, lmb_error *err)
{
    const lmb_step_work w = { .kind = LMB_WORK_PICTURES,
                              .vector = e->x,
                              .rows = (int)e->rows,
                              .pixels = (uint8_t *)e->samples,
                              .channels = 1,
                              .height = 1,
                              .width = (int)e->numbers };
    return e->pictures ? e->d->work(e->d, &w, err) : LMB_OK;
}

static lmb_status run_batch(lmbi_evaluator *e, const lmb_batch *b, lmb_metrics *out, lmb_error *err)
{
    static const lmb_step_info no_step = { 0, 0, NULL };
    const lmbi_device_wait w = { .limit_s = e->limit_s, .doing = "the evaluation of a batch" };
    lmb_device *d = e->d;

    memcpy(e->staged, e->pictures ? (const void *)b->x_u8 : b->x, (size_t)b->n * e->sample_bytes);
    LMB_TRY(d->upload(d, e->samples, e->staged, (size_t)e->rows * e->sample_bytes, err));
    LMB_TRY(widen(e, err));
    LMB_TRY(lmb_plan_enqueue(e->plan, &no_step, NULL, err));
    LMB_TRY(d->download(d, e->answers, e->logits, (size_t)(b->n * e->classes) * sizeof *e->answers, err));
    LMB_TRY(lmbi_device_finish(d, e->end, &w, err));
    lmb_metrics_add(out, e->answers, b->y, b->n);
    return LMB_OK;
}

lmb_status lmbi_evaluator_run(lmbi_evaluator *e, const float *weights, const lmb_dataset *data, int threads,
                              lmb_metrics *out, lmb_error *err)
{
    const lmb_loader_options o = { .data = data, .batch = e->rows, .threads = threads,
                                   .dtype = e->pictures ? LMB_U8 : LMB_F32 };
    lmb_loader *l = NULL;
    const lmb_batch *b = NULL;

    if (lmb_shape_count(&data->shape) != e->numbers || (data->dtype == LMB_U8) != e->pictures)
        return LMB_FAIL(err, LMB_E_SHAPE, "samples of another kind than those that the evaluation was made for");
    if (weights)
        LMB_TRY(bind(e, weights, err));
    LMB_TRY(lmb_loader_create(&o, &l, err));
    lmb_status st = lmb_loader_begin(l, 0, 0, err);
    while (st == LMB_OK) {
        st = lmb_loader_next(l, &b, err);
        if (st != LMB_OK || !b)
            break;
        st = run_batch(e, b, out, err);
    }
    lmb_loader_destroy(l);
    return st;
}
