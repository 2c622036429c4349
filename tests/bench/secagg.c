/* tests/bench/secagg.c - what a secure sum costs: clients of 100,000 numbers, 30 % of them gone after sharing.
 *
 *     bench_secagg            all of it, about two minutes on one core
 *     bench_secagg NAME ...   only these
 *
 * Everything runs in one thread; times are of the processor, so that other programs matter little. The numbers to beat
 * are those of Bonawitz et al., CCS 2017, and of federated-compute's parameters for the sparse graph. */
#include "federated/secagg/client.h"
#include "federated/secagg/server.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/bytes.h"
#include "tests/federated/secagg/signed_roster.h"

enum { LENGTH = 100000, BLOCK = 8192 };

typedef struct scene {
    const char *name;
    uint32_t n, gone;       /* clients; of these, the first so many leave after sharing */
    uint64_t length;
    lmb_secagg_trust trust;
    lmb_secagg_shape shape; /* degree 0: planned */
} scene;

static const scene scenes[] = {
    { "complete-500", 500, 150, LENGTH, { LMB_SECAGG_CURIOUS, .05, .33, .5 }, { 499, 250 } },
    { "sparse-1000", 1000, 300, LENGTH, { LMB_SECAGG_CURIOUS, .05, .33, .3 }, { 0, 0 } },
    { "half-1000", 1000, 300, LENGTH, { LMB_SECAGG_CURIOUS, .05, .30, .5 }, { 0, 0 } },
    { "traffic-1024", 1024, 0, 8, { LMB_SECAGG_CURIOUS, .05, .33, .3 }, { 0, 0 } },
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct costs {
    double share, mask, reveal, relay, add, unmask; /* seconds; of all clients, of the server */
    size_t bytes; /* up and down, of all clients, without vectors */
} costs;

#define OK(call)                                       \
    do {                                               \
        if ((call) != LMB_OK) {                        \
            fprintf(stderr, "%s: %s\n", #call, err.msg); \
            exit(1);                                   \
        }                                              \
    } while (0)

/* One stage for one client: the server's message in, the answer out. */
static void tell(lmb_secagg_server *s, lmb_secagg_client *c, uint32_t id, lmb_str *in, lmb_str *out, double *client,
                 costs *k)
{
    lmb_error err = LMB_ERROR_INIT;
    double t0 = now(), t1;
    lmb_str_clear(in);
    lmb_str_clear(out);
    OK(lmb_secagg_server_message(s, id, in, &err));
    t1 = now();
    OK(lmb_secagg_client_take(c, (const uint8_t *)in->text, in->n, out, &err));
    *client += now() - t1;
    k->relay += t1 - t0;
    k->bytes += in->n + out->n;
}

static void answer(lmb_secagg_server *s, uint32_t id, const lmb_str *out, costs *k)
{
    lmb_error err = LMB_ERROR_INIT;
    double t = now();
    OK(lmb_secagg_server_take(s, id, (const uint8_t *)out->text, out->n, &err));
    k->relay += now() - t;
}

static void upload(lmb_secagg_server *s, lmb_secagg_client *c, uint32_t id, const lmb_secagg_session *session,
                   lmb_str *out, costs *k)
{
    static uint8_t packed[BLOCK * 8];
    lmb_ring_vector v;
    lmb_error err = LMB_ERROR_INIT;
    double t;
    OK(lmb_ring_init(&v, session->coding.ring_bits, session->coding.length + 1, &err));
    for (size_t i = 0; i < v.n; i++)
        lmb_ring_set(&v, i, id + i % 100);
    t = now();
    OK(lmb_secagg_client_mask(c, &v, NULL, out, &err));
    k->mask += now() - t;
    k->bytes += out->n;
    OK(lmb_secagg_server_vector(s, id, (const uint8_t *)out->text, out->n, &err));
    for (size_t at = 0; at < v.n; at += BLOCK) {
        size_t count = v.n - at < BLOCK ? v.n - at : BLOCK;
        lmb_pack(&v, at, count, packed);
        t = now();
        OK(lmb_secagg_server_block(s, packed, count, &err));
        k->add += now() - t;
    }
    OK(lmb_secagg_server_vector_end(s, &err));
    lmb_ring_deinit(&v);
}

static void check_sum(const scene *sc, const lmb_ring_vector *sum)
{
    for (size_t i = 0; i < sum->n; i++) {
        uint64_t want = 0;
        for (uint32_t id = sc->gone; id < sc->n; id++)
            want += id + i % 100;
        if (lmb_ring_get(sum, i) != (want & ((UINT64_C(1) << sum->bits) - 1))) {
            fprintf(stderr, "%s: the sum is wrong at %zu\n", sc->name, i);
            exit(1);
        }
    }
}

static void run(const scene *sc)
{
    lmb_secagg_session session = { .mode = sc->trust.mode };
    lmb_roster_row *rows = calloc(sc->n, sizeof *rows);
    uint8_t(*secret)[LMB_SIGN_SECRET] = calloc(sc->n, sizeof *secret), admin[LMB_SIGN_SECRET],
    admin_public[LMB_SIGN_PUBLIC];
    uint32_t *ids = calloc(sc->n, sizeof *ids), clients, stay = sc->n - sc->gone;
    lmb_secagg_client **c = calloc(sc->n, sizeof *c);
    lmb_str in = LMB_STR_INIT, out = LMB_STR_INIT, signed_ = LMB_STR_INIT;
    lmb_secagg_server_setup us = {
        .session = &session, .cohort = ids, .n = sc->n, .trust = sc->trust, .shape = sc->shape
    };
    lmb_secagg_server *s;
    lmb_secagg_shape shape;
    lmb_roster roster;
    lmb_ring_vector sum;
    lmb_error err = LMB_ERROR_INIT;
    costs k = { 0 };
    double t;

    session.coding =
        (lmb_secagg_coding){ .length = sc->length, .clients = sc->n, .weight_max = 1, .value_bits = 16, .clip = 1 };
    session.coding.ring_bits = lmb_secagg_coding_ring(&session.coding);
    crypto_sign_keypair(admin_public, admin);
    for (uint32_t i = 0; i < sc->n; i++) {
        rows[i].id = ids[i] = i;
        crypto_sign_keypair(rows[i].key, secret[i]);
    }
    OK(signed_roster(rows, sc->n, &session.federation, admin, &signed_, &err));
    OK(lmb_roster_open(&roster, (const uint8_t *)signed_.text, signed_.n, &session.federation, admin_public, &err));
    us.roster = &roster;
    OK(lmb_secagg_server_create(&us, &s, &err));
    for (uint32_t i = 0; i < sc->n; i++) {
        lmb_secagg_client_setup uc = { .session = &session, .roster = &roster, .id = i, .sign_secret = secret[i],
                                       .trust = sc->trust };
        lmb_str_clear(&out);
        OK(lmb_secagg_client_create(&uc, &c[i], &out, &err));
        k.bytes += out.n;
        answer(s, i, &out, &k);
    }
    OK(lmb_secagg_server_advance(s, &err));
    shape = lmb_secagg_server_shape(s);
    for (uint32_t i = 0; i < sc->n; i++) {
        tell(s, c[i], i, &in, &out, &k.share, &k);
        answer(s, i, &out, &k);
    }
    OK(lmb_secagg_server_advance(s, &err));
    for (uint32_t i = sc->gone; i < sc->n; i++) {
        tell(s, c[i], i, &in, &out, &k.share, &k);
        upload(s, c[i], i, &session, &out, &k);
    }
    OK(lmb_secagg_server_advance(s, &err));
    for (uint32_t i = sc->gone; i < sc->n; i++) {
        tell(s, c[i], i, &in, &out, &k.reveal, &k);
        answer(s, i, &out, &k);
    }
    OK(lmb_secagg_server_advance(s, &err));
    t = now();
    OK(lmb_secagg_server_finish(s, NULL, &sum, &clients, &err));
    k.unmask = now() - t;
    check_sum(sc, &sum);

    printf("%-13s %u clients, %u left, degree %u, threshold %u, %llu numbers of %u bits: a client shares %.0f ms, "
           "masks %.0f "
           "ms, reveals %.1f ms; the server relays %.2f s, adds %.2f s, unmasks %.2f s\n",
           sc->name, sc->n, sc->gone, shape.degree, shape.threshold, (unsigned long long)sc->length,
           session.coding.ring_bits, 1e3 * k.share / sc->n, 1e3 * k.mask / stay, 1e3 * k.reveal / stay, k.relay, k.add,
           k.unmask);
    if (sc->gone == 0) { /* as in the paper's table: 2^20 numbers of 16 bits, up and down, without the model */
        size_t numbers = 1 << 20, plain = 2 * numbers, vector = lmb_pack_bytes(session.coding.ring_bits, numbers + 1);
        double each = (double)k.bytes / sc->n, neighbour = each / shape.degree;
        printf("%-13s %.0f bytes of messages a client (%.0f a neighbour), vector %zu, plain %zu: %.3f times; on the "
               "complete "
               "graph %.3f times\n",
               sc->name, each, neighbour, vector, plain, (each + (double)vector) / (double)plain,
               (neighbour * (sc->n - 1) + (double)vector) / (double)plain);
    }
    for (uint32_t i = 0; i < sc->n; i++)
        lmb_secagg_client_destroy(c[i]);
    lmb_secagg_server_destroy(s);
    lmb_ring_deinit(&sum);
    lmb_roster_close(&roster);
    lmb_str_free(&in);
    lmb_str_free(&out);
    lmb_str_free(&signed_);
    free(rows);
    free(secret);
    free(ids);
    free(c);
}

int main(int argc, char **argv)
{
    if (sodium_init() < 0)
        return 1;
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        int wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], scenes[i].name) == 0;
        if (wanted)
            run(&scenes[i]);
    }
    return 0;
}
