/* train/memory.c - see memory.h. */
#include "train/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"

enum { NAME = 64, RING = 0, FRESH = 1, SAMPLES = (1 << 24) - 1 };
static const float EMPTY = -2, FAR = 1e4f; /* similarities are within 1 / temperature, 1,000 at most */
static const char *const samples_of[] = { "limbeck.memory.samples", "limbeck.memory.fresh_samples" };

static void name_of(int of, int which, char out[NAME])
{
    snprintf(out, NAME, "limbeck.memory%d.%s", of, which == RING ? "rows" : "fresh");
}

static lmb_status add_row(lmb_graph *g, const char *name, const lmb_shape *shape, const float *v, lmb_error *err)
{
    lmb_vid id;

    LMB_TRY(lmb_graph_value(g, LMB_ROLE_STATISTIC, name, LMB_F32, shape, v, &id, err));
    g->value[id].reduce = LMB_REDUCE_MAX;
    g->value[id].decay = 0;
    return LMB_OK;
}

static void random_rows(float *v, int64_t slots, int64_t width, lmb_rand *r)
{
    for (int64_t i = 0; i < slots; i++) {
        double length = 0;
        for (int64_t k = i * width; k < (i + 1) * width; k++) {
            v[k] = lmb_rand_normal(r, (uint32_t)k);
            length += (double)v[k] * (double)v[k];
        }
        for (int64_t k = i * width; k < (i + 1) * width; k++)
            v[k] /= (float)sqrt(length) + 1e-12f;
    }
}

lmb_status lmb_memory_add(lmb_graph *g, int of, int64_t slots, int64_t width, uint64_t seed, lmb_error *err)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_INIT, 1000 + (uint32_t)of, 0);
    lmb_shape shape = LMB_SHAPE(slots, width), one = LMB_SHAPE(1, slots);
    float *v = malloc(sizeof *v * (size_t)(slots * width));
    lmb_status st = v ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld rows", (long long)slots);
    char name[NAME];

    for (int which = RING; which <= FRESH && st == LMB_OK; which++) {
        if (which == RING)
            random_rows(v, slots, width, &r);
        for (int64_t i = 0; which == FRESH && i < slots * width; i++)
            v[i] = EMPTY;
        name_of(of, which, name);
        st = add_row(g, name, &shape, v, err);
        if (st == LMB_OK && of == 0) /* of nobody */
            st = add_row(g, samples_of[which], &one, NULL, err);
    }
    free(v);
    return st;
}

static lmb_vid of_two(lmb_builder *b, const char *op, lmb_vid x, lmb_vid y)
{
    return lmb_emit(b, op, NULL, LMB_IN(x, y), LMB_NO_ATTRS);
}

/* where' rows [slots, width]: exact, because each sum has one number that is not 0 at most. */
static lmb_vid placed(lmb_builder *b, lmb_vid where, lmb_vid rows)
{
    return lmb_emit(b, "Gemm", NULL, LMB_IN(where, rows), LMB_ATTRS(LMB_AINT("transA", 1)));
}

static lmb_vid ones(lmb_builder *b, int64_t n, int64_t width)
{
    lmb_shape shape = LMB_SHAPE(n, width);
    float *v = malloc(sizeof *v * (size_t)(n * width + 1));
    lmb_vid id;

    if (!v) {
        b->status = LMB_FAIL(b->err, LMB_E_NOMEM, "no memory for %lld rows", (long long)n);
        return LMB_NONE;
    }
    for (int64_t i = 0; i < n * width; i++)
        v[i] = 1;
    id = lmb_emit_value(b, LMB_ROLE_CONSTANT, "memory.ones", LMB_F32, shape, v);
    free(v);
    return id;
}

/* 1 where x is at least 1, 0 where it is at most 0. */
static lmb_vid is_one(lmb_builder *b, lmb_vid x)
{
    return lmb_emit(b, "Clip", NULL, LMB_IN(x, lmb_emit_scalar(b, 0), lmb_emit_scalar(b, 1)), LMB_NO_ATTRS);
}

/* The ring with what is fresh put in. */
static lmb_vid put_in(lmb_builder *b, const lmb_vid state[2], lmb_vid is_fresh)
{
    lmb_vid kept = of_two(b, "Mul", state[RING], of_two(b, "Sub", lmb_emit_scalar(b, 1), is_fresh));
    return of_two(b, "Add", kept, of_two(b, "Mul", state[FRESH], is_fresh));
}

static lmb_vid sum_over(lmb_builder *b, lmb_vid x, int64_t axis)
{
    return lmb_emit(b, "ReduceSum", NULL, LMB_IN(x, lmb_emit_ints(b, &axis, 1)), LMB_ATTRS(LMB_AINT("keepdims", 1)));
}

lmb_vid lmb_memory_others(lmb_builder *b, lmb_vid where)
{
    lmb_vid state[2];

    for (int which = RING; which <= FRESH; which++)
        state[which] = lmb_graph_find(b->g, samples_of[which]);
    if (b->status == LMB_OK && (state[RING] == LMB_NONE || state[FRESH] == LMB_NONE))
        b->status = LMB_FAIL(b->err, LMB_E_ARG, "there is no memory in the graph that is trained");
    if (b->status != LMB_OK)
        return LMB_NONE;
    /* sums are exact: each has one number that is not 0 at most */
    lmb_vid now = put_in(b, state, is_one(b, state[FRESH])), apart = of_two(b, "Sub", sum_over(b, where, 1), now);
    lmb_vid fresh = sum_over(b, where, 0);
    if (b->status == LMB_OK) {
        b->g->value[state[RING]].next = now;
        b->g->value[state[FRESH]].next = fresh;
    }
    lmb_vid other = is_one(b, of_two(b, "Mul", apart, apart));
    return of_two(b, "Mul", of_two(b, "Sub", other, lmb_emit_scalar(b, 1)), lmb_emit_scalar(b, FAR));
}

lmb_vid lmb_memory_use(lmb_builder *b, int of, lmb_vid rows, lmb_vid where)
{
    lmb_vid state[2];
    char name[NAME];

    for (int which = RING; which <= FRESH; which++) {
        name_of(of, which, name);
        state[which] = lmb_graph_find(b->g, name);
    }
    if (b->status == LMB_OK && (state[RING] == LMB_NONE || state[FRESH] == LMB_NONE))
        b->status = LMB_FAIL(b->err, LMB_E_ARG, "there is no memory %d in the graph that is trained", of);
    if (b->status != LMB_OK)
        return LMB_NONE;
    /* 1 where a row is fresh, whose numbers are at least -1; 0 where it is empty */
    lmb_vid above = of_two(b, "Mul", of_two(b, "Add", state[FRESH], lmb_emit_scalar(b, 1.5f)), lmb_emit_scalar(b, 4));
    lmb_vid now = put_in(b, state, is_one(b, above)), there = is_one(b, where);
    if (b->status != LMB_OK)
        return LMB_NONE;
    lmb_shape s = lmb_builder_value(b, rows)->shape;
    lmb_vid own = placed(b, there, ones(b, s.d[0], s.d[1]));
    lmb_vid mark = of_two(b, "Sub", of_two(b, "Mul", own, lmb_emit_scalar(b, -EMPTY)), lmb_emit_scalar(b, -EMPTY));
    lmb_vid fresh = of_two(b, "Add", placed(b, there, rows), mark);
    if (b->status == LMB_OK) {
        b->g->value[state[RING]].next = now;
        b->g->value[state[FRESH]].next = fresh;
    }
    return now;
}

lmb_status lmb_memory_where(const lmb_step_info *info, const lmb_place *place, int64_t n, int64_t slots, float *where,
                            lmb_error *err)
{
    int64_t rows = place->rows > n ? place->rows : n;

    if (rows > slots)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the memory of the loss has %lld rows and a batch %lld: give it more than a batch",
                        (long long)slots, (long long)rows);
    memset(where, 0, sizeof *where * (size_t)(n * slots));
    for (int64_t i = 0; i < n; i++) {
        int64_t sample = info->sample ? (int64_t)info->sample[i] : place->row + i;
        where[i * slots + (place->shown + place->row + i) % slots] = (float)(sample % SAMPLES + 1);
    }
    return LMB_OK;
}
