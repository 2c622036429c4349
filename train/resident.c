/* train/resident.c - see resident.h: memory on the device, and the work of a step. */
#include "train/resident_internal.h"

#include <stdlib.h>
#include <string.h>

static lmb_status nomem(lmb_error *err) { return LMB_FAIL(err, LMB_E_NOMEM, "no memory for steps on a device"); }

/* ---- memory ---- */

/* The next `bytes` of a block whose base is not known yet: its offset. */
static size_t carve(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += (bytes + 255) / 256 * 256;
    return at;
}

static lmb_status make_memory(lmbi_resident *r, lmb_error *err)
{
    size_t end = 0, vector = r->count * sizeof(float), with_head = vector + LMB_STEP_HEAD * sizeof(float);
    int shards = 1, slots = r->o.optimizer->n_slots;

    for (r->levels = 1; shards < r->o.shards; shards *= 2)
        r->levels++;
    if (r->levels > LMBI_LEVELS)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%d shards a batch are too many for a device; use larger shards",
                        r->o.shards);
    size_t state = carve(&end, vector), slot = end;
    for (int i = 0; i < slots; i++)
        (void)carve(&end, r->own * sizeof(float));
    size_t slot_bytes = slots ? (end - slot) / (size_t)slots : 0, ema = carve(&end, r->o.ema ? vector : 0),
           tally = carve(&end, sizeof *r->tally);
    r->moving_bytes = end;
    size_t levels = end, each = (with_head + 255) / 256 * 256;
    end += each * (size_t)r->levels;
    size_t anchor = carve(&end, vector), shift = carve(&end, vector),
           kept = carve(&end, r->o.sam.rho > 0 ? r->own * sizeof(float) : 0),
           part = carve(&end, sizeof(double) * (size_t)r->n_chunks);
    size_t chunks = carve(&end, sizeof *r->chunks * (size_t)r->n_chunks), loss = carve(&end, sizeof(float));
    size_t logits = carve(&end, sizeof(float) * (size_t)(r->o.rows * r->classes));
    size_t x = carve(&end, r->o.pictures.n ? sizeof(float) * (size_t)(r->o.rows * r->o.numbers) : 0);
    size_t input = carve(&end, r->slab.bytes), far = carve(&end, LMBI_BUFFERS * r->slab.bytes);

    LMB_TRY(r->d->alloc(r->d, end, (void **)&r->memory, err));
    r->moving = r->memory;
    r->state = (float *)(r->memory + state);
    for (int i = 0; i < slots; i++)
        r->slot[i] = (float *)(r->memory + slot + (size_t)i * slot_bytes);
    r->ema = r->o.ema ? (float *)(r->memory + ema) : NULL;
    r->tally = (lmb_step_tally *)(r->memory + tally);
    for (int i = 0; i < r->levels; i++)
        r->vector[i] = (float *)(r->memory + levels + (size_t)i * each);
    r->anchor = (float *)(r->memory + anchor);
    r->shift = (float *)(r->memory + shift);
    r->kept = r->o.sam.rho > 0 ? (float *)(r->memory + kept) : NULL;
    r->part = (double *)(r->memory + part);
    r->chunks = (lmb_step_chunk *)(r->memory + chunks);
    r->loss = (float *)(r->memory + loss);
    r->logits = (float *)(r->memory + logits);
    r->x = r->o.pictures.n ? (float *)(r->memory + x) : NULL;
    r->input = r->memory + input;
    for (int i = 0; i < LMBI_BUFFERS; i++)
        r->far[i] = r->memory + far + (size_t)i * r->slab.bytes;
    return LMB_OK;
}

/* Places that nothing fills, between segments and of what has no gradient, are 0 for ever. */
static lmb_status clear_memory(lmbi_resident *r, lmb_error *err)
{
    lmb_device *d = r->d;
    size_t vector = r->count * sizeof(float) + LMB_STEP_HEAD * sizeof(float);

    memset(r->mirror, 0, vector);
    for (int i = 0; i < r->levels; i++)
        LMB_TRY(d->upload(d, r->vector[i], r->mirror, vector, err));
    LMB_TRY(d->upload(d, r->state, r->mirror, r->count * sizeof(float), err));
    if (r->ema)
        LMB_TRY(d->upload(d, r->ema, r->mirror, r->count * sizeof(float), err));
    for (int i = 0; i < r->o.optimizer->n_slots; i++)
        LMB_TRY(d->upload(d, r->slot[i], r->mirror, r->own * sizeof(float), err));
    LMB_TRY(d->upload(d, r->chunks, r->chunk, sizeof *r->chunk * (size_t)r->n_chunks, err));
    return d->finish(d, err);
}

static lmb_status set_up(lmbi_resident *r, lmb_error *err)
{
    const lmb_device *d = r->d;

    if (!d->work)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s has no kernels for an optimizer's step", d->name);
    r->classes = lmb_program_classes(r->o.program);
    LMB_TRY(lmbi_layout_create(r, err));
    LMB_TRY(lmbi_rows_create(r, err));
    LMB_TRY(lmbi_input_plan(r, err));
    LMB_TRY(make_memory(r, err));
    LMB_TRY(lmbi_input_create(r, err));
    LMB_TRY(clear_memory(r, err));
    LMB_TRY(r->o.pipeline ? lmbi_flow_create(r, err) : LMB_OK);
    return r->o.sum ? r->o.sum->prepare(r->o.sum, r->vector[0], r->state, err) : LMB_OK;
}

lmb_status lmbi_resident_create(const lmbi_resident_options *o, lmbi_resident **out, lmb_error *err)
{
    lmbi_resident *r = calloc(1, sizeof *r);

    if (!r)
        return nomem(err);
    r->o = *o;
    r->d = o->device;
    lmb_status st = set_up(r, err);
    if (st != LMB_OK) {
        lmbi_resident_destroy(r);
        return st;
    }
    *out = r;
    return LMB_OK;
}

void lmbi_resident_destroy(lmbi_resident *r)
{
    lmb_error unsaid = LMB_ERROR_INIT;

    if (!r)
        return;
    if (r->memory && (r->o.sum || !r->end || lmbi_resident_wait(r, &unsaid) != LMB_OK))
        (void)r->d->finish(r->d, &unsaid); /* at once on a device that hangs */
    lmbi_graph_forget(r);
    lmbi_input_destroy(r);
    lmbi_rows_destroy(r);
    lmbi_flow_destroy(r);
    if (r->memory)
        r->d->free(r->d, r->memory);
    lmbi_layout_destroy(r);
    free(r);
}

bool lmbi_resident_again(lmbi_resident *r, int64_t rows, int64_t full)
{
    if (rows > r->o.rows)
        return false;
    if (full != r->o.full && r->graph != LMBI_EAGER)
        lmbi_graph_forget(r);
    r->o.full = full;
    return true;
}

/* ---- a step ---- */

static lmb_status work(lmbi_resident *r, lmb_step_work w, lmb_error *err)
{
    w.chunk = r->chunks;
    w.now = lmbi_input_now(r);
    w.tally = r->tally;
    w.state = r->state;
    w.ema = r->ema;
    for (int i = 0; i < r->o.optimizer->n_slots; i++)
        w.slot[i] = r->slot[i];
    w.anchor = r->anchored ? r->anchor : NULL;
    w.shift = r->shifted ? r->shift : NULL;
    w.kept = r->kept;
    w.adaptive = r->o.sam.adaptive;
    w.part = w.part ? w.part : r->part;
    return r->d->work(r->d, &w, err);
}

lmb_status lmbi_resident_work(lmbi_resident *r, lmb_step_work w, lmb_error *err) { return work(r, w, err); }

/* The next bucket of the batch's vector is final on the queue: weighed, if it is that of the only shard, and handed
 * to the ranks' sum. */
static lmb_status hand_over(lmbi_resident *r, float share, lmb_error *err)
{
    const lmb_device_bucket *b = &r->bucket[r->handed];

    if (share != 1)
        LMB_TRY(work(r,
                     (lmb_step_work){ .kind = LMB_WORK_WEIGH,
                                      .first = r->chunk_of[b->first],
                                      .last = r->chunk_of[b->last],
                                      .share = share,
                                      .vector = r->vector[0] },
                     err));
    if (r->o.sum)
        LMB_TRY(r->o.sum->ready(r->o.sum, r->handed, err));
    r->handed++;
    return LMB_OK;
}

/* The vector of the only shard is final from segment `first` on. The last bucket waits for the sums over samples. And
 * all do for the end where statistics travel as well, and ranks with unequal rows may have plans that differ: what
 * goes over one communicator has one order. */
static void on_final(void *ctx, int first)
{
    lmbi_resident *r = ctx;
    if (r->b->ranks && !r->b->even)
        return;
    while (r->late.status == LMB_OK && r->handed + 1 < r->n_buckets && r->bucket[r->handed].first >= first)
        if (hand_over(r, r->b->share[0], &r->late) != LMB_OK && r->late.status == LMB_OK)
            r->late.status = LMB_E_DEVICE;
}

/* Shard k forward and backward; its vector and sums to level `to`. */
static lmb_status run_shard(lmbi_resident *r, int k, int to, lmb_error *err)
{
    const lmbi_slab *s = &r->slab;
    char *in = r->input + s->front + (size_t)k * s->each;
    int64_t rows = r->b->first[k + 1] - r->b->first[k];
    bool alone = r->b->shards == 1;
    const float *x;
    LMB_TRY(lmbi_input_pictures(r, in, rows, &x, err));
    const lmb_program_there step = { .n = rows,
                                     .x = x,
                                     .y = (int64_t *)(in + s->y),
                                     .sample = (uint32_t *)(in + s->sample),
                                     .feed = r->table ? (void *)r->fed : in + s->feed,
                                     .state = r->state,
                                     .out = r->vector[to] + LMB_STEP_HEAD,
                                     .at = r->at,
                                     .loss = r->loss,
                                     .logits = r->logits,
                                     .scale = lmbi_input_scale(r),
                                     .there = &lmbi_input_now(r)->there,
                                     .ranks = r->b->ranks,
                                     .final = alone ? on_final : NULL,
                                     .ctx = r };

    if (r->table)
        LMB_TRY(lmbi_rows_take(r, step.sample, rows, err));
    LMB_TRY(lmb_program_enqueue(r->o.program, &step, err));
    if (r->late.status != LMB_OK)
        return LMB_FAIL(err, r->late.status, "%s", r->late.msg);
    LMB_TRY(work(r,
                 (lmb_step_work){ .kind = LMB_WORK_COUNT,
                                  .vector = r->vector[to],
                                  .loss = r->loss,
                                  .logits = r->logits,
                                  .label = step.y,
                                  .rows = (int)rows,
                                  .classes = r->classes },
                 err));
    if (alone || r->b->share[k] == 1)
        return LMB_OK;
    return work(r,
                (lmb_step_work){
                    .kind = LMB_WORK_WEIGH, .last = r->n_chunks, .share = r->b->share[k], .vector = r->vector[to] },
                err);
}

static lmb_status merge(lmbi_resident *r, int into, lmb_error *err)
{
    return work(r,
                (lmb_step_work){ .kind = LMB_WORK_MERGE,
                                 .last = r->n_chunks,
                                 .head = true,
                                 .vector = r->vector[into],
                                 .from = r->vector[into + 1] },
                err);
}

/* Shards one after another; two neighbours of the tree are added as soon as both are there, as one counts in binary. */
static lmb_status run_shards(lmbi_resident *r, lmb_error *err)
{
    int depth = 0;

    if (r->b->shards == 0)
        LMB_TRY(work(r, (lmb_step_work){ .kind = LMB_WORK_CLEAR, .last = r->n_chunks, .vector = r->vector[0] }, err));
    if (r->o.pipeline && r->b->shards > 0)
        LMB_TRY(lmbi_flow_run(r, err));
    for (int k = 0; k < r->b->shards && !r->o.pipeline; k++) {
        LMB_TRY(run_shard(r, k, depth++, err));
        for (int done = k + 1; done % 2 == 0; done /= 2)
            LMB_TRY(merge(r, --depth - 1, err));
    }
    while (depth > 1)
        LMB_TRY(merge(r, --depth - 1, err));
    while (r->handed < r->n_buckets)
        LMB_TRY(hand_over(r, r->b->shards == 1 ? r->b->share[0] : 1, err));
    return LMB_OK;
}

/* The gradient's squares, of all ranks if those have parts of it; the norm, and what follows from it. */
static lmb_status decide(lmbi_resident *r, lmb_error *err)
{
    lmb_device_sum *sum = r->o.sum;
    lmb_step_work w = { .kind = LMB_WORK_DECIDE, .last = r->n_chunks, .vector = r->vector[0] };

    LMB_TRY(work(r, (lmb_step_work){ .kind = LMB_WORK_SQUARES, .last = r->n_chunks, .vector = r->vector[0] }, err));
    if (r->parts)
        LMB_TRY(sum->share(sum, r->part, (size_t)r->n_chunks, err));
    if (sum && sum->whole)
        LMB_TRY(sum->whole(sum, r->part, &w.part, &w.last, err));
    return work(r, w, err);
}

/* Forward, backward, and the sum of all ranks in vector[0]. */
static lmb_status run_pass(lmbi_resident *r, lmb_error *err)
{
    lmb_device_sum *sum = r->o.sum;

    r->handed = 0;
    if (sum)
        LMB_TRY(sum->begin(sum, r->b->step, err));
    LMB_TRY(run_shards(r, err));
    return sum ? sum->join(sum, err) : LMB_OK;
}

/* From the weights uphill, along what the first pass has found (train/sam.c), and a pass there. */
static lmb_status run_uphill(lmbi_resident *r, lmb_error *err)
{
    const int last = r->n_chunks;
    float *vector = r->vector[0];

    LMB_TRY(work(r, (lmb_step_work){ .kind = LMB_WORK_SLOPE, .last = last, .vector = vector }, err));
    if (r->parts)
        LMB_TRY(r->o.sum->share(r->o.sum, r->part, (size_t)last, err));
    LMB_TRY(work(r, (lmb_step_work){ .kind = LMB_WORK_AIM, .last = last, .vector = vector }, err));
    LMB_TRY(work(r, (lmb_step_work){ .kind = LMB_WORK_CLIMB, .last = last, .vector = vector }, err));
    if (r->parts)
        LMB_TRY(r->o.sum->weights(r->o.sum, err));
    return run_pass(r, err);
}

lmb_status lmbi_resident_enqueue(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    r->b = b;
    r->late = (lmb_error)LMB_ERROR_INIT;
    LMB_TRY(run_pass(r, err));
    if (r->kept)
        LMB_TRY(run_uphill(r, err));
    LMB_TRY(decide(r, err));
    LMB_TRY(work(r, (lmb_step_work){ .kind = LMB_WORK_MOVE, .last = r->n_chunks, .vector = r->vector[0] }, err));
    return r->parts ? r->o.sum->weights(r->o.sum, err) : LMB_OK;
}

lmb_status lmbi_resident_step(lmbi_resident *r, const lmbi_resident_batch *b, lmb_error *err)
{
    LMB_TRY(lmbi_input_bring(r, b, err));
    lmb_status st = lmbi_graph_step(r, b, err);
    r->b = NULL;
    return st;
}

const char *lmbi_resident_remark(const lmbi_resident *r) { return r->remark; }
bool lmbi_resident_replays(const lmbi_resident *r) { return r->graph == LMBI_REPLAYING; }
size_t lmbi_resident_slots(const lmbi_resident *r)
{
    return (size_t)r->o.optimizer->n_slots * r->own * sizeof(float);
}
