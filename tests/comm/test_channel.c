/* Mirrors comm/channel.c and comm/record.c: a whole conversation between two buffers, and all that may go wrong
 * between them. */
#include "comm/channel.h"

#include <string.h>

#include "tests/check_main.h"

static lmb_error err;

typedef struct world {
    uint8_t server_secret[32], server_public[32], client_secret[32], client_public[32];
    lmb_token token;
    uint64_t last_time;
    lmb_channel *client, *server;
    int token_asked;
} world;

static lmb_status gate_token(void *ctx, const uint8_t id[LMB_TOKEN_ID], uint8_t psk[32], lmb_error *e)
{
    world *w = ctx;
    w->token_asked++;
    if (memcmp(id, w->token.id, LMB_TOKEN_ID) != 0)
        return LMB_FAIL(e, LMB_E_DENIED, "unknown token");
    memcpy(psk, w->token.psk, 32);
    return LMB_OK;
}

static lmb_status gate_fresh(void *ctx, const uint8_t client[32], uint64_t time, lmb_error *e)
{
    world *w = ctx;
    (void)client;
    return time > w->last_time ? LMB_OK : LMB_FAIL(e, LMB_E_DENIED, "a recorded first message was sent again");
}

static void open_world(world *w, bool enrol, uint64_t time)
{
    uint8_t secret[LMB_TOKEN_BYTES] = "sixteen bytes !!";
    lmb_channel_gate gate = { gate_token, gate_fresh, w };
    memset(w, 0, sizeof *w);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_noise_keygen(w->server_secret, w->server_public);
    lmb_noise_keygen(w->client_secret, w->client_public);
    w->token = lmb_token_derive(secret);
    ck_ok(lmb_channel_server(w->server_secret, &gate, &w->server, &err));
    ck_ok(lmb_channel_client(w->client_secret, w->server_public, enrol ? &w->token : NULL, time, &w->client, &err));
}

static void close_world(world *w)
{
    lmb_channel_destroy(w->client);
    lmb_channel_destroy(w->server);
}

/* Move everything that waits in `from` to `to`, `piece` bytes at a time; stops at the first record. */
static lmb_status move(lmb_channel *from, lmb_channel *to, size_t piece, lmb_record *r, bool *got)
{
    size_t n;
    const uint8_t *p;
    *got = false;
    while ((p = lmb_channel_output(from, &n)) != NULL) {
        size_t used = lmb_channel_feed(to, p, n < piece ? n : piece);
        lmb_channel_sent(from, used);
        LMB_TRY(lmb_channel_next(to, r, got, &err));
        if (*got)
            return LMB_OK;
    }
    return LMB_OK;
}

static void shake(world *w, size_t piece)
{
    lmb_record r;
    bool got;
    for (int i = 0; i < 3; i++) {
        ck_ok(move(w->client, w->server, piece, &r, &got));
        ck_ok(move(w->server, w->client, piece, &r, &got));
    }
    ck_assert(lmb_channel_ready(w->client) && lmb_channel_ready(w->server));
    ck_assert_mem_eq(lmb_channel_peer(w->server), w->client_public, 32);
    ck_assert_mem_eq(lmb_channel_peer(w->client), w->server_public, 32);
}

START_TEST(a_conversation_in_pieces)
{
    static const size_t pieces[] = { 1, 3, 100, 100000 };
    static uint8_t body[LMB_RECORD_BODY];
    world w;
    lmb_record r, in = { 7, 42, 1ull << 40, body, sizeof body };
    bool got;

    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 31);
    open_world(&w, _i % 2, 5);
    shake(&w, pieces[_i / 2]);
    ck_assert_int_eq(w.token_asked, _i % 2);
    ck_assert(!lmb_channel_proven(w.server));
    ck_ok(lmb_channel_send(w.client, &in, &err));
    ck_ok(move(w.client, w.server, pieces[_i / 2], &r, &got));
    ck_assert(got && lmb_channel_proven(w.server));
    ck_assert_uint_eq(r.type, 7);
    ck_assert_uint_eq(r.message, 42);
    ck_assert_uint_eq(r.offset, 1ull << 40);
    ck_assert_uint_eq(r.bytes, sizeof body);
    ck_assert_mem_eq(r.body, body, sizeof body);
    in.bytes = 0;
    ck_ok(lmb_channel_send(w.server, &in, &err));
    ck_ok(move(w.server, w.client, pieces[_i / 2], &r, &got));
    ck_assert(got && r.bytes == 0 && r.body == NULL);
    ck_assert(!lmb_channel_ended(w.server));
    lmb_channel_close(w.client);
    ck_ok(move(w.client, w.server, 100000, &r, &got));
    ck_assert(!got && lmb_channel_ended(w.server));
    ck_assert_int_eq(lmb_channel_send(w.client, &in, &err), LMB_E_ARG);
    close_world(&w);
}
END_TEST

/* Take three sealed records off the wire, change what `damage` says, and expect a refusal. */
typedef enum { FLIP, REPEAT, REORDER, DROP, CUT, GROW, KINDS } damage;

START_TEST(damaged_records_are_refused)
{
    static uint8_t wire[4096];
    world w;
    lmb_record r, in = { 1, 0, 0, (const uint8_t *)"0123456789", 10 };
    size_t n, one;
    const void *p;
    bool got = false;
    lmb_status st = LMB_OK;

    open_world(&w, false, 5);
    shake(&w, 100000);
    for (int i = 0; i < 3; i++)
        ck_ok(lmb_channel_send(w.client, &in, &err));
    p = lmb_channel_output(w.client, &n);
    memcpy(wire, p, n);
    one = n / 3;
    switch ((damage)_i) {
    case FLIP: wire[one - 1] ^= 1; break;
    case REPEAT: memcpy(wire + one, wire, one); break;
    case REORDER: memcpy(wire, wire + one, one); break;
    case DROP: memmove(wire + one, wire + 2 * one, one); n -= one; break;
    case CUT: wire[0]--; break;
    case GROW: memset(wire, 0xff, 4); break;
    case KINDS: break;
    }
    ck_assert_uint_eq(lmb_channel_feed(w.server, wire, n), n);
    do
        st = lmb_channel_next(w.server, &r, &got, &err);
    while (st == LMB_OK && got);
    ck_assert_int_eq(st, _i == GROW ? LMB_E_FORMAT : LMB_E_DENIED);
    ck_assert(!lmb_channel_ended(w.server));
    /* dead for good */
    ck_assert_int_ne(lmb_channel_next(w.server, &r, &got, &err), LMB_OK);
    ck_assert(!lmb_channel_ready(w.server));
    close_world(&w);
}
END_TEST

START_TEST(a_replayed_first_flight_is_refused)
{
    uint8_t flight[512];
    size_t n;
    world w;
    lmb_record r;
    bool got;
    lmb_channel *again;
    lmb_channel_gate gate = { gate_token, gate_fresh, &w };

    open_world(&w, false, 9);
    const void *p = lmb_channel_output(w.client, &n);
    ck_assert_uint_le(n, sizeof flight);
    memcpy(flight, p, n);
    shake(&w, 100000);
    w.last_time = lmb_channel_time(w.server);
    ck_assert_uint_eq(w.last_time, 9);
    ck_ok(lmb_channel_server(w.server_secret, &gate, &again, &err));
    lmb_channel_feed(again, flight, n);
    ck_assert_int_eq(lmb_channel_next(again, &r, &got, &err), LMB_E_DENIED);
    ck_assert_str_eq(err.msg, "a recorded first message was sent again");
    lmb_channel_destroy(again);
    close_world(&w);
}
END_TEST

START_TEST(the_wrong_server_is_noticed)
{
    world w, other;
    lmb_record r;
    bool got;
    lmb_status st = LMB_OK;

    open_world(&w, _i, 1);
    open_world(&other, _i, 1);
    for (int i = 0; i < 3 && st == LMB_OK; i++) {
        st = move(w.client, other.server, 100000, &r, &got);
        if (st == LMB_OK)
            st = move(other.server, w.client, 100000, &r, &got);
    }
    ck_assert_int_eq(st, LMB_E_DENIED);
    ck_assert(!lmb_channel_ready(w.client));
    close_world(&w);
    close_world(&other);
}
END_TEST

START_TEST(other_protocols_are_refused)
{
    static const char *const hello[] = { "GET / HTTP/1.1\r\n\r\n", "LMB1\x07zzzz", "\x16\x03\x01\x02\x01\x01" };
    lmb_record r;
    bool got;
    world w;
    open_world(&w, false, 1);
    lmb_channel_feed(w.server, hello[_i], strlen(hello[_i]));
    ck_assert_int_eq(lmb_channel_next(w.server, &r, &got, &err), LMB_E_FORMAT);
    close_world(&w);
}
END_TEST

/* While a server's key changes it answers to both, over either pattern; a third key is nobody's. Both sides then have
 * one hash of the session, which no other session has. */
START_TEST(a_server_with_two_keys)
{
    const bool enrol = _i % 2;
    world w, x;
    uint8_t other[32], other_public[32];
    lmb_record r;
    bool got;

    open_world(&w, enrol, 5);
    lmb_noise_keygen(other, other_public);
    lmb_channel_also(w.server, _i < 2 ? other : w.server_secret);
    if (_i < 2) { /* the client means the second */
        memcpy(w.server_public, other_public, sizeof other_public);
        lmb_channel_destroy(w.client);
        ck_ok(lmb_channel_client(w.client_secret, other_public, enrol ? &w.token : NULL, 5, &w.client, &err));
    }
    shake(&w, 7);
    ck_assert_mem_eq(lmb_channel_hash(w.client), lmb_channel_hash(w.server), LMB_NOISE_HASH);
    open_world(&x, enrol, 5);
    shake(&x, 1000);
    ck_assert_mem_ne(lmb_channel_hash(w.client), lmb_channel_hash(x.client), LMB_NOISE_HASH);
    close_world(&x);
    close_world(&w);
    open_world(&w, enrol, 5);
    lmb_channel_also(w.server, other);
    lmb_noise_keygen(other, other_public);
    lmb_channel_destroy(w.client);
    ck_ok(lmb_channel_client(w.client_secret, other_public, enrol ? &w.token : NULL, 5, &w.client, &err));
    ck_assert_int_eq(move(w.client, w.server, 1000, &r, &got), LMB_E_DENIED);
    close_world(&w);
}
END_TEST

LMB_TEST_MAIN("comm/channel", add_loop(a_server_with_two_keys, 4); add_loop(a_conversation_in_pieces, 8);
              add_loop(damaged_records_are_refused, KINDS); add(a_replayed_first_flight_is_refused);
              add_loop(the_wrong_server_is_noticed, 2); add_loop(other_protocols_are_refused, 3);)
