/* tests/bench/handover.c - would a server's handshakes or records gain by a thread of their own?
 *
 *     build/release/tests/federated/bench_handover
 *
 * CPU time of the server's side of a handshake of each kind, of sealing and of opening a record as large as they come,
 * and of handing an empty piece of work to libuv's pool and hearing of its end: on the loop's thread, and on all.
 * Handing over pays where the work is many times that. Each figure is the median of eleven turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "comm/channel.h"
#include "federated/messages.h"

enum { TURNS = 11, EACH = 200 };

static lmb_error err = LMB_ERROR_INIT;

static void must(bool well, const char *what)
{
    if (well)
        return;
    fprintf(stderr, "%s: %s\n", what, err.msg);
    exit(1);
}

static double cpu(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3; /* microseconds */
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, TURNS, sizeof *v, by_size);
    return v[TURNS / 2];
}

/* ---- channels ---- */

typedef struct pair { lmb_channel *client, *server; double spent; /* by the server */ } pair;

static uint8_t psk[LMB_NOISE_KEY];

static lmb_status token(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t out[LMB_NOISE_KEY], lmb_error *e)
{
    (void)ctx, (void)id, (void)e;
    memcpy(out, psk, sizeof psk);
    return LMB_OK;
}

static lmb_status fresh(void *ctx, const uint8_t client[LMB_NOISE_KEY], uint64_t time, lmb_error *e)
{
    (void)ctx, (void)client, (void)time, (void)e;
    return LMB_OK;
}

static void pour(lmb_channel *from, lmb_channel *to)
{
    size_t n, used = 0;
    const uint8_t *p = lmb_channel_output(from, &n);
    lmb_record r;
    bool got;

    while (used < n) {
        used += lmb_channel_feed(to, p + used, n - used);
        must(lmb_channel_next(to, &r, &got, &err) == LMB_OK, "channel");
    }
    lmb_channel_sent(from, n);
}

static void open_pair(pair *p, bool enrol)
{
    uint8_t mine[LMB_NOISE_KEY], theirs[LMB_NOISE_KEY], public_key[LMB_NOISE_KEY], unused[LMB_NOISE_KEY],
        secret[LMB_TOKEN_BYTES] = { 1 };
    lmb_token t = lmb_token_derive(secret);
    lmb_channel_gate gate = { token, fresh, NULL, NULL };

    memcpy(psk, t.psk, sizeof psk);
    lmb_noise_keygen(mine, unused);
    lmb_noise_keygen(theirs, public_key);
    must(lmb_channel_client(mine, public_key, enrol ? &t : NULL, 1, &p->client, &err) == LMB_OK, "client");
    must(lmb_channel_server(theirs, &gate, &p->server, &err) == LMB_OK, "server");
    p->spent = 0;
    while (!lmb_channel_ready(p->client) || !lmb_channel_ready(p->server)) {
        double began = cpu(CLOCK_THREAD_CPUTIME_ID);
        pour(p->client, p->server);
        p->spent += cpu(CLOCK_THREAD_CPUTIME_ID) - began;
        pour(p->server, p->client);
    }
}

static void close_pair(pair *p)
{
    lmb_channel_destroy(p->client);
    lmb_channel_destroy(p->server);
}

static double handshake(bool enrol)
{
    double v[TURNS];
    for (int i = 0; i < TURNS; i++) {
        v[i] = 0;
        for (int k = 0; k < EACH; k++) {
            pair p;
            open_pair(&p, enrol);
            v[i] += p.spent / EACH;
            close_pair(&p);
        }
    }
    return median(v);
}

static void records(double *seal, double *open)
{
    static uint8_t body[LMB_CHUNK];
    double s[TURNS] = { 0 }, o[TURNS] = { 0 };
    lmb_record r = { LMB_MSG_CHUNK, 0, 0, body, sizeof body };
    pair p;

    open_pair(&p, false);
    pour(p.client, p.server);
    for (int i = 0; i < TURNS; i++)
        for (int k = 0; k < EACH; k++) {
            double began = cpu(CLOCK_THREAD_CPUTIME_ID);
            must(lmb_channel_send(p.client, &r, &err) == LMB_OK, "record");
            double sealed = cpu(CLOCK_THREAD_CPUTIME_ID);
            pour(p.client, p.server);
            s[i] += (sealed - began) / EACH;
            o[i] += (cpu(CLOCK_THREAD_CPUTIME_ID) - sealed) / EACH;
        }
    close_pair(&p);
    *seal = median(s);
    *open = median(o);
}

/* ---- handing over ---- */

static void nothing(uv_work_t *w) { (void)w; }

static void again(uv_work_t *w, int status)
{
    int *left = w->data;
    (void)status;
    if (--*left > 0)
        uv_queue_work(w->loop, w, nothing, again);
}

static void handing_over(double *loop_thread, double *all)
{
    double l[TURNS], a[TURNS];
    uv_loop_t loop;

    must(uv_loop_init(&loop) == 0, "loop");
    for (int i = 0; i < TURNS; i++) {
        int left = EACH * 10;
        uv_work_t w = { .data = &left };
        double lb = cpu(CLOCK_THREAD_CPUTIME_ID), ab = cpu(CLOCK_PROCESS_CPUTIME_ID);
        uv_queue_work(&loop, &w, nothing, again);
        uv_run(&loop, UV_RUN_DEFAULT);
        l[i] = (cpu(CLOCK_THREAD_CPUTIME_ID) - lb) / (EACH * 10);
        a[i] = (cpu(CLOCK_PROCESS_CPUTIME_ID) - ab) / (EACH * 10);
    }
    uv_loop_close(&loop);
    *loop_thread = median(l);
    *all = median(a);
}

int main(void)
{
    double seal, open, one, all;

    printf("handshake, server's side: enrolled client (IK) %.1f us, new one (XXpsk3) %.1f us\n", handshake(false),
           handshake(true));
    records(&seal, &open);
    printf("a record of %d bytes: sealed %.1f us, opened %.1f us\n", LMB_CHUNK, seal, open);
    handing_over(&one, &all);
    printf("handed over and back: %.1f us of the loop's thread, %.1f us of all\n", one, all);
    return 0;
}
