/* Mirrors comm/: every parser that meets bytes of a stranger, on thousands of mutated valid inputs. What is asked
 * of each: it returns, with a sentence when it refuses; what it accepts says the same when written again; and no
 * byte that was tampered with ever comes out of a channel. */
#define FUZZ_SUITE "comm"
#include "tests/fuzz/fuzz.h"

#include "comm/bytes.h"
#include "comm/channel.h"
#include "comm/wire.h"

enum { ROUNDS = 20000, CHANNEL_ROUNDS = 4000, RECORDS = 5, SCRIPT = 4096 };

#define SEED(text) { (const uint8_t *)(text), sizeof(text) - 1 }

static void ck_refused(lmb_status st, const lmb_error *err)
{
    ck_assert_int_eq(err->status, st);
    ck_assert_msg(st == LMB_E_FORMAT || st == LMB_E_DENIED || st == LMB_E_ARG, "status %s", lmb_status_name(st));
    ck_assert_msg(strlen(err->msg) > 10, "no sentence: '%s'", err->msg);
}

/* ---- invite ---- */

static void invite_target(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1), again[LMB_INVITE_MAX];
    lmb_error err = LMB_ERROR_INIT;
    lmb_invite a, b;
    lmb_status st;
    memcpy(text, data, bytes);
    text[bytes] = 0;
    st = lmb_invite_parse(text, &a, &err);
    if (st != LMB_OK) {
        ck_refused(st, &err);
    } else {
        ck_ok(lmb_invite_format(&a, again, &err));
        ck_ok(lmb_invite_parse(again, &b, &err));
        ck_assert_str_eq(a.host, b.host);
        ck_assert_uint_eq(a.port, b.port);
        ck_assert_mem_eq(a.server_public, b.server_public, sizeof a.server_public);
        ck_assert_mem_eq(a.token, b.token, sizeof a.token);
    }
    free(text);
}

#define KEY_AND_TOKEN ":7100:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8:AAECAwQFBgcICQoLDA0ODw"
#define H50 "a.long.host.name.of.fifty.characters.in.all.and.o."

START_TEST(invites)
{
    static const fuzz_seed seeds[] = {
        /* hosts of 253 and 255 characters; the limit is 253 */
        SEED("lmb1:" H50 H50 H50 H50 H50 "org" KEY_AND_TOKEN), SEED("lmb1:" H50 H50 H50 H50 H50 "a.org" KEY_AND_TOKEN),
        SEED("lmb1:fed.example.org" KEY_AND_TOKEN),
        SEED("lmb1:[2001:db8::1]:1:_____________________________________________-8:_____________________w\n"),
        SEED("lmb1:[2001:db8::1]:65535:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8:AAECAwQFBgcICQoLDA0ODw\r\n"),
        SEED("lmb1:["),
    };
    fuzz_run(invite_target, seeds, sizeof seeds / sizeof *seeds, ROUNDS);
}
END_TEST

/* ---- wire ---- */

typedef struct sample {
    uint32_t count;
    uint64_t size;
    double value;
    uint8_t hash[32];
    char name[16], note[2000];
    lmb_figures metrics;
} sample;

static const lmb_wire_field sample_rows[] = {
    LMB_WIRE(sample, count, U32, 0),      LMB_WIRE(sample, name, TEXT, 16),      LMB_WIRE(sample, size, U64, 0),
    LMB_WIRE(sample, hash, BYTES, 32),    LMB_WIRE(sample, metrics, METRICS, 0), LMB_WIRE(sample, value, REAL, 0),
    LMB_WIRE(sample, note, TEXT, 2000),   LMB_WIRE_LAST,
};

static void wire_target(const uint8_t *data, size_t bytes)
{
    static const size_t cap = 4096;
    uint8_t *again = malloc(cap);
    lmb_error err = LMB_ERROR_INIT;
    sample m;
    size_t n;
    lmb_status st = lmb_wire_read("sample", sample_rows, data, bytes, &m, &err);
    if (st != LMB_OK) {
        ck_refused(st, &err);
    } else {
        ck_ok(lmb_wire_write("sample", sample_rows, &m, again, cap, &n, &err));
        ck_assert_uint_eq(n, bytes);
        ck_assert_mem_eq(again, data, n);
    }
    free(again);
}

START_TEST(messages)
{
    static uint8_t a[4096], b[4096], c[4096];
    static sample m;
    static const char longer[] = "sixteen letters!";
    size_t n;
    lmb_error err = LMB_ERROR_INIT;
    fuzz_seed seeds[3] = { { a, 0 }, { b, 0 }, { c, 0 } };

    ck_ok(lmb_wire_write("sample", sample_rows, &m, a, sizeof a, &seeds[0].bytes, &err));
    m = (sample){ 3, 1ull << 40, -0.5, { 9 }, "client of five", "a line\x1b[2J\nand another", { 0 } };
    for (int i = 0; i < LMB_METRICS_MAX; i++)
        lmb_figures_add(&m.metrics, i % 2 ? "loss" : "accuracy_on_the_validation_set", i / 3.0);
    ck_ok(lmb_wire_write("sample", sample_rows, &m, b, sizeof b, &seeds[1].bytes, &err));
    /* the same with a name one byte longer than its place, behind the four bytes of `count` */
    lmb_put_u32(c, m.count);
    lmb_put_u16(c + 4, sizeof m.name);
    memcpy(c + 6, longer, sizeof m.name);
    n = 6 + strlen(m.name);
    memcpy(c + 6 + sizeof m.name, b + n, seeds[1].bytes - n);
    seeds[2].bytes = 6 + sizeof m.name + seeds[1].bytes - n;
    fuzz_run(wire_target, seeds, 3, ROUNDS);
}
END_TEST

/* ---- record frames ---- */

static void frame_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    size_t n = 0;
    lmb_status st;
    if (bytes < 4)
        return;
    st = lmb_record_frame(data, &n, &err);
    if (st != LMB_OK)
        ck_refused(st, &err);
    else
        ck_assert(n == lmb_get_u32(data) && n >= LMB_RECORD_HEAD + 17 && n <= LMB_RECORD_SEALED);
}

START_TEST(frames)
{
    static const fuzz_seed seeds[] = { SEED("\x21\x00\x00\x00"), SEED("\x21\x80\x00\x00"), SEED("\x00\x00\x01\x00") };
    fuzz_run(frame_target, seeds, sizeof seeds / sizeof *seeds, ROUNDS);
}
END_TEST

/* ---- record streams: whatever is done to one, what opens is a beginning of what was sealed ---- */

static uint8_t stream_key[32];
static void stream_begin(void) { memset(stream_key, 5, sizeof stream_key); }

static void stream_record(uint32_t i, uint8_t body[200], lmb_record *r)
{
    memset(body, (int)('a' + i), 200);
    *r = (lmb_record){ (uint8_t)(i + 1), i * 7, 1000ull * i, i ? body : NULL, i ? 40u * i : 0 };
}

static void stream_target(const uint8_t *data, size_t bytes)
{
    static uint8_t plain[LMB_RECORD_PLAIN];
    lmb_error err = LMB_ERROR_INIT;
    lmb_record_stream rx;
    size_t at = LMB_RECORD_START, n;
    lmb_status st;

    if (bytes < LMB_RECORD_START)
        return;
    st = lmb_record_receiver(&rx, stream_key, data, &err);
    for (uint32_t i = 0; st == LMB_OK && bytes - at >= 4; i++) {
        uint8_t body[200];
        lmb_record want, r;
        bool final = false;
        st = lmb_record_frame(data + at, &n, &err);
        if (st != LMB_OK || bytes - at - 4 < n)
            break;
        st = lmb_record_open(&rx, data + at + 4, n, plain, &r, &final, &err);
        at += 4 + n;
        if (st != LMB_OK)
            break;
        ck_assert_uint_lt(i, RECORDS);
        stream_record(i, body, &want);
        ck_assert(r.type == want.type && r.message == want.message && r.offset == want.offset && r.bytes == want.bytes);
        if (r.bytes)
            ck_assert_mem_eq(r.body, want.body, r.bytes);
        ck_assert_int_eq(final, i == RECORDS - 1);
    }
    if (st != LMB_OK)
        ck_refused(st, &err);
}

START_TEST(record_streams)
{
    static uint8_t script[2][SCRIPT], frame[LMB_RECORD_FRAME];
    fuzz_seed seeds[2] = { { script[0], 0 }, { script[1], 0 } };
    lmb_error err = LMB_ERROR_INIT;

    stream_begin();
    for (int s = 0; s < 2; s++) { /* two sessions under one key: records of one must not open in the other */
        lmb_record_stream tx;
        size_t n, at = LMB_RECORD_START;
        lmb_record_sender(&tx, stream_key, script[s]);
        for (uint32_t i = 0; i < RECORDS; i++) {
            uint8_t body[200];
            lmb_record r;
            stream_record(i, body, &r);
            ck_ok(lmb_record_seal(&tx, &r, i == RECORDS - 1, frame, &n, &err));
            ck_assert_uint_le(at + n, SCRIPT);
            memcpy(script[s] + at, frame, n);
            at += n;
        }
        seeds[s].bytes = at;
    }
    fuzz_run(stream_target, seeds, 2, CHANNEL_ROUNDS);
}
END_TEST

/* ---- the channel as a server meets it: a stranger edits what an honest client says on its first flight ---- */

typedef struct gate {
    uint8_t server_secret[32], client_public[32];
    lmb_token token;
} gate;

static gate world;
static uint8_t world_client[32];

/* The same keys at each run, so that a recorded flight stays a good one. */
static void channel_begin(void)
{
    static const uint8_t token[LMB_TOKEN_BYTES] = { 4, 8, 15, 16, 23, 42 };
    memset(world.server_secret, 7, sizeof world.server_secret);
    memset(world_client, 9, sizeof world_client);
    lmb_noise_public(world_client, world.client_public);
    world.token = lmb_token_derive(token);
}

static lmb_status gate_token(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[32], lmb_error *err)
{
    const gate *g = ctx;
    if (memcmp(id, g->token.id, LMB_TOKEN_ID) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "the token is not known");
    memcpy(psk, g->token.psk, LMB_NOISE_KEY);
    return LMB_OK;
}

static lmb_status gate_fresh(void *ctx, const uint8_t client[LMB_NOISE_KEY], uint64_t time, lmb_error *err)
{
    const gate *g = ctx;
    if (time != 77 || memcmp(client, g->client_public, LMB_NOISE_KEY) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "the client is not enrolled");
    return LMB_OK;
}

/* Answers of the server depend on its fresh key, so nothing that was recorded can open a record here: the channel
 * may finish its handshake (an IK first message can be replayed) and must never count as proven. */
static void channel_target(const uint8_t *data, size_t bytes)
{
    lmb_channel_gate how = { gate_token, gate_fresh, &world };
    lmb_error err = LMB_ERROR_INIT;
    lmb_channel *c;
    lmb_status st = LMB_OK;
    size_t queued;

    ck_ok(lmb_channel_server(world.server_secret, &how, &c, &err));
    for (size_t at = 0; st == LMB_OK && at < bytes;) {
        lmb_record r;
        bool got = false;
        size_t piece = 1 + data[at] % 90, used;
        used = lmb_channel_feed(c, data + at, bytes - at < piece ? bytes - at : piece);
        ck_assert_uint_gt(used, 0);
        at += used;
        st = lmb_channel_next(c, &r, &got, &err);
        ck_assert(!got && !lmb_channel_proven(c) && !lmb_channel_ended(c));
    }
    lmb_channel_output(c, &queued);
    ck_assert_uint_le(queued, 4096); /* a stranger cannot make the server say much */
    if (st != LMB_OK) {
        ck_refused(st, &err);
        ck_assert(!lmb_channel_ready(c));
    }
    lmb_channel_destroy(c);
}

/* What a client with `token` says to a server that answers, up to three records. */
static void record_client(const lmb_token *token, const uint8_t secret[32], uint8_t script[SCRIPT], size_t *bytes)
{
    uint8_t server_public[32];
    lmb_channel_gate how = { gate_token, gate_fresh, &world };
    lmb_error err = LMB_ERROR_INIT;
    lmb_channel *client, *server;
    lmb_record hello = { 1, 0, 0, (const uint8_t *)"hello", 5 }, r;
    bool got, said = false;
    size_t n;

    lmb_noise_public(world.server_secret, server_public);
    ck_ok(lmb_channel_server(world.server_secret, &how, &server, &err));
    ck_ok(lmb_channel_client(secret, server_public, token, 77, &client, &err));
    *bytes = 0;
    for (int turn = 0; turn < 4; turn++) {
        const void *p;
        if (lmb_channel_ready(client) && !said) {
            ck_ok(lmb_channel_send(client, &hello, &err));
            lmb_channel_close(client);
            said = true;
        }
        p = lmb_channel_output(client, &n);
        ck_assert_uint_le(*bytes + n, SCRIPT);
        if (n)
            memcpy(script + *bytes, p, n);
        *bytes += n;
        ck_assert_uint_eq(lmb_channel_feed(server, p ? p : "", n), n);
        lmb_channel_sent(client, n);
        do
            ck_ok(lmb_channel_next(server, &r, &got, &err));
        while (got);
        p = lmb_channel_output(server, &n);
        ck_assert_uint_eq(lmb_channel_feed(client, p ? p : "", n), n);
        lmb_channel_sent(server, n);
        ck_ok(lmb_channel_next(client, &r, &got, &err));
    }
    ck_assert(lmb_channel_proven(server) && lmb_channel_ended(server)); /* the script is a good one */
    lmb_channel_destroy(client);
    lmb_channel_destroy(server);
}

START_TEST(first_flights)
{
    static uint8_t ik[SCRIPT], xx[SCRIPT],
        flood[2 * LMB_RECORD_FRAME] = "LMB1\1\xff\xff"; /* a message of 65,535 bytes */
    fuzz_seed seeds[3] = { { ik, 0 }, { xx, 0 }, { flood, sizeof flood } };

    channel_begin();
    record_client(NULL, world_client, ik, &seeds[0].bytes);
    record_client(&world.token, world_client, xx, &seeds[1].bytes);
    fuzz_run(channel_target, seeds, 3, CHANNEL_ROUNDS);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/comm", add(invites); add(messages); add(frames); add(record_streams); add(first_flights);)
#endif
