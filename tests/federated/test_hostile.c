/* Mirrors federated/server_peer.c and upload.c: enrolled clients that are not what they should be in a round. Each
 * attack is refused with a sentence in the log, and the round goes on with the others; and transfers that break off go
 * on.
 */
#include <math.h>

#include "tests/federated/attack.h"

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

static const attack attacks[] = {
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

START_TEST(refused_with_a_sentence_and_the_round_goes_on) { withstand(&attacks[_i]); }
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
