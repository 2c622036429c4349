/* launch/doctor_gpus.c - how fast the GPUs of a job talk to each other by NCCL, and whether they hear the right thing.
 *
 * Idea: the collectives that a training uses: the sum of gradients in f32 and bf16, its two halves (a rank keeps a part
 * of the optimizer), and what a pipeline's stages send each other. Numbers are 0 and 1, whose sums are exact in bf16,
 * too.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "launch/doctor.h"

enum { FLOATS = 4 << 20, RUNS = 10 };

typedef struct gpus {
    lmb_comm *c;
    const lmb_nccl_api *api;
    lmb_nccl *nccl;
    uint16_t *half;  /* [FLOATS] on the host, as bf16 */
    float *full;     /* [FLOATS] on the host          */
    void *from, *to; /* on the device                 */
    size_t n;        /* numbers at work               */
} gpus;

static int number(int rank, size_t i) { return (int)((i / 3 + (size_t)rank) % 2); }
static uint16_t as_bf16(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static int sum_of(const gpus *g, size_t i)
{
    int sum = 0;
    for (int r = 0; r < g->c->size; r++)
        sum += number(r, i);
    return sum;
}

typedef struct way {
    const char *what;
    lmb_nccl_type type;
    lmb_status (*run)(gpus *g, lmb_nccl_type t, lmb_error *err);
    int (*want)(const gpus *g, size_t i);
    size_t (*count)(const gpus *g); /* how many numbers of `to` are defined */
} way;

static const lmb_nccl_label measuring = { 0, -1 };

static lmb_status run_sum(gpus *g, lmb_nccl_type t, lmb_error *err)
{
    return lmb_nccl_sum(g->nccl, measuring, g->from, g->to, g->n, t, NULL, err);
}

/* Each rank's part in place, then all parts. */
static lmb_status run_halves(gpus *g, lmb_nccl_type t, lmb_error *err)
{
    size_t each = g->n / (size_t)g->c->size;
    float *part = (float *)g->to + (size_t)g->c->rank * each;
    LMB_TRY(lmb_nccl_sum_scatter(g->nccl, measuring, g->from, part, each, t, NULL, err));
    return lmb_nccl_gather(g->nccl, measuring, part, g->to, each, t, NULL, err);
}

static lmb_status run_ring(gpus *g, lmb_nccl_type t, lmb_error *err)
{
    int me = g->c->rank, size = g->c->size;
    return lmb_nccl_exchange(g->nccl, measuring, g->from, (me + 1) % size, g->to, (me + size - 1) % size, g->n, t, NULL,
                             err);
}

static int from_before(const gpus *g, size_t i) { return number((g->c->rank + g->c->size - 1) % g->c->size, i); }
static size_t all_of(const gpus *g) { return g->n; }
static size_t in_parts(const gpus *g) { return g->n / (size_t)g->c->size * (size_t)g->c->size; }

static const way ways[] = {
    { "GPUs: sum, f32", LMB_NCCL_F32, run_sum, sum_of, all_of },
    { "GPUs: sum, bf16", LMB_NCCL_BF16, run_sum, sum_of, all_of },
    { "GPUs: sum in parts", LMB_NCCL_F32, run_halves, sum_of, in_parts },
    { "GPUs: to the next", LMB_NCCL_F32, run_ring, from_before, all_of },
    { NULL, LMB_NCCL_F32, NULL, NULL, NULL },
};

static lmb_status check(const gpus *g, int code, const char *what, lmb_error *err)
{
    return code == LMB_NCCL_OK ? LMB_OK : LMB_FAIL(err, LMB_E_DEVICE, "%s: %s", what, g->api->text(code));
}

static lmb_status put(gpus *g, lmb_nccl_type t, lmb_error *err)
{
    for (size_t i = 0; i < g->n; i++) {
        g->full[i] = (float)number(g->c->rank, i);
        g->half[i] = as_bf16(g->full[i]);
    }
    const void *host = t == LMB_NCCL_BF16 ? (void *)g->half : (void *)g->full;
    size_t bytes = g->n * (t == LMB_NCCL_BF16 ? sizeof *g->half : sizeof *g->full);
    LMB_TRY(check(g, g->api->upload(g->from, host, bytes, lmb_nccl_stream(g->nccl)), "copying to a GPU", err));
    return lmb_nccl_wait(g->nccl, err);
}

static lmb_status right(gpus *g, const way *w, bool *out, lmb_error *err)
{
    void *host = w->type == LMB_NCCL_BF16 ? (void *)g->half : (void *)g->full;
    size_t bytes = g->n * (w->type == LMB_NCCL_BF16 ? sizeof *g->half : sizeof *g->full);

    LMB_TRY(check(g, g->api->download(host, g->to, bytes, lmb_nccl_stream(g->nccl)), "copying from a GPU", err));
    LMB_TRY(lmb_nccl_wait(g->nccl, err));
    *out = true;
    for (size_t i = 0; i < w->count(g); i++) {
        float want = (float)w->want(g, i);
        *out = *out && (w->type == LMB_NCCL_BF16 ? g->half[i] == as_bf16(want) : g->full[i] == want);
    }
    return LMB_OK;
}

static lmb_status measure(gpus *g, const way *w, double *seconds, lmb_error *err)
{
    double mine[2] = { 0, 0 }, *all = calloc((size_t)g->c->size, sizeof mine);
    bool good = false;
    lmb_status st = all ? put(g, w->type, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for ranks' times");

    for (int i = 0; i <= RUNS && st == LMB_OK; i++) { /* the first makes the connections; the clock starts after it */
        st = w->run(g, w->type, err);
        if (st == LMB_OK && (i == 0 || i == RUNS))
            st = lmb_nccl_wait(g->nccl, err);
        mine[0] = i == 0 ? lmb_seconds() : i == RUNS ? (lmb_seconds() - mine[0]) / RUNS : mine[0];
    }
    if (st == LMB_OK)
        st = right(g, w, &good, err);
    mine[1] = good ? 0 : 1;
    if (st == LMB_OK)
        st = g->c->gather_all(g->c, mine, all, sizeof mine, err);
    *seconds = 0;
    for (int r = 0; r < g->c->size && st == LMB_OK; r++) {
        *seconds = all[2 * r] > *seconds ? all[2 * r] : *seconds;
        if (all[2 * r + 1] != 0)
            st = LMB_FAIL(
                err, LMB_E_PEER,
                "rank %d got wrong numbers from its GPU (%s, %zu numbers); try NCCL_P2P_DISABLE=1, and look at "
                "nvidia-smi -q for errors of memory and links",
                r, w->what, g->n);
    }
    free(all);
    return st;
}

lmb_status lmb_doctor_gpus(lmb_comm *c, const lmb_nccl_api *api, int device, bool fixed_order, lmb_link link[LMB_LINKS],
                           int *n, lmb_error *err)
{
    static const size_t sizes[] = { 1 << 10, 256 << 10, FLOATS };
    const lmb_nccl_options o = { .device = device, .limit_s = 30, .fixed_order = fixed_order };
    gpus g = { .c = c, .api = api, .half = calloc(FLOATS, sizeof *g.half), .full = calloc(FLOATS, sizeof *g.full) };
    int k = *n;
    lmb_status st = g.half && g.full ? lmb_nccl_open(c, api, &o, &g.nccl, err)
                                     : LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure with");

    if (st == LMB_OK)
        st = check(&g, api->alloc(FLOATS * sizeof(float), &g.from), "memory of a GPU", err);
    if (st == LMB_OK)
        st = check(&g, api->alloc(FLOATS * sizeof(float), &g.to), "memory of a GPU", err);
    for (const way *w = ways; w->what && st == LMB_OK; w++)
        for (int i = 0; i < 3 && st == LMB_OK && k < LMB_LINKS; i++) {
            g.n = sizes[i];
            link[k] = (lmb_link){ w->what, g.n * (w->type == LMB_NCCL_BF16 ? 2 : 4), 0 };
            st = measure(&g, w, &link[k++].seconds, err);
        }
    if (g.from)
        api->free(g.from);
    if (g.to)
        api->free(g.to);
    lmb_nccl_close(g.nccl);
    free(g.half);
    free(g.full);
    if (st == LMB_OK)
        *n = k;
    return st;
}
