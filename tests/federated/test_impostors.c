/* Mirrors federated/server_peer.c: who is let in. Strangers, used or invented invites, handshakes recorded or borrowed,
 * and clients that would pass for another are refused with a sentence, and the round of the others goes on.
 */
#include "tests/federated/attack.h"

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

static const attack attacks[] = {
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
};

START_TEST(refused_with_a_sentence_and_the_round_goes_on) { withstand(&attacks[_i]); }
END_TEST

LMB_TEST_MAIN("federated/impostors",
              add_loop(refused_with_a_sentence_and_the_round_goes_on, sizeof attacks / sizeof *attacks);)
