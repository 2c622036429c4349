/* train/cuts_time_device.c - the pieces of a model timed on a device: as in cuts_time.c, but what they run on lies in
 * its memory, and a time ends when its queue has. See stage.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/plan/device_step.h"
#include "train/cuts_time.h"

struct lmbi_bench_there {
    lmb_device *d;
    void *block[10];
    int n;
    size_t *at; /* [segments] in state and out */
    lmbi_stage_there run;
    void *carry;
    size_t carried;
};

static lmb_status room(lmbi_bench_there *t, size_t bytes, void **out, lmb_error *err)
{
    LMB_TRY(t->d->alloc(t->d, bytes + 64, out, err));
    t->block[t->n++] = *out;
    return LMB_OK;
}

static lmb_status sent(lmbi_bench_there *t, const void *from, size_t bytes, void **out, lmb_error *err)
{
    LMB_TRY(room(t, bytes, out, err));
    return t->d->upload(t->d, *out, from, bytes, err);
}

static lmb_status send_state(lmbi_bench_there *t, const lmbi_bench *b, lmb_error *err)
{
    const lmb_state_layout *l = b->layout;
    size_t count = 0;
    void *state = NULL, *out = NULL;

    t->at = calloc((size_t)l->n + 1, sizeof *t->at);
    if (!t->at)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure the stages of a model");
    for (int i = 0; i < l->n; i++) {
        t->at[i] = count;
        count += (l->segment[i].count + LMB_STEP_ALIGN - 1) / LMB_STEP_ALIGN * LMB_STEP_ALIGN;
    }
    LMB_TRY(room(t, count * sizeof(float), &state, err));
    LMB_TRY(room(t, count * sizeof(float), &out, err));
    t->run.state = state;
    t->run.out = out;
    for (int i = 0; i < l->n; i++)
        LMB_TRY(t->d->upload(t->d, t->run.state + t->at[i], b->state + l->segment[i].offset,
                             l->segment[i].count * sizeof(float), err));
    return LMB_OK;
}

static lmb_status send_feed(lmbi_bench_there *t, const lmbi_cuts *c, const lmb_loss *loss, const lmbi_bench *b,
                            lmb_error *err)
{
    const lmb_step_info info = { 1, 0, b->sample };
    const lmb_place place = { 0, 0, 0 };

    if (c->feed == LMB_NONE)
        return LMB_OK;
    size_t bytes = lmb_shape_bytes(&c->g->value[c->feed].shape, c->g->value[c->feed].dtype);
    void *rows = calloc(1, bytes + 1);
    lmb_status st = rows ? loss->feed(loss->ctx, &info, &place, c->g->value[c->x].shape.d[0], rows, err)
                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure the stages of a model");
    if (st == LMB_OK)
        st = sent(t, rows, bytes, &t->run.feed, err);
    if (st == LMB_OK)
        st = t->d->finish(t->d, err);
    free(rows);
    return st;
}

static lmb_status set_up(lmbi_bench_there *t, const lmbi_cuts *c, const lmb_loss *loss, const lmbi_bench *b,
                         lmb_error *err)
{
    static const lmb_step_there step = { 1, 0, 0 };
    const lmb_value *x = &c->g->value[c->x], *logits = &c->g->value[c->logits];
    size_t rows = (size_t)x->shape.d[0];
    void *p[6] = { NULL };

    LMB_TRY(sent(t, b->x, sizeof(float) * (size_t)lmb_shape_count(&x->shape), &p[0], err));
    LMB_TRY(sent(t, b->y, sizeof *b->y * rows, &p[1], err));
    LMB_TRY(sent(t, b->sample, sizeof *b->sample * rows, &p[2], err));
    LMB_TRY(sent(t, &step, sizeof step, &p[3], err));
    LMB_TRY(room(t, sizeof(float), &p[4], err));
    LMB_TRY(room(t, sizeof(float) * (size_t)lmb_shape_count(&logits->shape), &p[5], err));
    t->run = (lmbi_stage_there){ .x = p[0], .y = p[1], .sample = p[2], .there = p[3], .loss = p[4], .logits = p[5] };
    LMB_TRY(send_state(t, b, err));
    LMB_TRY(send_feed(t, c, loss, b, err));
    return t->d->finish(t->d, err);
}

lmb_status lmbi_bench_there_begin(lmb_device *d, const lmbi_cuts *c, const lmb_loss *loss, const lmbi_bench *b,
                                  lmbi_bench_there **out, lmb_error *err)
{
    lmbi_bench_there *t = calloc(1, sizeof *t);

    if (!t)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure the stages of a model");
    t->d = d;
    *out = t; /* also after an error: to be ended */
    return set_up(t, c, loss, b, err);
}

void lmbi_bench_there_end(lmbi_bench_there *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n; i++)
        t->d->free(t->d, t->block[i]);
    if (t->carry)
        t->d->free(t->d, t->carry);
    free(t->at);
    free(t);
}

const size_t *lmbi_bench_there_at(const lmbi_bench_there *t) { return t->at; }

/* Gradients that come from behind are 0, which takes as long as any. */
lmb_status lmbi_bench_there_run(lmbi_bench_there *t, lmbi_copy *c, int runs, double *seconds, lmb_error *err)
{
    lmb_device *d = t->d;
    size_t in = lmbi_copy_in_bytes(c), out = lmbi_copy_out_bytes(c);
    void *carry = NULL;

    if (in && in == t->carried)
        LMB_TRY(d->copy(d, lmbi_copy_in(c), t->carry, in, err));
    for (int i = 0; i < runs; i++) {
        LMB_TRY(d->finish(d, err));
        double start = lmb_seconds();
        LMB_TRY(lmbi_copy_forward_there(c, &t->run, err));
        LMB_TRY(lmbi_copy_backward_there(c, &t->run, err));
        LMB_TRY(d->finish(d, err));
        double took = lmb_seconds() - start;
        *seconds = i == 0 || took < *seconds ? took : *seconds;
    }
    LMB_TRY(d->alloc(d, out + 64, &carry, err));
    if (t->carry)
        d->free(d, t->carry);
    t->carry = carry;
    t->carried = out;
    if (out)
        LMB_TRY(d->copy(d, carry, lmbi_copy_out(c), out, err));
    return d->finish(d, err);
}
