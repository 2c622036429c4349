/* train/resident_input.c - a batch's way to the device: while step k is worked on, batch k + 1 travels.
 *
 * Idea: two buffers in memory of the host that copies reach directly, two on the device, and a copy on the device to
 * the place where all steps read, so that a recorded step finds every batch at one address. Marks order what two
 * queues do:
 *
 *     host    waits until the buffer has arrived the last time it was sent, then fills it
 *     aside   waits until the device's buffer was taken, then copies to it     -> arrived
 *     main    waits for arrived, copies to the place of all steps              -> taken
 *
 * In front of a batch lies what its step is to know (lmb_step_now). Images travel as bytes, a quarter of what floats
 * take, with what is to happen to each (core/plan/picture.h); a kernel, a part of the step, makes them what the model
 * takes, to the bit what the loader's threads would have made of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/device_wait.h"
#include "train/resident_internal.h"

static size_t place(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += (bytes + 255) / 256 * 256;
    return at;
}

lmb_status lmbi_input_plan(lmbi_resident *r, lmb_error *err)
{
    size_t rows = (size_t)r->o.rows, feed = 0, end = 0;
    lmbi_slab *s = &r->slab;

    if (!r->table)
        LMB_TRY(lmbi_flow_feed(r, r->o.rows, NULL, NULL, NULL, &feed, err));
    (void)place(&end, sizeof(lmb_step_now));
    s->scale = place(&end, sizeof(float));
    s->front = end;
    end = 0;
    s->sample = place(&end, rows * sizeof(uint32_t));
    s->y = place(&end, rows * sizeof(int64_t));
    s->x = place(&end, rows * (size_t)r->o.numbers * (r->o.pictures.n ? 1 : sizeof(float)));
    s->change = place(&end, r->o.pictures.n ? rows * sizeof(lmb_picture_change) : 0);
    s->feed = place(&end, feed);
    s->each = end;
    s->bytes = s->front + s->each * (size_t)r->o.shards;
    return LMB_OK;
}

lmb_status lmbi_input_create(lmbi_resident *r, lmb_error *err)
{
    lmb_device *d = r->d;
    size_t end = 0, mirror = place(&end, (LMB_STEP_HEAD + r->count) * sizeof(float)),
           seen = place(&end, sizeof *r->seen);
    size_t staged = place(&end, LMBI_BUFFERS * r->slab.bytes);
    char *base;

    LMB_TRY(d->pin(d, end, &r->pinned, err));
    base = r->pinned;
    memset(base, 0, end);
    r->mirror = (float *)(base + mirror);
    r->seen = (lmb_step_tally *)(base + seen);
    for (int i = 0; i < LMBI_BUFFERS; i++) {
        r->staged[i] = base + staged + (size_t)i * r->slab.bytes;
        LMB_TRY(d->mark_create(d, &r->arrived[i], err));
        LMB_TRY(d->mark_create(d, &r->taken[i], err));
    }
    return d->mark_create(d, &r->end, err);
}

void lmbi_input_destroy(lmbi_resident *r)
{
    for (int i = 0; i < LMBI_BUFFERS; i++) {
        if (r->arrived[i])
            r->d->mark_destroy(r->d, r->arrived[i]);
        if (r->taken[i])
            r->d->mark_destroy(r->d, r->taken[i]);
    }
    if (r->end)
        r->d->mark_destroy(r->d, r->end);
    if (r->pinned)
        r->d->unpin(r->d, r->pinned);
}

static const char *what_it_does(const lmbi_resident *r, char doing[40])
{
    snprintf(doing, 40, "its work up to step %lld", (long long)r->step);
    return doing;
}

/* With several ranks it is most often another one that is late, and their sum finds out which. */
lmb_status lmbi_resident_reach(lmbi_resident *r, lmb_device_mark *m, lmb_error *err)
{
    char doing[40];

    if (r->o.sum) /* of the step that was put on the queue last, which is what a mark waits for or is behind */
        return r->o.sum->reach(r->o.sum, m, -1, err);
    return lmbi_device_reach(r->d, m, &(lmbi_device_wait){ r->o.limit_s, what_it_does(r, doing) }, err);
}

lmb_status lmbi_resident_wait(lmbi_resident *r, lmb_error *err)
{
    char doing[40];

    if (r->o.sum)
        return r->o.sum->wait(r->o.sum, r->b ? r->b->step : r->step, err);
    return lmbi_device_finish(r->d, r->end, &(lmbi_device_wait){ r->o.limit_s, what_it_does(r, doing) }, err);
}

static lmb_step_now now_of(const lmbi_resident *r, const lmbi_resident_batch *b)
{
    return (lmb_step_now){ .there = { b->seed, b->epoch, 0 },
                           .rule = r->o.optimizer->rule(r->o.optimizer_config, b->rate, b->steps_before + b->step + 1),
                           .step = b->step,
                           .clip = r->o.clip,
                           .rho = r->o.sam.rho,
                           .unscale = (float)(1 / r->o.loss_scale),
                           .keep = (float)b->keep,
                           .pull = (float)b->pull };
}

static lmb_status fill(lmbi_resident *r, char *to, const lmbi_resident_batch *b, lmb_error *err)
{
    const lmb_step_now now = now_of(r, b);
    const float scale = (float)r->o.loss_scale;
    size_t numbers = (size_t)r->o.numbers, feed;

    memcpy(to, &now, sizeof now);
    memcpy(to + r->slab.scale, &scale, sizeof scale);
    for (int k = 0; k < b->shards; k++) {
        char *in = to + r->slab.front + (size_t)k * r->slab.each;
        size_t lo = (size_t)b->first[k], n = (size_t)(b->first[k + 1] - b->first[k]);
        const lmb_step_info info = { b->seed, b->epoch, b->sample + lo };
        const lmb_place place = { b->shown, b->row + b->first[k], b->total };
        if ((int64_t)n > r->o.rows)
            return LMB_FAIL(err, LMB_E_ARG, "a shard of %zu rows; the device has room for %lld", n,
                            (long long)r->o.rows);
        memcpy(in + r->slab.sample, b->sample + lo, n * sizeof *b->sample);
        memcpy(in + r->slab.y, b->y + lo, n * sizeof *b->y);
        if (r->o.pictures.n) {
            memcpy(in + r->slab.x, b->pixels + lo * numbers, n * numbers);
            memcpy(in + r->slab.change, b->change + lo, n * sizeof *b->change);
        } else if (numbers) {
            memcpy(in + r->slab.x, b->x + lo * numbers, n * numbers * sizeof *b->x);
        }
        /* With a table nothing is fed; asked all the same: a program forgets the plan it has used least of late, and a
         * replay, which it does not see, runs in the memory of its plan. */
        LMB_TRY(lmbi_flow_feed(r, (int64_t)n, &info, &place, r->table ? NULL : in + r->slab.feed, &feed, err));
    }
    return LMB_OK;
}

lmb_status lmbi_input_pictures(lmbi_resident *r, char *in, int64_t rows, const float **x, lmb_error *err)
{
    const int64_t *chw = r->o.pictures.d;

    *x = r->x ? r->x : (float *)(in + r->slab.x);
    if (!r->x)
        return LMB_OK;
    const lmb_step_work w = { .kind = LMB_WORK_PICTURES,
                              .vector = r->x,
                              .rows = (int)rows,
                              .pixels = (uint8_t *)(in + r->slab.x),
                              .change = (lmb_picture_change *)(in + r->slab.change),
                              .operations = r->o.operations,
                              .channels = (int)chw[0],
                              .height = (int)chw[1],
                              .width = (int)chw[2] };
    return r->d->work(r->d, &w, err);
}

lmb_status lmbi_input_bring(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    lmb_device *d = r->d;
    int i = r->next;
    size_t bytes = r->slab.front + r->slab.each * (size_t)b->shards;

    r->next = (i + 1) % LMBI_BUFFERS;
    LMB_TRY(lmbi_resident_reach(r, r->arrived[i], err));
    r->step = b->step;
    LMB_TRY(fill(r, r->staged[i], b, err));
    LMB_TRY(d->follow(d, r->taken[i], LMB_QUEUE_ASIDE, err));
    LMB_TRY(d->send(d, r->far[i], r->staged[i], bytes, err));
    LMB_TRY(d->mark(d, r->arrived[i], LMB_QUEUE_ASIDE, err));
    LMB_TRY(d->follow(d, r->arrived[i], LMB_QUEUE_MAIN, err));
    LMB_TRY(d->copy(d, r->input, r->far[i], bytes, err));
    return d->mark(d, r->taken[i], LMB_QUEUE_MAIN, err);
}
