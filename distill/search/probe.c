/* distill/search/probe.c - see probe.h. */
#include "distill/search/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "datasets/loader.h"
#include "distill/quantize/narrow.h"
#include "train/predictor.h"

enum { ROWS = 64, AT_ONCE = 4 }; /* samples answered at a time; moves of a thread between two looks at who watches */

typedef struct probe {
    lmb_moves *m;
    int rank, ranks;
    int first;          /* of this rank's moves that are tried now */
    const lmb_backend *backends[3];
    double temperature;
    int64_t n, numbers; /* samples, and of one */
    int classes;
    float *x, *before;  /* [n][numbers]; logits [n][classes] of the model as it is */
    lmb_error *err;     /* [workers] */
} probe;

/* log softmax(z / t) */
static void log_shares(const float *z, int n, double t, double *out)
{
    double most = z[0], sum = 0;

    for (int i = 1; i < n; i++)
        most = fmax(most, (double)z[i]);
    for (int i = 0; i < n; i++)
        sum += exp(((double)z[i] - most) / t);
    for (int i = 0; i < n; i++)
        out[i] = ((double)z[i] - most) / t - log(sum);
}

static double divergence(const float *z, const float *other, int n, double t, double *room)
{
    double kl = 0;

    log_shares(z, n, t, room);
    log_shares(other, n, t, room + n);
    for (int i = 0; i < n; i++)
        kl += exp(room[i]) * (room[i] - room[n + i]);
    return kl;
}

/* The logits of all samples: into `keep`, or compared with p->before. */
static lmb_status answer(const probe *p, const lmb_graph *g, float *keep, double *loss, lmb_error *err)
{
    lmb_predictor *q = NULL;
    lmb_graph *narrow = NULL;
    double *room = malloc(sizeof *room * 2 * ((size_t)p->classes + 1)), sum = 0;
    const float *z;
    lmb_status st = room ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to try a move");

    if (st == LMB_OK)
        st = lmb_pass_narrow(g, &narrow, err); /* few bits are felt */
    if (st == LMB_OK)
        st = lmb_predictor_create(narrow ? narrow : g, NULL, p->backends, ROWS, &q, err);
    for (int64_t at = 0; st == LMB_OK && at < p->n; at += ROWS) {
        int64_t n = p->n - at < ROWS ? p->n - at : ROWS;
        st = lmb_predictor_run(q, p->x + at * p->numbers, n, &z, err);
        if (st == LMB_OK && keep)
            memcpy(keep + at * p->classes, z, sizeof *z * (size_t)(n * p->classes));
        for (int64_t i = 0; st == LMB_OK && !keep && i < n; i++)
            sum += divergence(p->before + (at + i) * p->classes, z + i * p->classes, p->classes, p->temperature, room);
    }
    if (loss)
        *loss = sum / (double)p->n;
    lmb_predictor_destroy(q);
    lmb_graph_destroy(narrow);
    free(room);
    return st;
}

static void try_move(void *ctx, int task, int worker)
{
    probe *p = ctx;
    int which = p->rank + (p->first + task) * p->ranks;
    lmb_move *move = &p->m->move[which];
    lmb_graph *after = NULL;
    lmb_error *err = &p->err[worker];
    double loss = 0;

    if (err->status != LMB_OK)
        return;
    if (lmb_moves_apply(p->m, &which, 1, &after, err) == LMB_OK)
        (void)!answer(p, after, NULL, &loss, err);
    lmb_graph_destroy(after);
    move->loss = isfinite(loss) ? fmax(loss, 0) + 1e-12 : 1e12;
}

static lmb_status read_samples(probe *p, const lmb_dataset *data, const lmb_probe_config *c, lmb_error *err)
{
    lmb_loader_options o = { .data = data, .batch = ROWS, .seed = c->seed, .shuffle = true };
    const lmb_batch *b;
    lmb_loader *l;
    lmb_status st;

    LMB_TRY(lmb_loader_create(&o, &l, err));
    st = lmb_loader_begin(l, 0, 0, err);
    for (int64_t at = 0; st == LMB_OK && at < p->n;) {
        if ((st = lmb_loader_next(l, &b, err)) != LMB_OK)
            break;
        int64_t n = b->n < p->n - at ? b->n : p->n - at;
        memcpy(p->x + at * p->numbers, b->x, sizeof *p->x * (size_t)(n * p->numbers));
        at += n;
    }
    lmb_loader_destroy(l);
    return st;
}

/* How many of the moves are a rank's. */
static int part_of(const probe *p, int rank) { return (p->m->n - rank + p->ranks - 1) / p->ranks; }

static lmb_status try_mine(probe *p, const lmb_probe_config *c, lmb_error *err)
{
    const int each = AT_ONCE * c->threads, n = part_of(p, p->rank);
    lmb_pool *pool;
    lmb_status st = LMB_OK;

    LMB_TRY(lmb_pool_create(c->threads, &pool, err));
    for (p->first = 0; st == LMB_OK && p->first < n; p->first += each) {
        if (c->work && !c->work(c->ctx, "try moves", p->first, n)) {
            st = LMB_FAIL(err, LMB_E_STOPPED, "stopped after %d of %d moves were tried", p->first, n);
            break;
        }
        lmb_pool_run(pool, n - p->first < each ? n - p->first : each, try_move, p);
        for (int i = 0; i < c->threads && st == LMB_OK; i++)
            if (p->err[i].status != LMB_OK)
                st = LMB_FAIL(err, p->err[i].status, "a move can not be tried: %s", p->err[i].msg);
    }
    lmb_pool_destroy(pool);
    return st;
}

/* Everyone's losses. A rank that was stopped says so in its first number. */
static lmb_status exchange(probe *p, lmb_comm *comm, bool stopped, lmb_error *err)
{
    size_t each = 1 + (size_t)part_of(p, 0);
    double *all = calloc(each * ((size_t)p->ranks + 1), sizeof *all), *mine = all ? all + each * (size_t)p->ranks : NULL;

    if (!all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what %d moves cost", p->m->n);
    mine[0] = stopped;
    for (int i = 0; i < part_of(p, p->rank); i++)
        mine[1 + i] = p->m->move[p->rank + i * p->ranks].loss;
    lmb_status st = comm->gather_all(comm, mine, all, each * sizeof *all, err);
    for (int r = 0; st == LMB_OK && r < p->ranks; r++)
        if (all[(size_t)r * each] != 0)
            st = LMB_FAIL(err, LMB_E_STOPPED, "stopped while moves were tried");
    for (int i = 0; st == LMB_OK && i < p->m->n; i++)
        p->m->move[i].loss = all[(size_t)(i % p->ranks) * each + 1 + (size_t)(i / p->ranks)];
    free(all);
    return st;
}

static lmb_status try_all(probe *p, const lmb_probe_config *c, lmb_error *err)
{
    lmb_status st = try_mine(p, c, err);
    return p->ranks > 1 && (st == LMB_OK || st == LMB_E_STOPPED) ? exchange(p, c->comm, st != LMB_OK, err) : st;
}

lmb_status lmb_probe_moves(lmb_moves *m, const lmb_dataset *data, const lmb_probe_config *c, lmb_error *err)
{
    probe p = { .m = m,
                .rank = c->comm ? c->comm->rank : 0,
                .ranks = c->comm ? c->comm->size : 1,
                .temperature = c->temperature,
                .n = c->samples < data->n ? c->samples : data->n };
    const lmb_shape *out = &m->g->value[m->g->output[0].value].shape;
    lmb_status st;

    p.numbers = lmb_shape_count(&data->shape);
    p.classes = (int)(lmb_shape_count(out) / (out->d[0] > 0 ? out->d[0] : 1));
    p.x = malloc(sizeof *p.x * (size_t)(p.n * p.numbers + 1));
    p.before = malloc(sizeof *p.before * (size_t)(p.n * p.classes + 1));
    p.err = calloc((size_t)c->threads + 1, sizeof *p.err);
    if (!p.x || !p.before || !p.err) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to try %d moves on %lld samples", m->n, (long long)p.n);
        goto done;
    }
    for (int i = 0; i <= c->threads; i++)
        p.err[i] = (lmb_error)LMB_ERROR_INIT;
    LMB_TRY_GOTO(st, done, lmb_cpu_backends(c->backend, p.backends, err));
    LMB_TRY_GOTO(st, done, read_samples(&p, data, c, err));
    LMB_TRY_GOTO(st, done, answer(&p, m->g, p.before, NULL, err));
    for (int64_t i = 0; i < p.n * p.classes && st == LMB_OK; i++)
        if (!isfinite(p.before[i]))
            st = LMB_FAIL(err, LMB_E_NUMERIC, "the model that moves are tried on answers %g", (double)p.before[i]);
    if (st == LMB_OK)
        st = try_all(&p, c, err);
done:
    free(p.x);
    free(p.before);
    free(p.err);
    return st;
}
