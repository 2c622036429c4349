/* train/cuts_time.c - where to cut a model into stages, by measuring.
 *
 * Idea: an estimate in multiply-accumulates and bytes does not know that one kernel reaches the peak and another a
 * tenth of it. So the model is cut as finely as it can be, each piece is compiled as the stage that it might become,
 * and runs forwards and backwards on a microbatch; of several times the shortest counts, as others were disturbed.
 * What comes out is the same in any case, and so are the weights: only who works how long depends on it. See stage.h.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "core/base/threads.h"
#include "train/cuts_time.h"

enum { RUNS = 4 };

#define NOMEM(err) LMB_FAIL((err), LMB_E_NOMEM, "no memory to measure the stages of a model")

static void end_bench(lmbi_bench *b)
{
    lmb_state_layout_destroy(b->layout);
    free(b->x);
    free(b->state);
    free(b->out);
    free(b->carry);
    free(b->y);
    free(b->sample);
    free(b->from);
}

static lmb_status begin_bench(const lmb_graph *model, const lmbi_cuts *c, lmbi_bench *b, lmb_error *err)
{
    const lmb_value *x = &c->g->value[c->x], *logits = &c->g->value[c->logits];
    int64_t rows = x->shape.d[0], n = lmb_shape_count(&x->shape);
    lmb_rand r = lmb_rand_at(1, LMB_RAND_TEST, 0, 0);

    LMB_TRY(lmb_state_layout_create(model, &b->layout, err));
    b->x = malloc(sizeof *b->x * (size_t)(n + 1));
    b->y = calloc((size_t)rows + 1, sizeof *b->y);
    b->sample = calloc((size_t)rows + 1, sizeof *b->sample);
    b->state = calloc(b->layout->count + 1, sizeof *b->state);
    b->out = calloc(b->layout->count + 1, sizeof *b->out); /* pages that no piece writes are never had */
    b->from = calloc((size_t)b->layout->n + 1, sizeof *b->from);
    if (!b->x || !b->y || !b->sample || !b->state || !b->out || !b->from)
        return NOMEM(err);
    for (int64_t i = 0; i < n; i++)
        b->x[i] = lmb_rand_uniform(&r, (uint32_t)i);
    for (int64_t i = 0; i < rows; i++) {
        b->y[i] = i % logits->shape.d[1];
        b->sample[i] = (uint32_t)i;
    }
    lmb_state_from_graph(b->layout, model, b->state);
    for (int i = 0; i < b->layout->n; i++)
        b->from[i] = b->layout->segment[i].offset;
    return LMB_OK;
}

/* What a copy leaves for the next. */
static lmb_status hand_on(lmbi_bench *b, lmbi_copy *c, lmb_error *err)
{
    size_t n = lmbi_copy_out_bytes(c);

    free(b->carry);
    b->carry = malloc(n + 1);
    if (!b->carry)
        return NOMEM(err);
    if (n)
        memcpy(b->carry, lmbi_copy_out(c), n);
    return LMB_OK;
}

static lmb_status run(lmbi_bench *b, lmbi_copy *c, double *seconds, lmb_error *err)
{
    const lmb_step_info info = { 1, 0, b->sample };
    lmbi_stage_run r = { .x = b->x, .y = b->y, .state = b->state, .out = b->out, .info = &info };
    size_t in = lmbi_copy_in_bytes(c), out = lmbi_copy_out_bytes(c) / sizeof(float);

    if (in)
        memcpy(lmbi_copy_in(c), b->carry, in);
    for (size_t i = 0; i < out; i++)
        lmbi_copy_out_gradient(c)[i] = 1e-3f;
    for (int i = 0; i < RUNS; i++) {
        double start = lmb_seconds();
        LMB_TRY(lmbi_copy_forward(c, &r, err));
        LMB_TRY(lmbi_copy_backward(c, &r, err));
        double t = lmb_seconds() - start;
        *seconds = i == 0 || t < *seconds ? t : *seconds;
    }
    return hand_on(b, c, err);
}

/* there: NULL on the host. */
static lmb_status time_pieces(const lmbi_cuts *c, lmbi_bench *b, lmbi_bench_there *there,
                              const lmbi_stage_options *options, double *seconds, lmb_error *err)
{
    lmbi_stage_options o = *options;

    o.layout = b->layout;
    o.from = there ? lmbi_bench_there_at(there) : b->from;
    o.in_room = o.out_room = 0;
    for (int k = 0; k < c->n; k++) {
        lmbi_copy *copy;
        LMB_TRY(lmbi_copy_create(c, k, &o, &copy, err));
        lmb_status st =
            there ? lmbi_bench_there_run(there, copy, RUNS, &seconds[k], err) : run(b, copy, &seconds[k], err);
        lmbi_copy_destroy(copy);
        LMB_TRY(st);
    }
    return LMB_OK;
}

lmb_status lmbi_cuts_timed(const lmb_graph *model, int64_t rows, int stages, const lmbi_stage_options *o,
                           lmbi_cuts **out, lmb_error *err)
{
    double seconds[LMB_MOST_STAGES] = { 0 };
    lmb_stage pieces[LMB_MOST_STAGES];
    lmbi_cuts *c = NULL;
    lmbi_bench b = { 0 };

    LMB_TRY(lmbi_cuts_make(model, o->loss, rows, 0, NULL, &c, err));
    lmb_device *d = o->backends && o->backends[0] ? o->backends[0]->device : NULL;
    lmbi_bench_there *there = NULL;
    lmb_status st = begin_bench(model, c, &b, err);
    if (st == LMB_OK && d)
        st = lmbi_bench_there_begin(d, c, o->loss, &b, &there, err);
    if (st == LMB_OK)
        st = time_pieces(c, &b, there, o, seconds, err);
    lmbi_bench_there_end(there);
    lmb_stage_times times = { c->n, pieces, seconds };
    memcpy(pieces, c->stage, sizeof pieces);
    if (st == LMB_OK)
        st = lmb_stages_cut(c->g, c->last, c->n = stages, &times, c->stage, err);
    end_bench(&b);
    if (st != LMB_OK) {
        lmbi_cuts_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}
