/* train/memory.c - see memory.h. */
#include "train/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"

enum { NAME = 64, RING = 0, FRESH = 1 };
static const float EMPTY = -2;

static void name_of(int of, int which, char out[NAME])
{
    snprintf(out, NAME, "limbeck.memory%d.%s", of, which == RING ? "rows" : "fresh");
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
    lmb_shape shape = LMB_SHAPE(slots, width);
    float *v = malloc(sizeof *v * (size_t)(slots * width));
    lmb_status st = v ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld rows", (long long)slots);
    char name[NAME];

    for (int which = RING; which <= FRESH && st == LMB_OK; which++) {
        lmb_vid id;
        if (which == RING)
            random_rows(v, slots, width, &r);
        for (int64_t i = 0; which == FRESH && i < slots * width; i++)
            v[i] = EMPTY;
        name_of(of, which, name);
        st = lmb_graph_value(g, LMB_ROLE_STATISTIC, name, LMB_F32, &shape, v, &id, err);
        if (st == LMB_OK) {
            g->value[id].reduce = LMB_REDUCE_MAX;
            g->value[id].decay = 0;
        }
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
    lmb_vid is = lmb_emit(b, "Clip", NULL, LMB_IN(above, lmb_emit_scalar(b, 0), lmb_emit_scalar(b, 1)), LMB_NO_ATTRS);
    lmb_vid kept = of_two(b, "Mul", state[RING], of_two(b, "Sub", lmb_emit_scalar(b, 1), is));
    lmb_vid now = of_two(b, "Add", kept, of_two(b, "Mul", state[FRESH], is));
    if (b->status != LMB_OK)
        return LMB_NONE;
    lmb_shape s = lmb_builder_value(b, rows)->shape;
    lmb_vid own = placed(b, where, ones(b, s.d[0], s.d[1]));
    lmb_vid mark = of_two(b, "Sub", of_two(b, "Mul", own, lmb_emit_scalar(b, -EMPTY)), lmb_emit_scalar(b, -EMPTY));
    lmb_vid fresh = of_two(b, "Add", placed(b, where, rows), mark);
    if (b->status == LMB_OK) {
        b->g->value[state[RING]].next = now;
        b->g->value[state[FRESH]].next = fresh;
    }
    return now;
}

lmb_status lmb_memory_where(const lmb_place *place, int64_t n, int64_t slots, float *where, lmb_error *err)
{
    int64_t rows = place->rows > n ? place->rows : n;

    if (rows > slots)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the memory of the loss has %lld rows and a batch %lld: give it more than a batch",
                        (long long)slots, (long long)rows);
    memset(where, 0, sizeof *where * (size_t)(n * slots));
    for (int64_t i = 0; i < n; i++)
        where[i * slots + (place->shown + place->row + i) % slots] = 1;
    return LMB_OK;
}
