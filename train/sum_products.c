/* train/sum_products.c - sums of gradients that shards leave as the two small matrices that each is the product of
 * (core/cpu/products.h): multiplied as they are summed, so that a large gradient is written once. See reduce.h. */
#include <stdlib.h>

#include "train/reduce_internal.h"

bool lmbi_reducer_factored(const lmbi_reducer *r, int segment)
{
    return r->factors && r->filled && r->factors[0][segment].rows > 0;
}

/* Scratch of one worker, as large as it ever had to be. */
static void *room_for(lmbi_reducer *r, int worker, size_t bytes)
{
    if (r->room[worker].bytes < bytes) {
        free(r->room[worker].memory);
        r->room[worker].bytes = (bytes + 63) / 64 * 64;
        r->room[worker].memory = aligned_alloc(64, r->room[worker].bytes);
        if (!r->room[worker].memory) {
            r->room[worker].bytes = 0;
            atomic_store(&r->no_memory, true);
        }
    }
    return r->room[worker].memory;
}

/* Part `part` of `parts` of a segment's rows, multiplied and summed over all slots, into slot 0. */
static void multiply(lmbi_reducer *r, int segment, int part, int parts, int worker)
{
    const lmb_factors *first = &r->factors[0][segment];
    int64_t lo = first->m * part / parts, hi = first->m * (part + 1) / parts;
    size_t list = (sizeof first * (size_t)r->filled + 63) / 64 * 64;

    /* how much depends on the most rows of a slot, which is the first */
    char *room = room_for(r, worker, list + lmb_products_scratch(&first, 1, hi - lo) * (size_t)r->filled);
    const lmb_factors **shard = (const lmb_factors **)(void *)room;
    if (!room)
        return;
    for (int i = 0; i < r->filled; i++)
        shard[i] = &r->factors[i][segment];
    lmb_products_sum(shard, r->weight, r->filled, lo, hi, r->slot[0] + LMBI_SUMS + r->layout->segment[segment].offset,
                     room + list);
}

void lmbi_reducer_multiply(lmbi_reducer *r, const lmbi_bucket *b, int worker)
{
    for (int i = b->first; i < b->last; i++)
        if (lmbi_reducer_factored(r, i))
            multiply(r, i, 0, 1, worker);
}

/* A large layer is most of a model: its rows are divided. */
typedef struct left {
    lmbi_reducer *r;
    int segment, parts;
} left;

static void multiply_task(void *ctx, int task, int worker)
{
    const left *l = ctx;
    multiply(l->r, l->segment, task, l->parts, worker);
}

void lmbi_reducer_multiply_left(lmbi_reducer *r, lmb_pool *pool)
{
    left l = { r, 0, lmb_pool_size(pool) };

    for (int b = r->next; b < r->n_buckets; b++)
        for (l.segment = r->bucket[b].first; l.segment < r->bucket[b].last; l.segment++)
            if (lmbi_reducer_factored(r, l.segment))
                lmb_pool_run(pool, l.parts, multiply_task, &l);
    r->multiplied = true;
}
