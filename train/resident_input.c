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
 * In front of a batch lies what its step is to know (lmb_step_now).
 */
#include <stdlib.h>
#include <string.h>

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
    s->front = place(&end, sizeof(lmb_step_now));
    s->front = end;
    end = 0;
    s->sample = place(&end, rows * sizeof(uint32_t));
    s->y = place(&end, rows * sizeof(int64_t));
    s->x = place(&end, rows * (size_t)r->o.numbers * sizeof(float));
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
    return LMB_OK;
}

void lmbi_input_destroy(lmbi_resident *r)
{
    for (int i = 0; i < LMBI_BUFFERS; i++) {
        if (r->arrived[i])
            r->d->mark_destroy(r->d, r->arrived[i]);
        if (r->taken[i])
            r->d->mark_destroy(r->d, r->taken[i]);
    }
    if (r->pinned)
        r->d->unpin(r->d, r->pinned);
}

static lmb_step_now now_of(const lmbi_resident *r, const lmbi_resident_batch *b)
{
    return (lmb_step_now){ .there = { b->seed, b->epoch, 0 },
                           .rule = r->o.optimizer->rule(r->o.optimizer_config, b->rate, b->step + 1),
                           .step = b->step,
                           .clip = r->o.clip,
                           .keep = (float)b->keep,
                           .pull = (float)b->pull };
}

static lmb_status fill(lmbi_resident *r, char *to, const lmbi_resident_batch *b, lmb_error *err)
{
    const lmb_step_now now = now_of(r, b);
    size_t numbers = (size_t)r->o.numbers, feed;

    memcpy(to, &now, sizeof now);
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
        memcpy(in + r->slab.x, b->x + lo * numbers, n * numbers * sizeof *b->x);
        /* With a table nothing is fed; asked all the same: a program forgets the plan it has used least of late, and a
         * replay, which it does not see, runs in the memory of its plan. */
        LMB_TRY(
            lmbi_flow_feed(r, (int64_t)n, &info, &place, r->table ? NULL : in + r->slab.feed, &feed, err));
    }
    return LMB_OK;
}

lmb_status lmbi_input_bring(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    lmb_device *d = r->d;
    int i = r->next;
    size_t bytes = r->slab.front + r->slab.each * (size_t)b->shards;

    r->next = (i + 1) % LMBI_BUFFERS;
    LMB_TRY(d->reach(d, r->arrived[i], err));
    LMB_TRY(fill(r, r->staged[i], b, err));
    LMB_TRY(d->follow(d, r->taken[i], LMB_QUEUE_ASIDE, err));
    LMB_TRY(d->send(d, r->far[i], r->staged[i], bytes, err));
    LMB_TRY(d->mark(d, r->arrived[i], LMB_QUEUE_ASIDE, err));
    LMB_TRY(d->follow(d, r->arrived[i], LMB_QUEUE_MAIN, err));
    LMB_TRY(d->copy(d, r->input, r->far[i], bytes, err));
    return d->mark(d, r->taken[i], LMB_QUEUE_MAIN, err);
}
