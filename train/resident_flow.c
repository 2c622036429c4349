/* train/resident_flow.c - a resident step's batch as microbatches that flow through stages of several GPUs
 * (train/pipeline_device.c) in place of shards that run one after another.
 *
 * Idea: several microbatches are under way at once, so each has a vector of its own from its way there, where
 * normalisations leave their statistics, till it is back. Then it joins the tree of sums as a shard's vector does: two
 * neighbours are added as soon as both are there. So there are as many vectors as the tree has levels and as there are
 * microbatches under way; the last one's content goes to the place of all batches' sums.
 */
#include <string.h>

#include "train/resident_internal.h"

static lmb_status count(lmbi_resident *r, int i, float *vector, lmb_error *err)
{
    const int64_t *first = r->b->first;
    char *in = r->input + r->slab.front + (size_t)i * r->slab.each;

    return lmbi_resident_work(r,
                              (lmb_step_work){ .kind = LMB_WORK_COUNT,
                                               .vector = vector,
                                               .loss = r->loss,
                                               .logits = r->logits,
                                               .label = (const int64_t *)(in + r->slab.y),
                                               .rows = (int)(first[i + 1] - first[i]),
                                               .classes = r->classes },
                              err);
}

static float *vector_of(lmbi_resident *r, int number)
{
    size_t room = ((LMB_STEP_HEAD + r->count) * sizeof(float) + 255) / 256 * 256;
    return number < r->levels ? r->vector[number]
                              : (float *)(r->flow.memory + (size_t)(number - r->levels) * room);
}

lmb_status lmbi_flow_create(lmbi_resident *r, lmb_error *err)
{
    lmb_device *d = r->d;
    size_t each = (LMB_STEP_HEAD + r->count) * sizeof(float);
    int ahead = lmbi_pipeline_ahead(r->o.pipeline);
    void *memory = NULL;

    r->flow.n = r->levels + ahead;
    LMB_TRY(d->alloc(d, (size_t)ahead * ((each + 255) / 256 * 256), &memory, err));
    r->flow.memory = memory;
    memset(r->mirror, 0, each);
    for (int i = r->levels; i < r->flow.n; i++)
        LMB_TRY(d->upload(d, vector_of(r, i), r->mirror, each, err));
    return d->finish(d, err);
}

void lmbi_flow_destroy(lmbi_resident *r)
{
    if (r->flow.memory)
        r->d->free(r->d, r->flow.memory);
}

lmb_status lmbi_flow_feed(lmbi_resident *r, int64_t n, const lmb_step_info *info, const lmb_place *place, void *into,
                          size_t *bytes, lmb_error *err)
{
    const lmb_loss *loss = lmb_program_loss(r->o.program);

    if (!r->o.pipeline)
        return lmb_program_feed(r->o.program, n, info, place, into, bytes, err);
    LMB_TRY(lmbi_pipeline_feed(r->o.pipeline, n, bytes, err));
    return *bytes && into ? loss->feed(loss->ctx, info, place, n, into, err) : LMB_OK;
}

/* ---- a batch ---- */

static int take(lmbi_resident *r)
{
    int i = 0;
    while (r->flow.taken[i]) /* there are enough: see above */
        i++;
    r->flow.taken[i] = true;
    return i;
}

/* Images that came as bytes are changed on the way there and once more on the way back, as there is room for those of
 * one microbatch. */
static lmb_status place(void *ctx, int i, lmbi_stage_there *out, lmb_error *err)
{
    lmbi_resident *r = ctx;
    const lmbi_slab *s = &r->slab;
    char *in = r->input + s->front + (size_t)i * s->each;
    int *held = &r->flow.held[i % lmbi_pipeline_ahead(r->o.pipeline)];
    const float *x = NULL;

    if (r->o.numbers)
        LMB_TRY(lmbi_input_pictures(r, in, r->b->first[i + 1] - r->b->first[i], &x, err));
    if (*held < 0) {
        *held = take(r);
        if (r->table)
            LMB_TRY(lmbi_rows_take(r, (uint32_t *)(in + s->sample), r->b->first[i + 1] - r->b->first[i], err));
    }
    *out = (lmbi_stage_there){ .x = x,
                               .y = (int64_t *)(in + s->y),
                               .sample = (uint32_t *)(in + s->sample),
                               .feed = r->table ? (void *)r->fed : in + s->feed,
                               .state = r->state,
                               .out = vector_of(r, *held) + LMB_STEP_HEAD,
                               .loss = r->loss,
                               .logits = r->logits,
                               .there = &lmbi_input_now(r)->there };
    return LMB_OK;
}

/* The upper two of the tree become one. */
static lmb_status merge(lmbi_resident *r, lmb_error *err)
{
    int from = r->flow.tree[--r->flow.depth], into = r->flow.tree[r->flow.depth - 1];

    r->flow.taken[from] = false;
    return lmbi_resident_work(r,
                              (lmb_step_work){ .kind = LMB_WORK_MERGE,
                                               .last = r->n_chunks,
                                               .head = true,
                                               .vector = vector_of(r, into),
                                               .from = vector_of(r, from) },
                              err);
}

static lmb_status back(void *ctx, int i, lmb_error *err)
{
    lmbi_resident *r = ctx;
    int *held = &r->flow.held[i % lmbi_pipeline_ahead(r->o.pipeline)], number = *held;

    *held = -1;
    r->flow.tree[r->flow.depth++] = number;
    if (lmbi_pipeline_ends_here(r->o.pipeline))
        LMB_TRY(count(r, i, vector_of(r, number), err));
    if (r->b->shards > 1 && r->b->share[i] != 1) /* the only one's is weighed as it is handed over */
        LMB_TRY(lmbi_resident_work(r,
                                   (lmb_step_work){ .kind = LMB_WORK_WEIGH,
                                                    .last = r->n_chunks,
                                                    .share = r->b->share[i],
                                                    .vector = vector_of(r, number) },
                                   err));
    for (int done = i + 1; done % 2 == 0; done /= 2)
        LMB_TRY(merge(r, err));
    return LMB_OK;
}

static lmb_status settle(void *ctx, lmb_error *err) { return lmbi_resident_wait(ctx, err); }

lmb_status lmbi_flow_run(lmbi_resident *r, lmb_error *err)
{
    const lmbi_flow_there f = { r->b->shards, r->b->first, r->b->step, r, settle, place, back };

    r->flow.depth = 0;
    for (int i = 0; i < LMBI_FLOW_MOST; i++) {
        r->flow.taken[i] = false;
        r->flow.held[i] = -1;
    }
    lmb_status st = lmbi_pipeline_enqueue(r->o.pipeline, &f, err);
    if (st != LMB_OK) {
        lmb_error unsaid = LMB_ERROR_INIT;
        if (r->o.sum) /* so that it ends what is under way besides letters */
            (void)r->o.sum->wait(r->o.sum, r->b->step, &unsaid);
        return st;
    }
    while (r->flow.depth > 1)
        LMB_TRY(merge(r, err));
    if (r->flow.tree[0] == 0)
        return LMB_OK;
    return r->d->copy(r->d, r->vector[0], vector_of(r, r->flow.tree[0]), (LMB_STEP_HEAD + r->count) * sizeof(float),
                      err);
}
