/* comm/window.c - see window.h. */
#include "comm/window.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/threads.h"

/* In front of a rank's vector. Counts go on from one user of the memory to the next. */
typedef struct head {
    _Atomic uint32_t phase;   /* how many times the rank has come to a meeting */
    _Atomic uint32_t sleepers; /* ranks that wait for it to change */
} head;
enum { HEAD = 64, LINE = 16 /* floats */ };

struct lmb_window {
    lmb_comm *c;
    const lmb_shared *shared;
    int me;             /* place on this node */
    uint32_t phase;
    float *scratch;     /* [floats]: what other nodes send; NULL on one node */
};

static head *head_of(const lmb_window *w, int i) { return (head *)w->shared->part[i]; }
static float *vector_of(const lmb_window *w, int i) { return (float *)((char *)w->shared->part[i] + HEAD); }

float *lmb_window_vector(const lmb_window *w) { return vector_of(w, w->me); }
bool lmb_window_one_node(const lmb_window *w) { return w->shared->n == w->c->size; }

/* ---- waiting ---- */

static bool reached(const head *h, uint32_t phase)
{
    return (int32_t)(atomic_load_explicit(&h->phase, memory_order_acquire) - phase) >= 0;
}

typedef struct meeting { const head *h; uint32_t phase; } meeting;

static bool is_there(void *ctx)
{
    const meeting *m = ctx;
    return reached(m->h, m->phase);
}

static void wait_for(head *h, uint32_t phase, bool alert)
{
    const struct timespec nap = { 0, 100000000 }; /* a wake that is lost costs no more than this */
    meeting m = { h, phase };

    if (alert)
        lmb_wait_briefly(is_there, &m);
    while (!reached(h, phase)) {
        atomic_fetch_add(&h->sleepers, 1);
        uint32_t seen = atomic_load(&h->phase);
        if ((int32_t)(seen - phase) < 0)
            syscall(SYS_futex, &h->phase, FUTEX_WAIT, seen, &nap, NULL, 0);
        atomic_fetch_sub(&h->sleepers, 1);
    }
}

/* Until every rank of the node has come here as often as this one. What they wrote before is seen after. */
static void meet(lmb_window *w, bool alert)
{
    head *mine = head_of(w, w->me);

    atomic_store(&mine->phase, ++w->phase);
    if (atomic_load(&mine->sleepers) > 0)
        syscall(SYS_futex, &mine->phase, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    for (int i = 0; i < w->shared->n; i++)
        if (i != w->me)
            wait_for(head_of(w, i), w->phase, alert);
}

/* ---- a sum ---- */

/* Positions that this rank works off, whole cache lines. */
static void share_of(const lmb_window *w, size_t n, size_t *lo, size_t *hi)
{
    size_t k = (size_t)w->shared->n, me = (size_t)w->me, lines = (n + LINE - 1) / LINE;

    *lo = lines * me / k * LINE;
    *hi = lines * (me + 1) / k * LINE;
    *lo = *lo < n ? *lo : n;
    *hi = *hi < n ? *hi : n;
}

/* The tree of lmb_comm_reduce_all over the parts of this node, into the first. */
static void add_up(lmb_window *w, size_t at, size_t lo, size_t n, lmb_combine combine, void *ctx)
{
    int k = w->shared->n, power = lmbi_comm_power(k);

    for (int i = power; i < k; i++)
        combine(ctx, vector_of(w, i - power) + at + lo, vector_of(w, i) + at + lo, lo, n);
    for (int step = 1; step < power; step *= 2)
        for (int i = 0; i + step < power; i += 2 * step)
            combine(ctx, vector_of(w, i) + at + lo, vector_of(w, i + step) + at + lo, lo, n);
}

lmb_status lmb_window_reduce(lmb_window *w, size_t at, size_t n, bool alert, lmb_combine combine, void *ctx,
                             lmb_error *err)
{
    size_t lo, hi;

    share_of(w, n, &lo, &hi);
    meet(w, alert);
    if (lo < hi) {
        float *sum = vector_of(w, 0) + at + lo;
        add_up(w, at, lo, hi - lo, combine, ctx);
        if (!lmb_window_one_node(w))
            LMB_TRY(
                lmbi_comm_reduce_stride(w->c, w->shared->n, sum, w->scratch + at + lo, lo, hi - lo, combine, ctx, err));
        for (int i = 1; i < w->shared->n; i++)
            memcpy(vector_of(w, i) + at + lo, sum, (hi - lo) * sizeof *sum);
    }
    meet(w, true); /* the others have as much to add up as this one */
    return LMB_OK;
}

/* ---- life ---- */

static bool power_of_two(int n) { return (n & (n - 1)) == 0; }

/* Is the tree over this node's ranks a subtree of the tree over all? */
static bool fits(const lmb_comm *c, const lmb_shared *s)
{
    if (s->n == c->size)
        return true;
    for (int i = 0; i < s->n; i++)
        if (s->rank[i] != s->rank[0] + i)
            return false;
    return power_of_two(s->n) && power_of_two(c->size) && s->rank[0] % s->n == 0;
}

/* Every rank's number of ranks on its node, 0 where it can not be. */
static lmb_status agree(lmb_comm *c, int n, bool *all, lmb_error *err)
{
    int *each = malloc(sizeof *each * (size_t)c->size);
    lmb_status st =
        each ? c->gather_all(c, &n, each, sizeof n, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare nodes");

    *all = n > 0;
    for (int r = 0; r < c->size && st == LMB_OK; r++)
        *all = *all && each[r] == n;
    free(each);
    return st;
}

static lmb_status set_up(lmb_window *w, size_t floats, lmb_error *err)
{
    const lmb_shared *s = w->shared;

    while (s->rank[w->me] != w->c->rank)
        w->me++;
    w->phase = head_of(w, w->me)->phase;
    if (s->n < w->c->size && !(w->scratch = malloc(sizeof *w->scratch * (floats + 1))))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to sum %zu numbers over nodes", floats);
    return LMB_OK;
}

lmb_status lmb_window_open(lmb_comm *c, size_t floats, bool must, lmb_window **out, lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT;
    const lmb_shared *s = NULL;
    bool all;

    *out = NULL;
    lmb_status st = c->share ? c->share(c, HEAD + sizeof(float) * floats, &s, &local)
                             : LMB_FAIL(&local, LMB_E_UNSUPPORTED, "ranks of kind '%s' share no memory", c->name);
    bool good = st == LMB_OK && fits(c, s);
    if (st == LMB_OK && !good)
        st = LMB_FAIL(&local, LMB_E_PEER,
                      "rank %d: the %d ranks of its node are no power of two of neighbours, or the job has no power of "
                      "two of ranks (mpirun --map-by node:... spreads neighbours; --map-by slot does not)",
                      c->rank, s->n);
    LMB_TRY(agree(c, good ? s->n : 0, &all, err));
    lmb_window *w = all ? calloc(1, sizeof *w) : NULL;
    if (w) {
        *w = (lmb_window){ .c = c, .shared = s };
        st = set_up(w, floats, err);
        *out = st == LMB_OK ? w : NULL;
        if (st != LMB_OK)
            lmb_window_close(w);
        return st;
    }
    if (s)
        c->unshare(c, s);
    if (all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a window");
    if (must)
        return LMB_FAIL(err, LMB_E_PEER, "no sums through shared memory: %s; use train.reduce=auto or messages",
                        local.msg[0] ? local.msg : "another node can not, or has another number of ranks");
    return LMB_OK;
}

void lmb_window_close(lmb_window *w)
{
    if (!w)
        return;
    w->c->unshare(w->c, w->shared);
    free(w->scratch);
    free(w);
}
