/* Mirrors federated/server_peer.c and upload.c: clients that are not what they should be. In every case two honest
 * clients are there as well, the server says in its log what was wrong, and the round goes on without the offender. */
#include <math.h>
#include <sys/resource.h>

#include "tests/federated/raw.h"

/* ---- attacks on the handshake: strangers ---- */

static void not_enrolled(world *w, raw *r)
{
    raw_invite(w, r);
    raw_open(r, lmb_server_port(w->server), NULL, 5);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
}

static void unknown_token(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    t.id[0] ^= 1;
    raw_open(r, lmb_server_port(w->server), &t, 5);
    ck_assert(!raw_shake(r));
}

static void wrong_token_key(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    t.psk[0] ^= 1;
    raw_open(r, lmb_server_port(w->server), &t, 5);
    raw_shake(r);
}

static void used_token(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    lmb_record rec;
    raw thief = *r;
    raw_open(r, lmb_server_port(w->server), &t, 5);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
    ck_assert(raw_wait(r, LMB_MSG_TASK, &rec)); /* a third client is welcome */
    raw_close(r);
    thief.secret[3] ^= 0x55;
    raw_open(&thief, lmb_server_port(w->server), &t, 5);
    ck_assert(raw_shake(&thief));
    raw_hello(&thief, LMB_FED_VERSION);
    *r = thief;
}

static void expired_token(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    char text[LMB_SERVER_INVITE];
    ck_ok(lmb_server_invite(w->state, "127.0.0.1", lmb_server_port(w->server), 1, text, &err));
    ck_ok(lmb_invite_parse(text, &r->invite, &err));
    t = lmb_token_derive(r->invite.token);
    sleep(3);
    raw_open(r, lmb_server_port(w->server), &t, 5);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
}

/* What an eavesdropper has: the first flight of a client that is enrolled. */
static void replayed_flight(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    uint8_t flight[512];
    size_t n;
    lmb_record rec;
    raw_open(r, lmb_server_port(w->server), &t, 0);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
    ck_assert(raw_wait(r, LMB_MSG_TASK, &rec));
    raw_close(r);
    raw_open(r, lmb_server_port(w->server), NULL, 77);
    const void *p = lmb_channel_output(r->channel, &n);
    ck_assert_uint_le(n, sizeof flight);
    memcpy(flight, p, n);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
    ck_assert(raw_wait(r, LMB_MSG_TASK, &rec));
    raw_close(r);
    raw_open(r, lmb_server_port(w->server), NULL, 78);
    ck_assert_int_eq(send(r->fd, flight, n, 0), (ssize_t)n);
    ck_assert_int_eq(recv(r->fd, flight, 1, 0), 0); /* not one byte of answer */
}

static void not_our_protocol(world *w, raw *r)
{
    raw_invite(w, r);
    raw_open(r, lmb_server_port(w->server), NULL, 5);
    ck_assert_int_eq(send(r->fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    ck_assert_int_eq(recv(r->fd, r->body, 1, 0), 0);
}

/* Shows the signing key of another, and a proof it has from somewhere: of another session. */
static void borrowed_proof(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    lmb_hello hello = { .version = LMB_FED_VERSION, .name = "mallory" };
    raw other;
    lmb_token t2 = raw_invite(w, &other);
    raw_open(&other, lmb_server_port(w->server), &t2, 5);
    ck_assert(raw_shake(&other));
    lmb_hello_prove(&hello, other.channel, other.sign_secret);
    raw_close(&other);
    raw_open(r, lmb_server_port(w->server), &t, 5);
    ck_assert(raw_shake(r));
    ck_ok(lmb_message_send(r->channel, LMB_MSG_HELLO, &hello, &err));
    raw_flush(r);
}

/* Enrols with the signing key of a client that is there already; it cannot pass for it. */
static void second_owner(world *w, raw *r)
{
    raw other;
    join(w, &other);
    lmb_token t = raw_invite(w, r);
    memcpy(r->sign_secret, other.sign_secret, sizeof r->sign_secret);
    raw_open(r, lmb_server_port(w->server), &t, 5);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
    raw_close(&other);
}

/* Comes back with another signing key than it enrolled with. */
static void other_signer(world *w, raw *r)
{
    uint8_t unused[LMB_SIGN_PUBLIC];
    join(w, r);
    raw_close(r);
    crypto_sign_keypair(unused, r->sign_secret);
    raw_open(r, lmb_server_port(w->server), NULL, 5);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
}

/* Wants to change keys with a signature of neither; with that of the new one alone. */
static void unproved_rotation(world *w, raw *r)
{
    lmb_rotate_message m = { { 7 }, { 0 }, { 0 }, { 0 } };
    uint8_t unused[LMB_SIGN_PUBLIC], fresh[LMB_SIGN_SECRET];
    join(w, r);
    crypto_sign_keypair(unused, fresh);
    lmb_rotate_prove(&m, r->channel, fresh, fresh);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_ROTATE, &m, &err));
    raw_flush(r);
}

/* Wants the key of a client that is there. */
static void rotation_to_another(world *w, raw *r)
{
    lmb_rotate_message m = { { 0 }, { 0 }, { 0 }, { 0 } };
    uint8_t unused[LMB_SIGN_PUBLIC], fresh[LMB_SIGN_SECRET];
    raw other;
    join(w, &other);
    raw_close(&other);
    lmb_token t = raw_invite(w, r); /* the round has its three; this one is not asked */
    raw_open(r, lmb_server_port(w->server), &t, 0);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION);
    lmb_noise_public(other.secret, m.key);
    crypto_sign_keypair(unused, fresh);
    lmb_rotate_prove(&m, r->channel, r->sign_secret, fresh);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_ROTATE, &m, &err));
    raw_flush(r);
}

static void newer_version(world *w, raw *r)
{
    lmb_token t = raw_invite(w, r);
    raw_open(r, lmb_server_port(w->server), &t, 5);
    ck_assert(raw_shake(r));
    raw_hello(r, LMB_FED_VERSION + 1);
}

/* ---- attacks of an enrolled client in a round ---- */

typedef enum {
    MORE_VALUES,
    OTHER_LAYOUT,
    TEN_GIGABYTES,
    NO_EXAMPLES,
    MANY_EXAMPLES,
    NAN_METRIC,
    OLD_ROUND,
    ODD_ENCODING,
    SAW_NAN,
    INFINITE,
    TOO_LARGE,
    WRONG_HASH,
    OUT_OF_ORDER,
    TOO_MUCH,
    UNASKED,
    HEADS
} lie;

static void lie_about(world *w, raw *r, lie what)
{
    static float values[WORLD_N];
    lmb_task_message t = join(w, r);
    lmb_update_message u;
    lmb_record rec;

    memset(values, 0, sizeof values);
    values[WORLD_N - 3] = what == SAW_NAN ? NAN : what == INFINITE ? INFINITY : what == TOO_LARGE ? 9.0f : 1.0f;
    u = honest(&t, values);
    switch (what) {
    case MORE_VALUES: u.n++; break;
    case OTHER_LAYOUT: u.layout.b[0] ^= 1; break;
    case TEN_GIGABYTES: u.blob.bytes = 10ull << 30; break;
    case NO_EXAMPLES: u.examples = 0; break;
    case MANY_EXAMPLES: u.examples = 1ull << 40; break;
    case NAN_METRIC: lmb_figures_add(&u.metrics, "loss", NAN); break;
    case OLD_ROUND: u.round = 7; break;
    case ODD_ENCODING: strcpy(u.codec, "{name: bf16, zstd: 0}"); break;
    case WRONG_HASH: u.blob.hash.b[5] ^= 4; break;
    default: break;
    }
    if (what == UNASKED) {
        send_values(r, values, 100);
    } else {
        ck_ok(lmb_message_send(r->channel, LMB_MSG_UPDATE, &u, &err));
        raw_flush(r);
    }
    if (what == OUT_OF_ORDER || what == TOO_MUCH) {
        lmb_record c = { LMB_MSG_CHUNK, 0, what == OUT_OF_ORDER ? 4 : 0, (const uint8_t *)values, 4000 };
        ck_assert(raw_wait(r, LMB_MSG_HAVE, &rec));
        for (int i = 0; i < (what == TOO_MUCH ? 2 : 1); i++)
            ck_ok(lmb_channel_send(r->channel, &c, &err));
        raw_flush(r);
    } else if (what >= SAW_NAN && what <= WRONG_HASH) {
        ck_assert(raw_wait(r, LMB_MSG_HAVE, &rec));
        send_values(r, values, WORLD_N);
    }
    ck_assert(raw_wait(r, LMB_MSG_REFUSED, &rec)); /* it is told */
}

#define LIE(name, what) static void name(world *w, raw *r) { lie_about(w, r, what); }
LIE(more_values, MORE_VALUES)
LIE(other_layout, OTHER_LAYOUT)
LIE(ten_gigabytes, TEN_GIGABYTES)
LIE(no_examples, NO_EXAMPLES)
LIE(many_examples, MANY_EXAMPLES)
LIE(nan_metric, NAN_METRIC)
LIE(old_round, OLD_ROUND)
LIE(odd_encoding, ODD_ENCODING)
LIE(saw_nan, SAW_NAN)
LIE(infinite, INFINITE)
LIE(too_large, TOO_LARGE)
LIE(wrong_hash, WRONG_HASH)
LIE(out_of_order, OUT_OF_ORDER)
LIE(too_much, TOO_MUCH)
LIE(unasked, UNASKED)

static void flipped_bit(world *w, raw *r)
{
    lmb_alive alive = { 1, 1 };
    uint8_t bytes[256];
    size_t n;
    join(w, r);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_ALIVE, &alive, &err));
    const void *p = lmb_channel_output(r->channel, &n);
    memcpy(bytes, p, n);
    bytes[n - 1] ^= 0x10;
    ck_assert_int_eq(send(r->fd, bytes, n, 0), (ssize_t)n);
}

static void replayed_record(world *w, raw *r)
{
    lmb_alive alive = { 1, 1 };
    uint8_t bytes[256];
    size_t n;
    join(w, r);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_ALIVE, &alive, &err));
    const void *p = lmb_channel_output(r->channel, &n);
    memcpy(bytes, p, n);
    ck_assert_int_eq(send(r->fd, bytes, n, 0), (ssize_t)n);
    ck_assert_int_eq(send(r->fd, bytes, n, 0), (ssize_t)n);
}

static void server_message(world *w, raw *r)
{
    lmb_round_note note = { .round = 1 };
    join(w, r);
    ck_ok(lmb_message_send(r->channel, LMB_MSG_DONE, &note, &err));
    raw_flush(r);
}

static void cut_message(world *w, raw *r)
{
    lmb_record c = { LMB_MSG_UPDATE, 0, 0, (const uint8_t *)"short", 5 };
    join(w, r);
    ck_ok(lmb_channel_send(r->channel, &c, &err));
    raw_flush(r);
}

static void past_the_blob(world *w, raw *r)
{
    lmb_task_message t = join(w, r);
    lmb_want want = { t.model, t.model.bytes + 1 };
    ck_ok(lmb_message_send(r->channel, LMB_MSG_WANT, &want, &err));
    raw_flush(r);
}

static const struct {
    void (*attack)(world *w, raw *r);
    const char *sentence;
    double gather_s; /* 0: the attacker joins as third of three, and the round waits for it */
} attacks[] = {
    { not_enrolled, "is refused: this client is not enrolled; ask for an invite", 0.5 },
    { unknown_token, "is refused: the invite's token was never issued here", 0.5 },
    { wrong_token_key, "is refused: handshake message 3 does not authenticate", 0.5 },
    { used_token, "is refused: the invite was used already, by another client", 0 },
    { expired_token, "is refused: the invite expired", 0.5 },
    { replayed_flight, "recorded and replayed", 0 },
    { not_our_protocol, "is refused: the peer does not speak this protocol", 0.5 },
    { newer_version, "is refused: the client speaks version 4, this server 3", 0.5 },
    { borrowed_proof, "is refused: the client does not prove the signing key that it shows", 0.5 },
    { second_owner, "is refused: its signing key is client ", 0 },
    { other_signer, "enrolled with another signing key", 0 },
    { unproved_rotation, "a change of keys that is not proved by the old and the new one", 0 },
    { rotation_to_another, "one of the new keys is another client's", 0 },
    { more_values, "the update has 20001 values, the model has 20000", 0 },
    { other_layout, "the update is for a model of another layout", 0 },
    { ten_gigabytes, "the update announces 10737418240 bytes, 20000 values take 80000", 0 },
    { no_examples, "the update claims 0 examples, allowed are 1 to 1048576", 0 },
    { many_examples, "the update claims 1099511627776 examples", 0 },
    { nan_metric, "the update's metric 'loss' is not finite", 0 },
    { old_round, "the update is for round 7, round 1 is under way", 0 },
    { odd_encoding, "the update is encoded as '{name: bf16, zstd: 0}'; this server asked for {name: f32, zstd: 0}", 0 },
    { saw_nan, "value 19997 of the update is", 0 },
    { infinite, "value 19997 of the update is inf", 0 },
    { too_large, "value 19997 of the update is 9; values must be finite and at most 8", 0 },
    { wrong_hash, "the update is not what was announced: its hash differs", 0 },
    { out_of_order, "a chunk of 4000 bytes at 4 does not follow the 0 of 80000 bytes received", 0 },
    { too_much, "a chunk of 4000 bytes at 0 does not follow the 4000 of 80000 bytes received", 0 },
    { unasked, "a chunk arrived, but no upload was agreed", 0 },
    { flipped_bit, "a record does not authenticate", 0 },
    { replayed_record, "a record does not authenticate", 0 },
    { server_message, "message type 11 is not one a client sends", 0 },
    { cut_message, "message UPDATE ends inside 'round', after 5 bytes", 0 },
    { past_the_blob, "the client asks for byte 80001 of 80000", 0 },
};

START_TEST(refused_with_a_sentence_and_the_round_goes_on)
{
    world w;
    world_client c[2];
    raw r;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.minimum = 2;
    w.cfg.target = 3;
    w.cfg.gather_s = attacks[_i].gather_s > 0 ? attacks[_i].gather_s : 60;
    w.cfg.reconnect_s = 0.2;
    w.cfg.deadline_s = 20;
    world_start(&w);
    for (int k = 0; k < 2 && attacks[_i].gather_s <= 0; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    attacks[_i].attack(&w, &r);
    ck_assert_msg(world_says(&w, attacks[_i].sentence), "case %d: no '%s' in the log:\n%s", _i, attacks[_i].sentence,
                  w.text);
    ck_assert(!world_said(&w, "\x1b")); /* names cannot paint the terminal */
    raw_close(&r);
    for (int k = 0; k < 2 && attacks[_i].gather_s > 0; k++) /* a stranger's turn is over before the round may be */
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    ck_assert_uint_eq(w.reports[1].updates, 2);
    ck_assert(w.reports[1].committed);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_int_eq(c[k].status, LMB_OK);
    }
    world_close(&w);
}
END_TEST

/* The connection breaks in the middle of an upload and of a download: both go on where they stopped. */
START_TEST(broken_transfers_go_on)
{
    static float values[WORLD_N];
    const uint64_t half = 4 * 1000;
    world w;
    world_client c;
    raw r;
    lmb_task_message t, again;
    lmb_update_message u;
    lmb_want have;
    lmb_record rec, part = { LMB_MSG_CHUNK, 0, 0, (const uint8_t *)values, 4 * 1000 };

    memset(&c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.target = w.cfg.minimum = 2;
    world_start(&w);
    world_client_start(&w, &c, 0, lmb_server_port(w.server));
    t = join(&w, &r);
    u = honest(&t, values);
    ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&r);
    ck_assert(raw_wait(&r, LMB_MSG_HAVE, &rec));
    ck_ok(lmb_channel_send(r.channel, &part, &err));
    raw_flush(&r);
    raw_close(&r);

    raw_open(&r, lmb_server_port(w.server), NULL, 5);
    ck_assert(raw_shake(&r));
    raw_hello(&r, LMB_FED_VERSION);
    ck_assert(raw_wait(&r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &again, &err));
    ck_assert_uint_eq(again.round, t.round);
    have = (lmb_want){ t.model, 70000 };
    ck_ok(lmb_message_send(r.channel, LMB_MSG_WANT, &have, &err));
    raw_flush(&r);
    ck_assert(raw_wait(&r, LMB_MSG_CHUNK, &rec));
    ck_assert_uint_eq(rec.offset, 70000);
    ck_assert_uint_eq(rec.bytes, LMB_CHUNK);
    ck_assert_mem_eq(rec.body, (const uint8_t *)w.initial + 70000, LMB_CHUNK);
    ck_ok(lmb_message_send(r.channel, LMB_MSG_UPDATE, &u, &err));
    raw_flush(&r);
    ck_assert(raw_wait(&r, LMB_MSG_HAVE, &rec));
    ck_ok(lmb_message_read(&rec, &have, &err));
    ck_assert_uint_eq(have.offset, half);
    for (uint64_t at = half; at < sizeof values; at += half) {
        part.offset = at;
        ck_ok(lmb_channel_send(r.channel, &part, &err));
    }
    raw_flush(&r);
    ck_assert(raw_wait(&r, LMB_MSG_ACCEPTED, &rec));
    raw_close(&r);
    world_join(&w);
    ck_assert_uint_eq(w.reports[1].updates, 2);
    world_client_join(&c);
    world_close(&w);
}
END_TEST

/* A client that is refused learns it in a sentence, and does not come back for ever. */
START_TEST(a_refused_client_is_told)
{
    world w;
    world_client a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    world_open(&w);
    world_start(&w);
    world_client_start(&w, &a, 0, lmb_server_port(w.server));
    ck_assert(world_says(&w, "enrolled"));
    memcpy(b.invite, a.invite, sizeof b.invite);
    world_client_start(&w, &b, 1, lmb_server_port(w.server));
    world_client_join(&b);
    ck_assert_int_eq(b.status, LMB_E_DENIED);
    ck_assert_str_eq(b.error.msg, "the server refuses this client: the invite was used already, by another "
                                  "client; each works once, ask for a new one");
    lmb_server_stop(w.server);
    pthread_join(w.thread, NULL);
    lmb_client_stop(a.client);
    world_client_join(&a);
    ck_assert_int_eq(a.status, LMB_E_STOPPED);
    world_close(&w);
}
END_TEST

LMB_TEST_MAIN("federated/hostile",
              add_loop(refused_with_a_sentence_and_the_round_goes_on, sizeof attacks / sizeof *attacks);
              add(broken_transfers_go_on); add(a_refused_client_is_told);)
