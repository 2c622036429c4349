/* tests/federated/slow.h - a server whose worker is at it for as long as a test wants, and clients that upload
 * meanwhile. */
#ifndef LMB_TESTS_FEDERATED_SLOW_H
#define LMB_TESTS_FEDERATED_SLOW_H

#include "tests/federated/raw.h"

typedef struct slow {
    world w; /* first: the hooks of world.h get it */
    int pings, pages;
    atomic_bool blocked, go;
} slow;

static inline void wait_blocked(slow *s)
{
    for (double end = lmb_seconds() + 120; !s->blocked && lmb_seconds() < end;)
        usleep(1000);
    ck_assert(s->blocked);
}

static inline void come(world *w, raw *r)
{
    struct timeval limit = { 120, 0 };
    lmb_token t = raw_invite(w, r);
    raw_open(r, lmb_server_port(w->server), &t, 0);
    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
}

static inline void say_alive(raw *r)
{
    lmb_alive alive = { .round = 0, .steps = 1 };
    ck_ok(lmb_message_send(r->channel, LMB_MSG_ALIVE, &alive, &err));
    raw_flush(r);
}

static inline void ping(raw *r)
{
    lmb_record rec;
    say_alive(r);
    ck_assert(raw_wait(r, LMB_MSG_ALIVE, &rec));
}

static inline lmb_status evaluate_when_told(void *ctx, uint64_t round, const float *model, size_t n,
                                            double *score, lmb_figures *m, lmb_error *e)
{
    slow *s = ctx;
    s->blocked = round > 0;
    while (round && !s->go)
        usleep(1000);
    return world_evaluate(ctx, round, model, n, score, m, e);
}

/* A round of two clients, whose model `evaluate` is asked about. */
static inline void begin_round(slow *s, world_client c[2],
                               lmb_status (*evaluate)(void *, uint64_t, const float *, size_t, double *, lmb_figures *,
                                                      lmb_error *))
{
    err = (lmb_error)LMB_ERROR_INIT;
    memset(s, 0, sizeof *s);
    memset(c, 0, 2 * sizeof *c);
    world_open(&s->w);
    s->w.cfg.rounds = 1;
    s->w.cfg.target = s->w.cfg.minimum = 2;
    s->w.job.evaluate = evaluate;
    world_start(&s->w);
    for (int k = 0; k < 2; k++)
        world_client_start(&s->w, &c[k], k, lmb_server_port(s->w.server));
}

/* The server has ended within the round, which is not committed; another one makes it again, with the same clients. */
static inline void make_round_again(slow *s, world_client c[2])
{
    ck_assert_uint_eq(lmb_server_round(s->w.server), 0);
    ck_assert_mem_eq(lmb_server_model(s->w.server), s->w.initial, WORLD_N * sizeof(float));
    s->w.cfg.port = lmb_server_port(s->w.server);
    lmb_server_destroy(s->w.server);
    s->go = true;
    world_start(&s->w);
    world_join(&s->w);
    for (int k = 0; k < 2; k++)
        world_client_join(&c[k]);
    ck_assert_uint_eq(lmb_server_round(s->w.server), 1);
    ck_assert_mem_ne(lmb_server_model(s->w.server), s->w.initial, WORLD_N * sizeof(float));
    world_close(&s->w);
}

static const float none[WORLD_N];

static inline void begin_upload(raw *r)
{
    lmb_record rec;
    lmb_task_message t;

    ck_assert(raw_wait(r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &t, &err));
    lmb_update_message u = honest(&t, none);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(r);
    ck_assert(raw_wait(r, LMB_MSG_HAVE, &rec));
}

#endif
