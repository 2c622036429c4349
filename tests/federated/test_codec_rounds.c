/* Mirrors federated/client_update.c, and codecs in whole federations over the loopback. */
#include <math.h>
#include <sys/stat.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/base/random.h"
#include "federated/client_parts.h"
#include "federated/upload.h"
#include "tests/federated/world.h"

static lmb_error err;

/* ---- federations ---- */

/* Four clients, as in test_rounds.c; how far the model is from where the exact mean would have led. */
static double run(const char *codec, const char *aggregator, double clip_norm, int rounds, world *w)
{
    world_client c[4];
    lmb_config *yaml = NULL, *how = NULL;
    double off = 0;

    memset(c, 0, sizeof c);
    err = (lmb_error)LMB_ERROR_INIT;
    world_open(w);
    ck_ok(lmb_config_parse(codec, strlen(codec), "test", &yaml, &err));
    ck_ok(lmb_config_parse(aggregator, strlen(aggregator), "test", &how, &err));
    w->cfg.codec = lmb_config_root(yaml);
    w->cfg.aggregator = lmb_config_root(how);
    w->cfg.clip_norm = clip_norm;
    w->cfg.rounds = rounds;
    world_start(w);
    for (int k = 0; k < 4; k++)
        world_client_start(w, &c[k], k, lmb_server_port(w->server));
    world_join(w);
    for (int k = 0; k < 4; k++) {
        world_client_join(&c[k]);
        ck_assert_msg(c[k].status == LMB_OK, "client %d: %s", k, c[k].error.msg);
    }
    for (size_t i = 0; i < WORLD_N; i++) {
        double v = (double)((float)(i % 7) * 0.1f), target = strcmp(aggregator, "median") ? 3.0 : 2.5;
        for (int r = 0; r < rounds; r++)
            v += 0.5 * (target + (double)(i % 3) * 0.01 - v);
        off += pow((double)lmb_server_model(w->server)[i] - v, 2);
    }
    lmb_config_destroy(yaml);
    lmb_config_destroy(how);
    return sqrt(off / WORLD_N);
}

START_TEST(a_federation_with_each_codec)
{
    static const struct {
        const char *codec;
        double off;
        size_t bytes;
    } want[] = {
        /* off: root mean square; bytes of an update at most */
        { "f32", 1e-6, 80000 },
        { "bf16", 0.004, 40000 },
        { "int8", 0.006, 20000 + 4 * 79 },
        { "{name: rotation, bits: 1}", 0.5, 4 + 2048 + 4 + 452 + 50 },
        { "{name: rotation, bits: 4}", 0.05, 4 * (4 + 2048 + 4 + 452 + 50) },
        { "{name: topk, share: 0.5}", 0.8, 4 + 4 * 10000 },
        { "{name: f32, zstd: 1}", 1e-6, 79000 },
        { "{name: int8, zstd: 3}", 0.006, 20400 },
        { "{name: topk, share: 0.5, zstd: 3}", 0.8, 40000 },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        lmb_codec_spec s;
        world w;
        err = (lmb_error)LMB_ERROR_INIT;
        if (lmb_codec_parse(want[i].codec, &s, &err) == LMB_E_UNSUPPORTED)
            continue;
        mark_point();
        double off = run(want[i].codec, "fedavg", 0, 3, &w);
        ck_assert_msg(off <= want[i].off, "%s: off by %g", want[i].codec, off);
        for (int r = 1; r <= 3; r++) {
            ck_assert_msg(w.reports[r].committed && w.reports[r].updates == 4, "%s, round %d", want[i].codec, r);
            ck_assert_uint_eq(w.reports[r].plain, 4 * 80000);
            ck_assert_msg(w.reports[r].payload <= 4 * want[i].bytes && w.reports[r].payload > 0, "%s: %llu bytes",
                          want[i].codec, (unsigned long long)w.reports[r].payload);
            ck_assert_uint_gt(w.reports[r].bytes_in, w.reports[r].payload);
        }
        world_close(&w);
    }
}
END_TEST

/* What needs all updates reads them decoded, from a file that has no name. */
START_TEST(a_median_of_encoded_updates)
{
    world w;
    ck_assert_double_le(run("int8", "median", 0, 2, &w), 0.01);
    world_close(&w);
    ck_assert_double_le(run("{name: rotation, bits: 4}", "median", 0, 2, &w), 0.1);
    world_close(&w);
    ck_assert_double_le(run("f32", "median", 0, 2, &w), 1e-5);
    world_close(&w);
}
END_TEST

/* All updates are scaled down to one norm, and the first step is a mean of four vectors of that norm. */
START_TEST(norms_are_clipped)
{
    world w;
    double norm = 0;
    run("bf16", "fedavg", 0.25, 1, &w);
    for (size_t i = 0; i < WORLD_N; i++)
        norm += pow((double)(lmb_server_model(w.server)[i] - w.initial[i]), 2);
    ck_assert_double_lt(sqrt(norm), 0.25);
    ck_assert_double_gt(sqrt(norm), 0.22); /* they point almost the same way */
    world_close(&w);
    run("f32", "median", 0.25, 1, &w);
    norm = 0;
    for (size_t i = 0; i < WORLD_N; i++)
        norm += pow((double)(lmb_server_model(w.server)[i] - w.initial[i]), 2);
    ck_assert_double_lt(sqrt(norm), 0.25);
    world_close(&w);
}
END_TEST

START_TEST(a_codec_that_is_none)
{
    world w;
    lmb_config *yaml = NULL;
    world_open(&w);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse("{name: int8, bits: 3}", 21, "test", &yaml, &err));
    w.cfg.codec = lmb_config_root(yaml);
    ck_assert_int_eq(lmb_server_create(&w.cfg, &w.job, &w.server, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "bits"));
    lmb_config_destroy(yaml);
    world_close(&w);
}
END_TEST

/* ---- what a client remembers ---- */

enum { N = 1000 };
static char dir[64];

static void be(lmb_client *c, uint64_t round, uint32_t change)
{
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, change, 0);
    memset(c, 0, sizeof *c);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_codec_parse("{name: topk, share: 0.1}", &c->spec, &err));
    snprintf(c->path, sizeof c->path, "%s", dir);
    c->work.n = N;
    c->work.round = round;
    c->result.delta = malloc(N * sizeof(float));
    for (uint32_t i = 0; i < N; i++)
        c->result.delta[i] = lmb_rand_normal(&r, i);
}

/* What the round would send, by its hash. */
static lmb_hash make(lmb_client *c)
{
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmbi_update_make(c, &err));
    ck_assert_ptr_null(c->result.delta);
    lmb_hash h = lmb_hash_of(c->payload, c->payload_bytes);
    free(c->payload);
    return h;
}

static lmb_hash send_round(uint64_t round, uint32_t change)
{
    lmb_client c;
    be(&c, round, change);
    return make(&c);
}

static void forget_all(void)
{
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -f %s/*", dir);
    ck_assert_int_eq(system(cmd), 0);
}

#define same(a, b) (memcmp(&(a), &(b), sizeof(lmb_hash)) == 0)

START_TEST(a_killed_client_sends_the_same_bytes)
{
    lmb_hash first, third, again, alone;
    lmb_client c;

    strcpy(dir, "/tmp/limbeck-memory-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    first = send_round(1, 1);
    send_round(2, 2);
    third = send_round(3, 3);
    again = send_round(3, 3); /* trained once more, nothing known of the first time */
    ck_assert(same(third, again));
    again = send_round(3, 3);
    ck_assert(same(third, again));
    ck_assert(same(first, first));
    /* memory matters: without it the round is another one */
    forget_all();
    alone = send_round(3, 3);
    ck_assert(!same(third, alone));
    forget_all();
    again = send_round(1, 1);
    ck_assert(same(first, again));
    /* the server went on without round 2: round 3 begins where round 2 did */
    send_round(2, 2);
    be(&c, 2, 2);
    lmbi_update_unsent(&c, 2);
    free(c.result.delta);
    again = send_round(3, 3);
    ck_assert(!same(third, again));
    forget_all();
    send_round(1, 1);
    alone = send_round(3, 3);
    ck_assert(same(alone, again));
    forget_all();
    rmdir(dir);
}
END_TEST

START_TEST(memory_that_is_of_no_use_is_zero)
{
    lmb_hash fresh, got;
    lmb_client c;
    char path[100], other[100];

    strcpy(dir, "/tmp/limbeck-memory-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fresh = send_round(5, 5);
    forget_all();
    /* another run of the same federation, further on: its rounds are not this one's past */
    send_round(8, 1);
    send_round(9, 2);
    got = send_round(5, 5);
    ck_assert(same(fresh, got));
    snprintf(path, sizeof path, "%s/residual-0", dir);
    snprintf(other, sizeof other, "%s/residual-1", dir);
    ck_assert(lmb_file_exists(path) != lmb_file_exists(other)); /* nor its future */
    /* damaged, cut, of another codec */
    forget_all();
    send_round(4, 1);
    ck_assert_int_eq(truncate(lmb_file_exists(path) ? path : other, 60), 0);
    got = send_round(5, 5);
    ck_assert(same(fresh, got));
    forget_all();
    be(&c, 4, 1);
    ck_ok(lmb_codec_parse("{name: topk, share: 0.2}", &c.spec, &err));
    make(&c);
    got = send_round(5, 5);
    ck_assert(same(fresh, got));
    forget_all();
    be(&c, 4, 1);
    c.invite.server_public[0] = 1;
    make(&c);
    got = send_round(5, 5);
    ck_assert(same(fresh, got));
    forget_all();
    rmdir(dir);
}
END_TEST

/* A private federation: the norm is cut, and nothing else is told. */
START_TEST(a_change_is_clipped)
{
    static float got[N];
    for (int far = 0; far < 2; far++) {
        lmb_client c;
        double square = 0;
        be(&c, 1, 1); /* a norm of about sqrt(1000) */
        ck_ok(lmb_codec_parse("f32", &c.spec, &err));
        c.work.clip = far ? 2 : 100;
        c.result.examples = 17;
        lmb_figures_add(&c.result.metrics, "loss", 1);
        ck_ok(lmbi_update_make(&c, &err));
        ck_ok(lmb_codec_decode_all(&c.spec, 0, c.payload, c.payload_bytes, got, N, &err));
        for (int i = 0; i < N; i++)
            square += (double)got[i] * (double)got[i];
        ck_assert_double_le(sqrt(square), c.work.clip);
        ck_assert_double_gt(sqrt(square), far ? 1.9999 : 25);
        ck_assert(c.within == !far && c.result.examples == 1 && c.result.metrics.n == 0);
        free(c.payload);
    }
}
END_TEST

LMB_TEST_MAIN("federated/codec_rounds", add(a_federation_with_each_codec); add(a_median_of_encoded_updates);
              add(norms_are_clipped); add(a_codec_that_is_none); add(a_killed_client_sends_the_same_bytes);
              add(memory_that_is_of_no_use_is_zero); add(a_change_is_clipped);)
