/* Mirrors comm/scatter.c: parts of a sum have the bits of the whole sum, on any number of ranks and with any cuts; put
 * together they are the same everywhere. */
#include "comm/scatter.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check_main.h"

enum { MOST = 8, N = 1000 };

/* Ranks are threads; a letter from each to each, one at a time. */
typedef struct post {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    const void *letter[MOST][MOST];
} post;
typedef struct rank {
    lmb_comm base;
    post *p;
    float v[N], whole[N], scratch[N];
    const size_t *cut;
    size_t at;
    lmb_error err;
    lmb_status st;
} rank;

static lmb_status exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *e)
{
    post *p = ((rank *)c)->p;

    (void)e;
    pthread_mutex_lock(&p->lock);
    if (to >= 0)
        p->letter[c->rank][to] = send;
    pthread_cond_broadcast(&p->moved);
    while (from >= 0 && !p->letter[from][c->rank])
        pthread_cond_wait(&p->moved, &p->lock);
    if (from >= 0) {
        memcpy(recv, p->letter[from][c->rank], n);
        p->letter[from][c->rank] = NULL;
        pthread_cond_broadcast(&p->moved);
    }
    while (to >= 0 && p->letter[c->rank][to])
        pthread_cond_wait(&p->moved, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return LMB_OK;
}

/* Not associative in floats, and told apart by position: a part that is added in another order or place shows. */
static void combine(void *ctx, float *into, const float *from, size_t at, size_t n)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        into[i] = into[i] + from[i] + (float)((at + i) % 7) * 1e-3f;
}

/* -1: the rank keeps none. */
static int part_of(const lmb_comm *c, int of)
{
    int part = lmb_comm_parts(c) - 1;
    while (part >= 0 && lmb_comm_keeper(c, part) != of)
        part--;
    return part;
}

static void *run(void *arg)
{
    rank *r = arg;
    size_t front = r->cut[0], n = r->cut[lmb_comm_parts(&r->base)] - front;

    memcpy(r->whole, r->v, sizeof r->v);
    r->st = lmbi_comm_reduce_stride(&r->base, 1, r->whole + front, r->scratch, front, n, combine, NULL, &r->err);
    if (r->st == LMB_OK)
        r->st = lmb_comm_reduce_scatter(&r->base, r->v, r->scratch, r->cut, combine, NULL, &r->err);
    int part = part_of(&r->base, r->base.rank);
    for (size_t i = 0; i < N; i++) /* nothing but its part is used of any rank */
        if (part < 0 || i < r->cut[part] || i >= r->cut[part + 1])
            r->v[i] = -1e9f;
    if (r->st == LMB_OK)
        r->st = lmb_comm_gather_parts(&r->base, r->v, r->scratch, r->cut, &r->err);
    return NULL;
}

static void try(int ranks, const size_t *cut)
{
    lmb_error err = LMB_ERROR_INIT;
    post p = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
    rank *r = calloc(MOST, sizeof *r);
    pthread_t thread[MOST];
    int parts = 1;

    for (int k = 0; k < ranks; k++) {
        r[k] = (rank){ .base = { .rank = k, .size = ranks, .name = "threads", .exchange = exchange },
                       .p = &p,
                       .cut = cut };
        for (int i = 0; i < N; i++)
            r[k].v[i] = 1.0f / (float)(1 + (i * 31 + k * 17) % 101);
    }
    for (int k = 0; k < ranks; k++)
        ck_assert_int_eq(pthread_create(&thread[k], NULL, run, &r[k]), 0);
    for (int k = 0; k < ranks; k++)
        pthread_join(thread[k], NULL);
    parts = lmb_comm_parts(&r[0].base);
    for (int k = 0; k < ranks; k++) {
        err = r[k].err;
        ck_ok(r[k].st);
        ck_assert_mem_eq(r[k].v + cut[0], r[0].whole + cut[0], (cut[parts] - cut[0]) * sizeof(float));
        for (size_t i = 0; i < N; i++) /* nobody wrote outside */
            ck_assert(i >= cut[0] && i < cut[parts] ? r[k].v[i] > 0 : r[k].v[i] < 0);
        int part = part_of(&r[k].base, k);
        ck_assert(part < 0 ? k >= parts : lmb_comm_keeper(&r[k].base, part) == k);
    }
    free(r);
}

START_TEST(parts_are_those_of_the_whole_sum)
{
    for (int ranks = 1; ranks <= MOST; ranks++) {
        int parts = 1;
        size_t cut[MOST + 1];
        while (parts * 2 <= ranks)
            parts *= 2;
        for (int k = 0; k <= parts; k++) /* even */
            cut[k] = 3 + (size_t)(N - 9) * (size_t)k / (size_t)parts;
        try(ranks, cut);
        for (int k = 0; k <= parts; k++) /* uneven, some of them empty */
            cut[k] = k == 0 ? 10 : k < parts ? 10 + (size_t)(k / 2) * 113 : N - 5;
        try(ranks, cut);
    }
}
END_TEST

LMB_TEST_MAIN("comm/scatter", add(parts_are_those_of_the_whole_sum);)
