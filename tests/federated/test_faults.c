/* Mirrors federated/client_link.c and server_peer.c: rounds over a line that delays, drops, resets, truncates, repeats,
 * flips and falls silent. Nothing is lost: each round has the update of each client, and each model has the bits that
 * it has over a good line. Nothing stays behind: no descriptor, no memory.
 *
 * LMB_FAULT_ROUNDS says how many rounds. */
#include <dirent.h>
#include <malloc.h>

#include "tests/federated/fault_proxy.h"
#include "tests/federated/world.h"

enum { CLIENTS = 4, ROUNDS = 24, ROUNDS_MAX = 10000 };

typedef struct story {
    world w;
    int rounds;
    uint64_t whole; /* rounds with every client's update */
    lmb_hash model[ROUNDS_MAX + 1];
    size_t memory[2]; /* in use a tenth of the way in, and at the end */
} story;

static lmb_status note_model(void *ctx, uint64_t round, const float *model, size_t n, double *score, lmb_figures *m,
                             lmb_error *err)
{
    story *s = ctx;
    (void)m, (void)err;
    s->model[round] = lmb_hash_of(model, n * sizeof *model);
    *score = (double)round;
    return LMB_OK;
}

static void note_round(void *ctx, const lmb_round_report *r)
{
    story *s = ctx;
    if (r->round)
        s->whole += r->committed && r->updates == CLIENTS && r->selected == CLIENTS;
    if (r->round == (uint64_t)s->rounds / 10 + 1)
        s->memory[0] = mallinfo2().uordblks;
    if (r->round == (uint64_t)s->rounds)
        s->memory[1] = mallinfo2().uordblks;
}

static int descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void tell(story *s, fault_proxy **proxy, int strikes[FAULTS])
{
    world_client c[CLIENTS];

    memset(c, 0, sizeof c);
    world_open(&s->w);
    s->w.cfg.rounds = s->rounds;
    s->w.cfg.gather_s = s->w.cfg.deadline_s = s->w.cfg.reconnect_s = 120;
    s->w.cfg.idle_s = 10;
    s->w.job.evaluate = note_model;
    s->w.job.on_round = note_round;
    world_start(&s->w);
    int port = lmb_server_port(s->w.server);
    if (proxy) {
        *proxy = fault_proxy_start(port, 7, 4 * WORLD_N * sizeof(float));
        ck_assert_ptr_nonnull(*proxy);
        port = fault_proxy_port(*proxy);
    }
    for (int k = 0; k < CLIENTS; k++) {
        c[k].idle_s = 1;
        c[k].restless = true;
        world_client_start(&s->w, &c[k], k, port);
    }
    world_join(&s->w);
    for (int k = 0; k < CLIENTS; k++) {
        lmb_client_stop(c[k].client); /* whose farewell the line has swallowed looks for a server that is gone */
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK || c[k].status == LMB_E_STOPPED, "client %d: %s", k, c[k].error.msg);
    }
    for (int i = 0; proxy && i < FAULTS; i++)
        strikes[i] = fault_proxy_count(*proxy, (fault_kind)i);
    if (proxy)
        fault_proxy_stop(*proxy);
    world_close(&s->w);
}

START_TEST(nothing_is_lost_over_a_bad_line)
{
    static story good, bad;
    static const char *const names[FAULTS] = { "none", "delays", "drops", "resets", "truncations", "repeats", "flips",
        "silences" };
    const char *wanted = getenv("LMB_FAULT_ROUNDS");
    int strikes[FAULTS] = { 0 };
    fault_proxy *proxy;

    good.rounds = bad.rounds = wanted ? atoi(wanted) : ROUNDS;
    ck_assert(good.rounds >= ROUNDS && good.rounds <= ROUNDS_MAX);
    tell(&good, NULL, NULL);
    int before = descriptors(); /* libuv keeps a pipe from its first loop on */
    tell(&bad, &proxy, strikes);
    printf("%d rounds:", bad.rounds);
    for (int i = 1; i < FAULTS; i++) {
        printf(" %d %s", strikes[i], names[i]);
        ck_assert_msg(strikes[i] > 0, "no %s", names[i]);
    }
    printf("; %zu KiB in use early on, %zu KiB at the end\n", bad.memory[0] >> 10, bad.memory[1] >> 10);
    ck_assert_uint_eq(good.whole, (uint64_t)good.rounds);
    ck_assert_uint_eq(bad.whole, (uint64_t)bad.rounds);
    for (int r = 1; r <= bad.rounds; r++)
        ck_assert_msg(memcmp(&good.model[r], &bad.model[r], sizeof good.model[r]) == 0, "the model of round %d differs",
                      r);
    ck_assert_int_eq(descriptors(), before);
    if (wanted && bad.memory[0]) /* 0: a sanitizer's allocator does not tell, and finds leaks itself */
        ck_assert_msg(bad.memory[1] < bad.memory[0] + (bad.memory[0] >> 3) + (1u << 20), "memory grows");
}
END_TEST

LMB_TEST_MAIN("federated/faults", tcase_set_timeout(tc_, 7200); add(nothing_is_lost_over_a_bad_line);)
