/* Mirrors federated/local.c, lookup_dns.c and local_time.c: bytes that a client meets from a server it knows and from
 * whoever can send it a datagram. A graph that is taken has a state whose numbers go there and back; an address comes
 * from an answer to the question; a clock is off by less than a week. */
#define FUZZ_SUITE "client"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>

#include "core/base/config.h"
#include "core/onnx/onnx.h"
#include "federated/local.h"
#include "federated/local_time.h"
#include "federated/lookup.h"
#include "train/model.h"

enum { ROUNDS = 20000, GRAPH_ROUNDS = 1500, SETTINGS_ROUNDS = 3000, BIG = 1 << 16 };

/* ---- settings: YAML ---- */

static void settings_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *yaml;

    if (lmb_config_parse((const char *)data, bytes, "settings", &yaml, &err) == LMB_OK) {
        if (lmb_local_check(lmb_config_root(yaml), NULL, &err) != LMB_OK)
            ck_assert_uint_gt(strlen(err.msg), 10);
        lmb_config_destroy(yaml);
    } else {
        ck_assert_uint_gt(strlen(err.msg), 10);
    }
}

#define SEED(text) { (const uint8_t *)(text), sizeof(text) - 1 }

START_TEST(settings)
{
    static const fuzz_seed seeds[] = {
        SEED(
            "train: {epochs: 2, batch: 10, lr: 0.05, threads: 1, optimizer: {name: sgd, momentum: 0}}\nterm: scaffold\n"),
        SEED("distill: {alpha: 0.5, temperature: 4}\ncalibrate: 1\nprox: 0.01\ndecay: 0.99\n"),
        SEED("keep: batch_norm\nvalidation: 0.2\npersonal: {head: 3, lr: 0.1}\n"),
        SEED("keep: [\"*.bias\", 'top*']\ntrain:\n  lr: 1e-3\n  schedule: {name: cosine}\n  # a comment\n"),
        SEED("a: &x [1, 2]\nb: *x\n? c\n: - d\n  - |\n    text\n"),
    };
    fuzz_run(settings_target, seeds, sizeof seeds / sizeof *seeds, SETTINGS_ROUNDS);
}
END_TEST

/* ---- graphs: ONNX ---- */

static void graph_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_state_layout *l;
    lmb_graph *g;

    if (lmb_onnx_import(data, bytes, NULL, &g, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    if (lmb_state_layout_create(g, &l, &err) == LMB_OK) {
        float *state = l->count < BIG ? malloc((l->count + 1) * sizeof *state) : NULL;
        if (state) {
            lmb_state_from_graph(l, g, state);
            ck_assert_int_eq(lmb_state_to_graph(l, state, g, &err), LMB_OK);
        }
        free(state);
        lmb_state_layout_destroy(l);
    }
    lmb_graph_destroy(g);
}

START_TEST(graphs)
{
    static const char *const text[] = {
        "{name: layers, mean: 0, scale: 1, layers: [{conv: {channels: 2, name: c1}}, {pool: max}, flatten, {dense: {name: top}}]}",
        "{name: mlp, hidden: [3]}",
    };
    lmb_shape shape = LMB_SHAPE(1, 4, 4);
    lmb_str bytes[2] = { LMB_STR_INIT, LMB_STR_INIT };
    fuzz_seed seeds[2];

    for (int i = 0; i < 2; i++) {
        lmb_error err = LMB_ERROR_INIT;
        lmb_config *yaml;
        lmb_graph *g;
        ck_ok(lmb_config_parse(text[i], strlen(text[i]), "m.yaml", &yaml, &err));
        ck_ok(lmb_model_build(lmb_config_root(yaml), &shape, 2, 1, &g, &err));
        ck_ok(lmb_onnx_export(g, NULL, &bytes[i], &err));
        seeds[i] = (fuzz_seed){ (const uint8_t *)bytes[i].text, bytes[i].n };
        lmb_graph_destroy(g);
        lmb_config_destroy(yaml);
    }
    fuzz_run(graph_target, seeds, 2, GRAPH_ROUNDS);
    for (int i = 0; i < 2; i++)
        lmb_str_free(&bytes[i]);
}
END_TEST

/* ---- name servers: the first byte says which question, the others are the answer; the number of it is made right
 * ---- */

static void dns_target(const uint8_t *data, size_t bytes)
{
    lmbi_dns_type type = bytes && data[0] & 1 ? LMBI_DNS_AAAA : LMBI_DNS_A;
    lmbi_addresses a = { .n = 0 };
    uint8_t question[LMBI_QUESTION], *answer;
    size_t n = lmbi_dns_question(question, 0x1234, bytes && data[0] & 2 ? "fed.example.org" : "fed", type);

    if (bytes < 2)
        return;
    answer = malloc(bytes - 1);
    memcpy(answer, data + 1, bytes - 1);
    memcpy(answer, question, bytes - 1 < 2 ? bytes - 1 : 2);
    if (lmbi_dns_answer(answer, bytes - 1, question, n, type, 7100, &a) != LMBI_FOUND)
        ck_assert_int_eq(a.n, 0);
    ck_assert_int_le(a.n, LMBI_ADDRESSES);
    for (int i = 0; i < a.n; i++) {
        const struct sockaddr_in *to = (const struct sockaddr_in *)&a.list[i].at;
        ck_assert_int_eq(to->sin_family, type == LMBI_DNS_A ? AF_INET : AF_INET6);
        ck_assert_int_eq(ntohs(to->sin_port), 7100); /* at the same place in both kinds */
    }
    free(answer);
}

START_TEST(name_servers)
{
    static uint8_t seed[4][600];
    fuzz_seed seeds[4];

    for (int k = 0; k < 4; k++) {
        uint8_t *p = seed[k];
        size_t size = k & 1 ? 16 : 4;
        *p++ = (uint8_t)k;
        p += lmbi_dns_question(p, 0x1234, k & 2 ? "fed.example.org" : "fed", k & 1 ? LMBI_DNS_AAAA : LMBI_DNS_A);
        seed[k][3] |= 0x80; /* an answer */
        seed[k][8] = 3;     /* with three rows: an alias, two addresses */
        memcpy(p, (uint8_t[]){ 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, 'x', 0xc0, 12 }, 16);
        p += 16;
        for (int row = 0; row < 2; row++) {
            memcpy(p, (uint8_t[]){ 1, 'x', 0xc0, 12, 0, k & 1 ? 28 : 1, 0, 1, 0, 0, 0, 9, 0, (uint8_t)size }, 14);
            memset(p + 14, 10 + row, size);
            p += 14 + size;
        }
        seeds[k] = (fuzz_seed){ seed[k], (size_t)(p - seed[k]) };
    }
    fuzz_run(dns_target, seeds, 4, ROUNDS);
}
END_TEST

/* ---- time zones: a file, or after a byte of 0 a rule ---- */

static void zone_target(const uint8_t *data, size_t bytes)
{
    static const int64_t when[] = { 0, 1700000000, -1, INT64_C(4000000000), INT64_C(-70000000000) };
    char rule[300];
    bool is_rule = bytes && data[0] == 0;
    size_t n = bytes < sizeof rule ? bytes : sizeof rule - 1;

    if (n)
        memcpy(rule, data, n);
    rule[n] = 0;
    for (size_t i = 0; i < sizeof when / sizeof *when; i++) {
        int64_t off = 0;
        bool known =
            is_rule ? lmbi_offset_by_rule(rule + 1, when[i], &off) : lmbi_offset_by_file(data, bytes, when[i], &off);
        ck_assert(!known || is_rule || (off >= INT32_MIN && off <= INT32_MAX));
        ck_assert(!known || !is_rule || (off > -7 * 86400 && off < 7 * 86400));
    }
}

START_TEST(zones)
{
    static const uint8_t file[] =
        "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\4"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0UTC\0\nCET-1CEST,M3.5.0,M10.5.0/3\n";
    static const fuzz_seed seeds[] = {
        { file, sizeof file - 1 },
        SEED("\0CET-1CEST,M3.5.0,M10.5.0/3"),
        SEED("\0<+0330>-3:30<+0430>,J79/24,J263/24"),
        SEED("\0EST5EDT,60/-1,300"),
    };
    fuzz_run(zone_target, seeds, sizeof seeds / sizeof *seeds, ROUNDS);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/client", add(settings); add(graphs); add(name_servers); add(zones);)
#endif
