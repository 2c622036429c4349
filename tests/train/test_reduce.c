/* Mirrors train/reduce.c: ranks are threads here, and a mailbox stands in for MPI. Every sum is compared, to the bit,
 * with the tree written down a second time. */
#include "train/reduce.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "tests/check_main.h"

enum { MAX_RANKS = 4, SLOTS = 4, SEGMENTS = 5, COUNT = 700, WIDTH = LMBI_SUMS + COUNT };

static const size_t counts[SEGMENTS] = { 300, 1, 1, 150, 248 };
static lmb_segment segments[SEGMENTS];
static lmb_state_layout layout = { SEGMENTS, segments, COUNT, { { 0 } } };

static void make_layout(void)
{
    size_t at = 0;
    for (int i = 0; i < SEGMENTS; i++) {
        segments[i] = (lmb_segment){ .offset = at,
                                     .count = counts[i],
                                     .reduce = i == 1   ? LMB_REDUCE_MIN
                                               : i == 2 ? LMB_REDUCE_MAX
                                                        : LMB_REDUCE_MEAN };
        at += counts[i];
    }
    ck_assert_uint_eq(at, COUNT);
}

/* ---- ranks in one process ---- */

typedef struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    const void *letter[MAX_RANKS][MAX_RANKS];
    pthread_barrier_t all;
    int gathered[MAX_RANKS];
    void *part[MAX_RANKS]; /* what ranks share */
} mailbox;
/* node: which ranks share memory, the same number for those that do. */
typedef struct fake { lmb_comm base; mailbox *m; bool broken; int exchanges; const int *node; lmb_shared shared; } fake;

static lmb_status fake_gather(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *e)
{
    mailbox *m = ((fake *)c)->m;

    (void)e;
    ck_assert_uint_eq(n, sizeof m->gathered[0]);
    memcpy(&m->gathered[c->rank], mine, n);
    pthread_barrier_wait(&m->all);
    memcpy(all, m->gathered, n * (size_t)c->size);
    pthread_barrier_wait(&m->all);
    return LMB_OK;
}

static lmb_status fake_share(lmb_comm *c, size_t bytes, const lmb_shared **out, lmb_error *e)
{
    fake *f = (fake *)c;

    (void)e;
    if (!f->m->part[c->rank])
        f->m->part[c->rank] = calloc(1, bytes); /* kept, as a communicator keeps it */
    pthread_barrier_wait(&f->m->all);
    f->shared = (lmb_shared){ 0, calloc(MAX_RANKS, sizeof(int)), calloc(MAX_RANKS, sizeof(void *)) };
    for (int r = 0; r < c->size; r++)
        if (f->node[r] == f->node[c->rank]) {
            f->shared.rank[f->shared.n] = r;
            f->shared.part[f->shared.n++] = f->m->part[r];
        }
    *out = &f->shared;
    return LMB_OK;
}

static void fake_unshare(lmb_comm *c, const lmb_shared *s)
{
    (void)c;
    free(s->rank);
    free(s->part);
}

static lmb_status fake_exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *e)
{
    fake *f = (fake *)c;
    mailbox *m = f->m;

    f->exchanges++;
    if (f->broken)
        return LMB_FAIL(e, LMB_E_PEER, "the wire is cut");
    pthread_mutex_lock(&m->lock);
    if (to >= 0)
        m->letter[c->rank][to] = send;
    pthread_cond_broadcast(&m->moved);
    if (from >= 0) {
        while (!m->letter[from][c->rank])
            pthread_cond_wait(&m->moved, &m->lock);
        memcpy(recv, m->letter[from][c->rank], n);
        m->letter[from][c->rank] = NULL;
        pthread_cond_broadcast(&m->moved);
    }
    while (to >= 0 && m->letter[c->rank][to]) /* until it is read: the caller may change it then */
        pthread_cond_wait(&m->moved, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return LMB_OK;
}

/* ---- a batch ---- */

typedef struct job {
    int ranks, shards;      /* shards of all ranks that have samples */
    size_t bucket_bytes;
    bool any_thread;
    int way;
    const int *node;        /* [ranks] */
    bool alone;             /* set: no exchange of messages was seen */
    mailbox m;
    fake comm[MAX_RANKS];
    float *result[MAX_RANKS]; /* [batches][WIDTH] */
} job;
enum { BATCHES = 3 };

static float content(int batch, int shard, size_t i)
{
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, (uint32_t)batch, (uint64_t)shard);
    float v = lmb_rand_normal(&r, (uint32_t)i);
    return i % 50 == 17 ? -0.0f : v; /* a sign that a careless neutral element would lose */
}

static float weight_of(const job *j, int shard) { return shard + 1 < j->shards ? 0.3f : 0.1f; }

typedef struct rank { job *j; int rank, batch; lmbi_reducer *r; } rank;

/* As the backward pass does: from the last bucket to the first. */
static void fill(void *ctx, int slot, int worker)
{
    rank *k = ctx;
    float *v = lmbi_reducer_slot(k->r, slot);
    (void)worker;
    for (int b = 0; b < lmbi_reducer_buckets(k->r); b++) {
        const lmbi_bucket *at = lmbi_reducer_bucket(k->r, b);
        for (size_t i = at->lo; i < at->lo + at->n; i++)
            v[i] = content(k->batch, k->rank * SLOTS + slot, i);
        lmbi_reducer_done(k->r, b);
    }
}

static void *run_rank(void *arg)
{
    rank *k = arg;
    job *j = k->j;
    lmb_error err = LMB_ERROR_INIT;
    lmb_pool *pool;
    int first = k->rank * SLOTS, filled = j->shards - first;
    float weight[SLOTS], *sum;

    filled = filled < 0 ? 0 : filled > SLOTS ? SLOTS : filled;
    for (int i = 0; i < filled; i++)
        weight[i] = weight_of(j, first + i);
    ck_ok(lmb_pool_create(2, &pool, &err));
    ck_ok(lmbi_reducer_create(&layout, &j->comm[k->rank].base, SLOTS, j->bucket_bytes, j->way, 1, &k->r, &err));
    for (k->batch = 0; k->batch < BATCHES; k->batch++) {
        lmbi_reducer_begin(k->r, filled, weight);
        lmb_pool_run(pool, filled, fill, k);
        ck_ok(lmbi_reducer_end(k->r, pool, false, &sum, &err));
        memcpy(j->result[k->rank] + k->batch * WIDTH, sum, WIDTH * sizeof *sum);
    }
    lmbi_reducer_destroy(k->r);
    lmb_pool_destroy(pool);
    return NULL;
}

static void run(job *j)
{
    pthread_t thread[MAX_RANKS];
    rank k[MAX_RANKS];

    make_layout();
    pthread_mutex_init(&j->m.lock, NULL);
    pthread_cond_init(&j->m.moved, NULL);
    pthread_barrier_init(&j->m.all, NULL, (unsigned)j->ranks);
    for (int i = 0; i < j->ranks; i++) {
        j->comm[i] = (fake){ .base = { .rank = i,
                                       .size = j->ranks,
                                       .name = "fake",
                                       .exchange = fake_exchange,
                                       .gather_all = fake_gather,
                                       .any_thread = j->any_thread,
                                       .share = fake_share,
                                       .unshare = fake_unshare },
                             .m = &j->m,
                             .node = j->node };
        j->result[i] = calloc(BATCHES * WIDTH, sizeof(float));
        k[i] = (rank){ j, i, 0, NULL };
    }
    for (int i = 0; i < j->ranks; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, run_rank, &k[i]), 0);
    for (int i = 0; i < j->ranks; i++)
        pthread_join(thread[i], NULL);
    j->alone = true;
    for (int i = 0; i < j->ranks; i++) {
        j->alone = j->alone && j->comm[i].exchanges == 0;
        free(j->m.part[i]);
    }
    pthread_barrier_destroy(&j->m.all);
    pthread_mutex_destroy(&j->m.lock);
    pthread_cond_destroy(&j->m.moved);
}

/* ---- the tree a second time, element by element ---- */

static int kind(size_t i)
{
    for (int s = 1; s < 3; s++)
        if (i == LMBI_SUMS + segments[s].offset)
            return s;
    return 0;
}

/* Sum of shards [lo, lo + n), n a power of two; false: there is none. */
static bool tree(const job *j, int batch, size_t i, int lo, int n, float *out)
{
    float b;

    if (lo >= j->shards)
        return false;
    if (n == 1) {
        *out = content(batch, lo, i) * (kind(i) || i < LMBI_SUMS ? 1 : weight_of(j, lo));
        return true;
    }
    tree(j, batch, i, lo, n / 2, out);
    if (tree(j, batch, i, lo + n / 2, n / 2, &b))
        *out = kind(i) == 1 ? fminf(*out, b) : kind(i) == 2 ? fmaxf(*out, b) : *out + b;
    return true;
}

static void check_against_tree(job *j)
{
    run(j);
    for (int r = 0; r < j->ranks; r++) {
        for (int b = 0; b < BATCHES; b++)
            for (size_t i = 0; i < WIDTH; i++) {
                float want;
                const float *got = &j->result[r][(size_t)b * WIDTH + i];
                tree(j, b, i, 0, j->ranks * SLOTS, &want);
                ck_assert_msg(memcmp(&want, got, sizeof want) == 0,
                              "rank %d of %d, %d shards, buckets of %zu bytes, number %zu: %a, not %a", r, j->ranks,
                              j->shards, j->bucket_bytes, i, (double)*got, (double)want);
            }
        free(j->result[r]);
    }
}

static const int one_node[MAX_RANKS] = { 0 }, two_nodes[MAX_RANKS] = { 0, 0, 1, 1 },
                 no_nodes[MAX_RANKS] = { 0, 1, 2, 3 };
static const struct { const char *name; int way; const int *node;
} ways[] = { { "messages", LMBI_MESSAGES, one_node },
             { "one node", LMBI_WINDOW, one_node },
             { "two nodes", LMBI_AUTO, two_nodes },
             { "each on a node of its own", LMBI_AUTO, no_nodes } };

START_TEST(every_sum_is_the_tree)
{
    static const size_t buckets[] = { 0, 1, 1000, 100000 };
    for (int ranks = 1; ranks <= MAX_RANKS; ranks *= 2)
        for (int shards = 1; shards <= ranks * SLOTS; shards += 1 + ranks)
            for (int k = 0; k < 8; k++) {
                job j = { .ranks = ranks,
                          .shards = shards,
                          .bucket_bytes = buckets[k / 2],
                          .any_thread = k % 2,
                          .way = ways[_i].way,
                          .node = ways[_i].node };
                check_against_tree(&j);
                ck_assert_msg(j.alone ==
                                  (ranks == 1 || (ways[_i].way != LMBI_MESSAGES && ways[_i].node[ranks - 1] == 0)),
                              "%s: messages", ways[_i].name);
            }
}
END_TEST

/* Three ranks sum along no power of two, and nodes of which a tree can not be made exchange messages: the same bits. */
START_TEST(odd_places_change_no_bit)
{
    static const int odd[][MAX_RANKS] = { { 0, 0, 1 }, { 0, 1, 0 }, { 0, 0, 0 }, { 0, 1, 0, 1 }, { 0, 1, 1, 0 }, { 0,
        1, 1, 1 } };
    for (int i = 0; i < 6; i++) {
        int ranks = i < 3 ? 3 : 4;
        job want = { .ranks = ranks, .shards = 11, .bucket_bytes = 1, .way = LMBI_MESSAGES }, got = want;
        got.way = LMBI_AUTO;
        got.node = odd[i];
        got.any_thread = true;
        run(&want);
        run(&got);
        ck_assert(got.alone == (i == 2) && !want.alone);
        for (int r = 0; r < ranks; r++) {
            ck_assert(memcmp(want.result[r], got.result[r], BATCHES * WIDTH * sizeof(float)) == 0);
            free(want.result[r]);
            free(got.result[r]);
        }
    }
}
END_TEST

/* A window that is insisted on and can not be is a sentence. */
START_TEST(no_window_says_why)
{
    lmb_error err = LMB_ERROR_INIT;
    static const int scattered[2] = { 0, 1 };
    mailbox m = { .gathered = { 0 } };
    fake f = { .base = { .rank = 0,
                         .size = 1,
                         .name = "fake",
                         .gather_all = fake_gather,
                         .share = fake_share,
                         .unshare = fake_unshare },
               .m = &m,
               .node = scattered };
    lmb_window *w;

    pthread_barrier_init(&m.all, NULL, 1);
    ck_ok(lmb_window_open(&f.base, 100, true, &w, &err));
    ck_assert(lmb_window_one_node(w));
    lmb_window_close(w);
    f.base.share = NULL;
    ck_ok(lmb_window_open(&f.base, 100, false, &w, &err));
    ck_assert_ptr_null(w);
    ck_assert_int_eq(lmb_window_open(&f.base, 100, true, &w, &err), LMB_E_PEER);
    ck_assert_ptr_nonnull(strstr(err.msg, "share no memory; use train.reduce=auto"));
    pthread_barrier_destroy(&m.all);
    free(m.part[0]);
}
END_TEST

START_TEST(buckets_go_from_the_end_to_the_front)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_comm alone = { .size = 1 };
    lmbi_reducer *r;
    size_t end = WIDTH;
    int last = SEGMENTS;

    make_layout();
    ck_ok(lmbi_reducer_create(&layout, &alone, 1, 500, LMBI_AUTO, 1, &r, &err));
    ck_assert_int_eq(lmbi_reducer_buckets(r), 3); /* 248; 150; 1 + 1 + 300 and the sums */
    for (int b = 0; b < 3; b++) {
        const lmbi_bucket *k = lmbi_reducer_bucket(r, b);
        ck_assert(k->lo + k->n == end && k->last == last);
        end = k->lo;
        last = k->first;
    }
    ck_assert(end == 0 && last == 0);
    lmbi_reducer_destroy(r);
}
END_TEST

/* Whatever the threads are at, end() comes back: with the error of the wire, or for a batch that was given up. */
START_TEST(failures_do_not_hang)
{
    job j = { .ranks = 2, .any_thread = true };
    const float weight[SLOTS] = { 1, 1, 1, 1 };
    float *sum;

    make_layout();
    for (int broken = 0; broken < 2; broken++) {
        lmb_error err = LMB_ERROR_INIT;
        rank k = { &j, 0, 0, NULL };
        j.comm[0] = (fake){ .base = { .rank = 0, .size = 2, .exchange = fake_exchange, .any_thread = true },
                            .m = &j.m,
                            .broken = broken };
        ck_ok(lmbi_reducer_create(&layout, &j.comm[0].base, SLOTS, 1, LMBI_MESSAGES, 1, &k.r, &err));
        lmbi_reducer_begin(k.r, SLOTS, weight);
        for (int s = 0; s < SLOTS - !broken; s++)
            fill(&k, s, 0);
        ck_assert_int_eq(lmbi_reducer_end(k.r, NULL, !broken, &sum, &err), broken ? LMB_E_PEER : LMB_OK);
        if (broken)
            ck_assert_str_eq(err.msg, "the wire is cut");
        lmbi_reducer_destroy(k.r);
        ck_assert_int_eq(j.comm[0].exchanges,
                         broken); /* nothing after the first failure; nothing of a batch given up */
    }
}
END_TEST

LMB_TEST_MAIN("train/reduce", add_loop(every_sum_is_the_tree, 4); add(odd_places_change_no_bit);
              add(no_window_says_why); add(buckets_go_from_the_end_to_the_front); add(failures_do_not_hang);)
