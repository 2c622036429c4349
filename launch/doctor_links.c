/* launch/doctor_links.c - how fast the ranks of a job talk to each other, and whether they hear the right thing. See
 * doctor.h.
 *
 * Idea: each collective runs a few times from a meeting of all ranks on; the shortest time of a rank is the least
 * disturbed one, and the slowest rank decides, as it does in training.
 */
#include <stdlib.h>
#include <string.h>

#include "comm/window.h"
#include "core/base/threads.h"
#include "launch/doctor.h"

enum { MOST = 16 << 20, SEED = 40503 };

typedef struct bench {
    lmb_comm *c;
    float *v, *other;   /* MOST bytes each */
    float *all;         /* of all ranks    */
    lmb_window *window; /* or NULL        */
    size_t n;           /* floats at work  */
} bench;

/* Whole numbers, so that sums are exact in f32. */
static float number(int rank, size_t i) { return (float)((i * 31 + (size_t)rank * 7 + SEED) % 1024); }

static void fill(float *v, int rank, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = number(rank, i);
}

static bool same(const float *v, int rank, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] != number(rank, i))
            return false;
    return true;
}

static bool is_sum(const float *v, int size, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (int r = 0; r < size; r++)
            sum += number(r, i);
        if (v[i] != sum)
            return false;
    }
    return true;
}

static void plus(void *ctx, float *into, const float *from, size_t at, size_t n)
{
    (void)ctx, (void)at;
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

/* A way to talk: prepare, do (timed), check. */
typedef struct way {
    const char *what;
    size_t most;
    void (*prepare)(bench *b);
    lmb_status (*run)(bench *b, lmb_error *err);
    bool (*check)(const bench *b);
} way;

static void prepare_own(bench *b) { fill(b->v, b->c->rank, b->n); }
static void prepare_window(bench *b) { fill(lmb_window_vector(b->window), b->c->rank, b->n); }

static lmb_status run_ring(bench *b, lmb_error *err)
{
    int me = b->c->rank, size = b->c->size;
    return b->c->exchange(b->c, b->v, (me + 1) % size, b->other, (me + size - 1) % size, b->n * sizeof *b->v, err);
}
static bool check_ring(const bench *b) { return same(b->other, (b->c->rank + b->c->size - 1) % b->c->size, b->n); }

static lmb_status run_broadcast(bench *b, lmb_error *err)
{
    return b->c->broadcast(b->c, b->v, b->n * sizeof *b->v, 0, err);
}
static bool check_broadcast(const bench *b) { return same(b->v, 0, b->n); }

static lmb_status run_gather(bench *b, lmb_error *err)
{
    return b->c->gather_all(b->c, b->v, b->all, b->n * sizeof *b->v, err);
}
static bool check_gather(const bench *b)
{
    for (int r = 0; r < b->c->size; r++)
        if (!same(b->all + (size_t)r * b->n, r, b->n))
            return false;
    return true;
}

static lmb_status run_sum(bench *b, lmb_error *err)
{
    return lmb_comm_reduce_all(b->c, b->v, b->other, b->n, plus, NULL, err);
}
static bool check_sum(const bench *b) { return is_sum(b->v, b->c->size, b->n); }

static lmb_status run_window(bench *b, lmb_error *err)
{
    return lmb_window_reduce(b->window, 0, b->n, true, plus, NULL, err);
}
static bool check_window(const bench *b) { return is_sum(lmb_window_vector(b->window), b->c->size, b->n); }

enum { GATHER_MOST = 64 << 10 }; /* control data; its room is that times the ranks */

static const way ways[] = {
    { "to the next rank", MOST, prepare_own, run_ring, check_ring },
    { "broadcast", MOST, prepare_own, run_broadcast, check_broadcast },
    { "gather", GATHER_MOST, prepare_own, run_gather, check_gather },
    { "sum by messages", MOST, prepare_own, run_sum, check_sum },
    { "sum in shared memory", MOST, prepare_window, run_window, check_window }, /* last: only where there is some */
    { NULL, 0, NULL, NULL, NULL },
};

static lmb_status meet(lmb_comm *c, lmb_error *err)
{
    char mine = 0, *all = malloc((size_t)c->size);
    lmb_status st =
        all ? c->gather_all(c, &mine, all, 1, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d ranks", c->size);
    free(all);
    return st;
}

/* What the ranks say of one size: the slowest one's time, and who heard something wrong. */
static lmb_status conclude(bench *b, const way *w, double best, bool right, double *seconds, lmb_error *err)
{
    double mine[2] = { best, right ? 0 : 1 }, *all = malloc(sizeof mine * (size_t)b->c->size), slowest = 0;
    lmb_status st = all ? b->c->gather_all(b->c, mine, all, sizeof mine, err)
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory for ranks' times");

    for (int r = 0; r < b->c->size && st == LMB_OK; r++) {
        slowest = all[2 * r] > slowest ? all[2 * r] : slowest;
        if (all[2 * r + 1] != 0)
            st =
                LMB_FAIL(err, LMB_E_PEER,
                         "rank %d got wrong numbers from: %s, %zu bytes; see that all ranks have the same MPI, and try "
                         "other links (for Open MPI: --mca btl tcp,self)",
                         r, w->what, b->n * sizeof *b->v);
    }
    free(all);
    if (st == LMB_OK)
        *seconds = slowest;
    return st;
}

static lmb_status measure(bench *b, const way *w, double *seconds, lmb_error *err)
{
    int runs = b->n * sizeof *b->v > 1 << 20 ? 3 : 10;
    double best = 1e30;
    bool right = true;

    for (int i = 0; i < runs; i++) {
        w->prepare(b);
        LMB_TRY(meet(b->c, err));
        double start = lmb_seconds();
        LMB_TRY(w->run(b, err));
        double took = lmb_seconds() - start;
        best = took < best ? took : best;
        right = right && w->check(b);
    }
    return conclude(b, w, best, right, seconds, err);
}

lmb_status lmb_doctor_collectives(lmb_comm *c, lmb_link link[LMB_LINKS], int *n, lmb_error *err)
{
    static const size_t sizes[] = { 8, 64 << 10, 1 << 20, MOST };
    bench b = {
        .c = c, .v = malloc(MOST), .other = malloc(MOST), .all = malloc((size_t)GATHER_MOST * (size_t)c->size)
    };
    int k = 0;
    lmb_status st = LMB_OK;

    if (!b.v || !b.other || !b.all)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure with");
    if (st == LMB_OK)
        st = lmb_window_open(c, MOST / sizeof *b.v, false, &b.window, err);
    for (const way *w = ways; w->what && st == LMB_OK && c->size > 1; w++)
        for (int i = 0; i < 4 && st == LMB_OK && k < LMB_LINKS; i++) {
            if (sizes[i] > w->most || (w->run == run_window && !b.window))
                continue;
            b.n = sizes[i] / sizeof *b.v;
            link[k] = (lmb_link){ w->what, sizes[i], 0 };
            st = measure(&b, w, &link[k++].seconds, err);
        }
    lmb_window_close(b.window);
    free(b.v);
    free(b.other);
    free(b.all);
    if (st == LMB_OK)
        *n = k;
    return st;
}
