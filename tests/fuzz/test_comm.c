/* tests/fuzz/test_comm.c - hostile bytes for every parser that reads from the network or from a user's clipboard.
 *
 * Idea: one function takes any bytes; the first picks the parser. As a test, a corpus of good inputs made by our own
 * writers is mutated a few thousand times in a way that never changes (Philox); the sanitizers are the judge. Built
 * with -DLMB_FUZZ=ON and clang the same function is a libFuzzer target, fuzz_comm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/channel.h"
#include "core/base/random.h"
#include "federated/messages.h"

enum { MESSAGES = 16, PARSERS = MESSAGES + 4, INPUT_MAX = 4096 };

static const uint8_t server_secret[32] = { 1, 2, 3 }, client_secret[32] = { 4, 5, 6 };

static lmb_status any_token(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[32], lmb_error *err)
{
    (void)ctx;
    (void)err;
    memset(psk, id[0], 32);
    return LMB_OK;
}

static lmb_status any_time(void *ctx, const uint8_t key[32], uint64_t time, lmb_error *err)
{
    (void)ctx;
    (void)key;
    (void)time;
    (void)err;
    return LMB_OK;
}

/* Bytes to a channel in two pieces; nothing may come out of it as a record. */
static void feed_channel(lmb_channel *c, const uint8_t *p, size_t n)
{
    size_t cut = n ? p[0] % n : 0;
    lmb_record r;
    bool got;
    for (int half = 0; half < 2; half++) {
        const uint8_t *at = half ? p + cut : p;
        size_t left = half ? n - cut : cut;
        while (left) {
            size_t used = lmb_channel_feed(c, at, left);
            if (lmb_channel_next(c, &r, &got, NULL) != LMB_OK)
                return;
            if (got)
                abort(); /* an unauthenticated record was believed */
            at += used;
            left -= used;
        }
    }
}

static void try_server(const uint8_t *p, size_t n)
{
    lmb_channel_gate gate = { any_token, any_time, NULL };
    lmb_channel *c;
    if (lmb_channel_server(server_secret, &gate, &c, NULL) != LMB_OK)
        abort();
    feed_channel(c, p, n);
    lmb_channel_destroy(c);
}

static void try_client(const uint8_t *p, size_t n, const lmb_token *token)
{
    uint8_t server_public[32];
    lmb_channel *c;
    lmb_noise_public(server_secret, server_public);
    if (lmb_channel_client(client_secret, server_public, token, 1, &c, NULL) != LMB_OK)
        abort();
    feed_channel(c, p, n);
    lmb_channel_destroy(c);
}

static void try_invite(const uint8_t *p, size_t n)
{
    char text[INPUT_MAX + 1], again[LMB_INVITE_MAX];
    lmb_invite in;
    memcpy(text, p, n);
    text[n] = 0;
    /* whatever is accepted can be written again */
    if (lmb_invite_parse(text, &in, NULL) == LMB_OK && lmb_invite_format(&in, again, NULL) != LMB_OK)
        abort();
}

static void try_message(unsigned type, const uint8_t *p, size_t n)
{
    union {
        lmb_hello hello;
        lmb_task_message task;
        lmb_update_message update;
        lmb_round_note note;
    } u;
    uint8_t again[INPUT_MAX];
    const char *name = NULL;
    const lmb_wire_field *rows = lmb_message_rows(type, &name);
    lmb_record r = { (uint8_t)type, 0, 0, p, n };
    size_t wrote = 0;
    if (lmb_message_read(&r, &u, NULL) != LMB_OK)
        return;
    /* one message has one spelling */
    if (lmb_wire_write(name, rows, &u, again, sizeof again, &wrote, NULL) != LMB_OK || wrote != n ||
        memcmp(again, p, n) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t token[LMB_TOKEN_BYTES] = { 9 };
    lmb_token t = lmb_token_derive(token);
    unsigned parser = n ? data[0] % PARSERS : 0;
    if (n < 1 || n > INPUT_MAX)
        return 0;
    data++;
    n--;
    switch (parser) {
    case MESSAGES: try_server(data, n); break;
    case MESSAGES + 1: try_client(data, n, NULL); break;
    case MESSAGES + 2: try_client(data, n, &t); break;
    case MESSAGES + 3: try_invite(data, n); break;
    default: try_message(parser, data, n); break;
    }
    return 0;
}

#ifndef LMB_LIBFUZZER
#include "tests/check_main.h"

enum { MUTATIONS = 1500 };

/* A good input for each parser. */
static size_t seed_input(unsigned parser, uint8_t *out)
{
    static const uint8_t token[LMB_TOKEN_BYTES] = { 9 };
    uint8_t server_public[32];
    size_t n = 0;
    out[0] = (uint8_t)parser;
    lmb_noise_public(server_secret, server_public);
    if (parser == MESSAGES + 3) {
        lmb_invite in = { "fed.example.org", 7100, { 1 }, { 2 } };
        char text[LMB_INVITE_MAX];
        ck_assert_int_eq(lmb_invite_format(&in, text, NULL), LMB_OK);
        memcpy(out + 1, text, strlen(text));
        return 1 + strlen(text);
    }
    if (parser >= MESSAGES) { /* a first flight; for clients it is noise, framed as they expect it */
        lmb_token t = lmb_token_derive(token);
        lmb_channel *c;
        ck_assert_int_eq(
            lmb_channel_client(client_secret, server_public, parser == MESSAGES + 2 ? &t : NULL, 5, &c, NULL), LMB_OK);
        const uint8_t *p = lmb_channel_output(c, &n);
        size_t skip = parser == MESSAGES ? 0 : 5;
        memcpy(out + 1, p + skip, n - skip);
        lmb_channel_destroy(c);
        return 1 + n - skip;
    }
    union {
        lmb_task_message task;
        lmb_update_message update;
        lmb_round_note note;
        uint8_t bytes[2048];
    } u = { .bytes = { 0 } };
    const char *name = NULL;
    const lmb_wire_field *rows = lmb_message_rows(parser, &name);
    if (rows == lmb_update_rows)
        for (int i = 0; i < 3; i++)
            lmb_metrics_add(&u.update.metrics, "loss", i);
    if (rows == lmb_note_rows)
        strcpy(u.note.sentence, "a sentence");
    if (rows)
        ck_assert_int_eq(lmb_wire_write(name, rows, &u, out + 1, INPUT_MAX - 1, &n, NULL), LMB_OK);
    return 1 + n;
}

/* Flip, overwrite, cut, grow or double; one to four times. */
static size_t mutate(uint8_t *p, size_t n, const lmb_rand *r)
{
    uint32_t e = 0, times = 1 + lmb_rand_below(r, e++, 4);
    for (uint32_t k = 0; k < times && n > 1; k++) {
        size_t at = 1 + lmb_rand_below(r, e++, (uint32_t)n - 1);
        uint32_t v = lmb_rand_u32(r, e++);
        switch (lmb_rand_below(r, e++, 5)) {
        case 0: p[at] ^= (uint8_t)(1u << (v % 8)); break;
        case 1: p[at] = v & 1 ? 0xff : (uint8_t)(v >> 8); break;
        case 2: n = at; break;
        case 3:
            for (uint32_t i = 0; i < v % 64 && n < INPUT_MAX; i++)
                p[n++] = (uint8_t)lmb_rand_u32(r, e++);
            break;
        default:
            if (n + (n - at) <= INPUT_MAX) {
                memmove(p + n, p + at, n - at);
                n += n - at;
            }
        }
    }
    return n;
}

START_TEST(mutated_inputs_do_no_harm)
{
    static uint8_t good[INPUT_MAX], bad[INPUT_MAX];
    size_t n = seed_input((unsigned)_i, good);
    int rounds = _i < MESSAGES || _i == MESSAGES + 3 ? MUTATIONS : MUTATIONS / 5; /* curves take their time */
    LLVMFuzzerTestOneInput(good, n);
    for (int k = 0; k < rounds; k++) {
        lmb_rand r = lmb_rand_at(11, LMB_RAND_TEST, (uint32_t)_i, (uint64_t)k);
        memcpy(bad, good, n);
        LLVMFuzzerTestOneInput(bad, mutate(bad, n, &r));
    }
}
END_TEST

LMB_TEST_MAIN("fuzz/comm", add_loop(mutated_inputs_do_no_harm, PARSERS);)
#endif
