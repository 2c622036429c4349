/* distill/tune/tune.c - see tune.h. */
#include "distill/tune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "distill/tune/internal.h"

typedef struct outcome {
    int64_t status;
    lmb_trial trial;
    lmb_error err;
} outcome; /* of a rank, shared by bytes */

typedef struct search {
    const lmb_tune_request *r;
    lmb_trials *all;
    double seconds;             /* rank 0: of earlier rounds and calls */
    int before;                 /* trials of earlier rounds            */
    int n;                      /* of this one                         */
    double (*x)[LMB_TUNE_DIMS]; /* [per round]                         */
    outcome *of;                /* [ranks]                             */
} search;

int64_t lmb_tune_budget(const lmb_tune_request *r)
{
    int64_t all = r->method->all ? r->method->all(r->space, r->method_config) : LMB_TUNE_TRIALS;
    return r->c->trials < all ? r->c->trials : all;
}

lmb_status lmb_tune_request_check(const lmb_tune_request *r, lmb_error *err)
{
    int64_t all = r->method->all ? r->method->all(r->space, r->method_config) : 0;

    if (r->c->trials < all)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "the %s has %lld points, and tune.trials is %lld: these would be one corner, in which the first "
            "keys do not change. Give %s, or method random, which spreads as few over all keys",
            r->method->name, (long long)all, (long long)r->c->trials,
            all > LMB_TUNE_TRIALS ? "keys fewer values" : "it as many trials, or keys fewer values");
    return r->method->check ? r->method->check(r->space, r->method_config, (int)r->c->round, err) : LMB_OK;
}

lmb_rung lmb_tune_rung(const lmb_tune_request *r, int trial)
{
    int round = (int)r->c->round;
    lmb_rung g = { trial - trial % round, round, 1 };

    if (r->method->rung)
        r->method->rung(r->method_config, round, trial, &g);
    return g;
}

/* ---- a round ---- */

static lmb_status propose(search *s, lmb_error *err)
{
    const lmb_tune_request *r = s->r;
    lmb_tuned *t = calloc((size_t)s->before + 1, sizeof *t);

    if (!t)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d trials", s->before);
    for (int i = 0; i < s->before; i++) {
        const lmb_trial *x = &s->all->trial[i];
        memcpy(t[i].x, x->x, sizeof t[i].x);
        t[i].failed = x->failed;
        t[i].y[0] = x->failed ? 1 : 1 - x->score;
        t[i].y[1] = x->failed ? INFINITY : x->cost;
    }
    lmb_method_view v = { r->space, r->method_config, (uint64_t)r->c->seed, (int)r->c->round, t, s->before };
    memset(s->x, 0, sizeof *s->x * (size_t)r->c->round);
    lmb_status st = r->method->propose(&v, s->x, err);
    for (int i = 0; i < s->n; i++)
        for (int d = 0; d < r->space->n; d++)
            s->x[i][d] = lmb_param_snap(&r->space->param[d], s->x[i][d]);
    free(t);
    return st;
}

/* An earlier trial with the same values and share of epochs, done or of this round; -1. */
static int same_as(const search *s, int id)
{
    size_t bytes = sizeof s->x[0][0] * (size_t)s->r->space->n;
    double share = lmb_tune_rung(s->r, id).share;

    for (int i = 0; i < id; i++)
        if ((i >= s->before || s->all->trial[i].share == share) &&
            memcmp(i < s->before ? s->all->trial[i].x : s->x[i - s->before], s->x[id - s->before], bytes) == 0)
            return i;
    return -1;
}

/* Settings may be such that no training goes well with them. */
static bool forgiven(lmb_status st)
{
    return st == LMB_E_NUMERIC || st == LMB_E_SHAPE || st == LMB_E_ARG || st == LMB_E_UNSUPPORTED || st == LMB_E_NOMEM;
}

static void fail(lmb_trial *t, const lmb_error *why)
{
    t->failed = true;
    t->score = t->spread = t->cost = 0;
    size_t n = strnlen(why->msg, sizeof t->why - 1);
    while (n > 0 && ((unsigned char)why->msg[n] & 0xc0) == 0x80) /* a cut inside of a letter */
        n--;
    memcpy(t->why, why->msg, n);
    t->why[n] = '\0';
}

static void begin_trial(const search *s, int id, lmb_trial *t)
{
    memset(t, 0, sizeof *t); /* its bytes are shared as they are */
    t->id = id;
    t->same = -1;
    t->share = lmb_tune_rung(s->r, id).share;
    memcpy(t->x, s->x[id - s->before], sizeof t->x);
}

static void work(search *s, int id, outcome *o)
{
    lmb_tune_follow f = { &s->r->c->stop, s->all, s->before, &o->trial };

    begin_trial(s, id, &o->trial);
    lmb_error_clear(&o->err);
    o->status = s->r->train(s->r->ctx, id, s->x[id - s->before], &f, &o->trial.score, &o->trial.spread, &o->err);
    if (forgiven((lmb_status)o->status)) {
        fail(&o->trial, &o->err);
        o->status = LMB_OK;
    }
}

/* Rank 0, alone: what the deployed model costs. */
static lmb_status measure(search *s, lmb_trial *t, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;

    if (!s->r->cost || t->failed)
        return LMB_OK;
    lmb_status st = s->r->cost(s->r->ctx, t->x, &t->cost, &why);
    if (st == LMB_OK)
        return LMB_OK;
    if (!forgiven(st))
        return LMB_FAIL(err, st, "%s", why.msg);
    fail(t, &why);
    return LMB_OK;
}

/* The trial `id`: of the rank whose turn it was, or of the one that it is the same as. */
static lmb_status settle(search *s, int id, int same, const outcome *o, double seconds, lmb_error *err)
{
    lmb_comm *c = s->r->comm;
    lmb_trial t;

    if (same >= 0) {
        t = s->all->trial[same];
        t.id = id;
        t.same = same;
    } else {
        t = o->trial;
        if (c->rank == 0)
            LMB_TRY(measure(s, &t, err));
        LMB_TRY(c->broadcast(c, &t, sizeof t, 0, err));
    }
    LMB_TRY(lmbi_trials_add(s->all, &t, err));
    if (c->rank == 0) {
        s->seconds += seconds;
        LMB_TRY(lmbi_tune_write(s->r, &t, seconds, err));
        if (s->r->done)
            s->r->done(s->r->ctx, s->all, id);
    }
    return LMB_OK;
}

/* Trials from s->all->n on: one for each rank, and those between them that are the same as others. */
static lmb_status wave(search *s, lmb_error *err)
{
    lmb_comm *c = s->r->comm;
    int first = s->all->n, end = s->before + s->n, last = first, given = 0;
    double started = lmb_seconds();
    outcome *mine = &s->of[c->size];

    memset(mine, 0, sizeof *mine);
    for (; last < end && (given < c->size || same_as(s, last) >= 0); last++)
        if (same_as(s, last) < 0 && given++ == c->rank)
            work(s, last, mine);
    if (mine->status != LMB_OK && mine->status != LMB_E_STOPPED) /* the caller ends all ranks */
        return LMB_FAIL(err, (lmb_status)mine->status, "%s", mine->err.msg);
    LMB_TRY(c->gather_all(c, mine, s->of, sizeof *mine, err));
    double each = (lmb_seconds() - started) / (last - first);
    for (int id = first, turn = 0; id < last; id++) {
        int same = same_as(s, id);
        const outcome *o = same < 0 ? &s->of[turn++] : NULL;
        if (o && o->status != LMB_OK)
            return LMB_FAIL(err, LMB_E_STOPPED, "stopped in trial %d", id);
        LMB_TRY(settle(s, id, same, o, each, err));
    }
    return LMB_OK;
}

/* Rank 0 decides whether there is another round, and what is in it. */
static lmb_status begin_round(search *s, lmb_error *err)
{
    const lmb_tune_request *r = s->r;
    lmb_comm *c = r->comm;
    int64_t left;

    lmb_rung g = lmb_tune_rung(r, s->all->n);
    s->before = g.first;
    left = lmb_tune_budget(r) - s->before;
    s->n = s->all->n >= lmb_tune_budget(r) ? 0 : (int)(left < g.n ? left : g.n);
    if (c->rank == 0 && r->c->seconds > 0 && s->seconds >= r->c->seconds && s->all->n == s->before)
        s->n = 0;
    LMB_TRY(c->broadcast(c, &s->n, sizeof s->n, 0, err));
    if (s->n <= 0)
        return LMB_OK;
    if (c->rank == 0)
        LMB_TRY(propose(s, err));
    return c->broadcast(c, s->x, sizeof *s->x * (size_t)s->n, 0, err);
}

/* What rank 0 has read, for all. */
static lmb_status share(lmb_trials *all, lmb_comm *c, lmb_error *err)
{
    int n = all->n;

    LMB_TRY(c->broadcast(c, &n, sizeof n, 0, err));
    for (int i = 0; i < n; i++) {
        lmb_trial t = { 0 };
        if (c->rank == 0)
            t = all->trial[i];
        LMB_TRY(c->broadcast(c, &t, sizeof t, 0, err));
        if (c->rank)
            LMB_TRY(lmbi_trials_add(all, &t, err));
    }
    return LMB_OK;
}

static lmb_status run(search *s, lmb_error *err)
{
    const lmb_tune_request *r = s->r;

    LMB_TRY(lmb_tune_request_check(r, err));
    if (r->comm->rank == 0)
        LMB_TRY(lmbi_tune_read(r, s->all, &s->seconds, err));
    LMB_TRY(share(s->all, r->comm, err));
    s->x = calloc((size_t)r->c->round, sizeof *s->x);
    s->of = calloc((size_t)r->comm->size + 1, sizeof *s->of);
    if (!s->x || !s->of)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a round of %lld trials", (long long)r->c->round);
    for (;;) {
        LMB_TRY(begin_round(s, err));
        if (s->n <= 0)
            return LMB_OK;
        while (s->all->n < s->before + s->n)
            LMB_TRY(wave(s, err));
    }
}

lmb_status lmb_tune_run(const lmb_tune_request *r, lmb_trials *out, lmb_error *err)
{
    lmb_trials all = { 0, 0, NULL };
    search s = { .r = r, .all = &all };
    lmb_status st = run(&s, err);

    free(s.x);
    free(s.of);
    if (st == LMB_OK)
        st = lmb_trials_front(&all, err);
    if (st != LMB_OK)
        lmb_trials_free(&all);
    else
        *out = all;
    return st;
}
