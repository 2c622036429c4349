/* comm/channel.c - see channel.h. */
#include "comm/channel.h"

#include <stdlib.h>
#include <string.h>

#include "comm/bytes.h"
#include "comm/outbox.h"

enum { PREAMBLE = 5, PROLOGUE = PREAMBLE + LMB_NOISE_KEY };

typedef enum { WANT_PREAMBLE, WANT_HANDSHAKE, WANT_START, WANT_RECORDS, DEAD } phase;

struct lmb_channel {
    phase phase;
    bool server, enrolling, sending, proven, ended, has_also;
    lmb_channel_gate gate;
    uint8_t secret[LMB_NOISE_KEY], server_public[LMB_NOISE_KEY], peer[LMB_NOISE_KEY];
    uint8_t also[LMB_NOISE_KEY]; /* a server's other key */
    uint8_t send_key[LMB_NOISE_KEY], receive_key[LMB_NOISE_KEY];
    uint8_t hash[LMB_NOISE_HASH];
    uint64_t time;
    lmb_token token;
    lmb_noise noise;
    lmb_record_stream tx, rx;
    lmbi_outbox out;
    uint8_t *in;  /* bytes [0, in_n) arrived and wait for the rest of what they belong to */
    size_t in_n, in_cap;
    size_t missing; /* ... of which so many are still to come; 0 when nothing has begun to arrive */
    bool starved;   /* there was no memory for what arrived */
    uint8_t *plain; /* the body of the record that was given out last */
};

static lmb_status begin(lmb_channel *c, lmb_noise_pattern pattern, lmb_error *err)
{
    uint8_t prologue[PROLOGUE] = { 'L', 'M', 'B', '1', (uint8_t)pattern };
    lmb_noise_setup setup = { .pattern = pattern, .initiator = !c->server, .prologue = prologue,
                              .prologue_bytes = sizeof prologue, .secret = c->secret,
                              .remote_public = c->server ? NULL : c->server_public };
    memcpy(prologue + PREAMBLE, c->server_public, LMB_NOISE_KEY);
    c->enrolling = pattern == LMB_NOISE_XXPSK3;
    if (!c->server && c->enrolling)
        setup.psk = c->token.psk;
    LMB_TRY(lmb_noise_begin(&c->noise, &setup, err));
    if (!c->server) {
        LMB_TRY(lmbi_outbox_room(&c->out, PREAMBLE, err));
        memcpy(c->out.bytes + c->out.n, prologue, PREAMBLE);
        c->out.n += PREAMBLE;
    }
    c->phase = WANT_HANDSHAKE;
    return LMB_OK;
}

/* When it is our turn write the handshake message; when the handshake is over open our direction. */
static lmb_status advance(lmb_channel *c, lmb_error *err)
{
    if (lmb_noise_my_turn(&c->noise)) {
        uint8_t payload[LMB_TOKEN_ID];
        size_t n = 0, wrote;
        if (!c->server && c->noise.message == 0) {
            n = c->enrolling ? LMB_TOKEN_ID : 8;
            lmb_put_u64(payload, c->time);
            if (c->enrolling)
                memcpy(payload, c->token.id, LMB_TOKEN_ID);
        }
        LMB_TRY(lmbi_outbox_room(&c->out, 2 + LMB_NOISE_MESSAGE, err));
        LMB_TRY(lmb_noise_write(&c->noise, payload, n, c->out.bytes + c->out.n + 2, &wrote, err));
        lmb_put_u16(c->out.bytes + c->out.n, (uint16_t)wrote);
        c->out.n += 2 + wrote;
    }
    if (lmb_noise_finished(&c->noise)) {
        lmb_noise_split(&c->noise, c->send_key, c->receive_key);
        memcpy(c->peer, c->noise.rs, sizeof c->peer);
        memcpy(c->hash, c->noise.h, sizeof c->hash);
        LMB_TRY(lmbi_outbox_room(&c->out, LMB_RECORD_START, err));
        lmb_record_sender(&c->tx, c->send_key, c->out.bytes + c->out.n);
        c->out.n += LMB_RECORD_START;
        c->sending = true;
        lmb_noise_wipe(&c->noise);
        c->phase = WANT_START;
    }
    return LMB_OK;
}

static lmb_status take_preamble(lmb_channel *c, lmb_error *err)
{
    if (memcmp(c->in, "LMB1", 4) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "the peer does not speak this protocol (version 1)");
    if (c->in[4] != LMB_NOISE_IK && c->in[4] != LMB_NOISE_XXPSK3)
        return LMB_FAIL(err, LMB_E_FORMAT, "the peer asks for handshake %d, which is not known", c->in[4]);
    return begin(c, (lmb_noise_pattern)c->in[4], err);
}

/* The first message reaches the server with a payload that picks the token or shows the time. */
static lmb_status check_first(lmb_channel *c, const uint8_t *payload, size_t n, lmb_error *err)
{
    if (n != (c->enrolling ? (size_t)LMB_TOKEN_ID : 8u))
        return LMB_FAIL(err, LMB_E_FORMAT, "the first handshake message carries %zu bytes of payload", n);
    if (c->enrolling) {
        memcpy(c->token.id, payload, LMB_TOKEN_ID);
        LMB_TRY(c->gate.token(c->gate.ctx, c->token.id, c->token.psk, err));
        lmb_noise_set_psk(&c->noise, c->token.psk);
        return LMB_OK;
    }
    c->time = lmb_get_u64(payload);
    return c->gate.fresh(c->gate.ctx, c->noise.rs, c->time, err);
}

/* Which of its keys the client means is not on the wire: the first message opens with one of them. */
static lmb_status read_first(lmb_channel *c, size_t n, uint8_t *payload, size_t *got, lmb_error *err)
{
    lmb_error first = LMB_ERROR_INIT;
    lmb_status st = lmb_noise_read(&c->noise, c->in + 2, n, payload, got, &first);
    if (st == LMB_E_DENIED && c->has_also) {
        memcpy(c->secret, c->also, sizeof c->secret);
        lmb_noise_public(c->secret, c->server_public);
        LMB_TRY(begin(c, c->noise.pattern, err));
        return lmb_noise_read(&c->noise, c->in + 2, n, payload, got, err);
    }
    if (st != LMB_OK && err && err->status == LMB_OK)
        *err = first;
    return st;
}

static lmb_status take_handshake(lmb_channel *c, size_t n, lmb_error *err)
{
    uint8_t payload[LMB_NOISE_MESSAGE];
    size_t got;
    LMB_TRY(c->server && c->noise.message == 0 ? read_first(c, n, payload, &got, err)
                                               : lmb_noise_read(&c->noise, c->in + 2, n, payload, &got, err));
    if (c->server && c->noise.message == 1)
        LMB_TRY(check_first(c, payload, got, err));
    if (!c->server && memcmp(c->noise.rs, c->server_public, LMB_NOISE_KEY) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the server proved another key than the invite names: wrong address, or someone in between");
    return advance(c, err);
}

static lmb_status take_record(lmb_channel *c, size_t n, lmb_record *out, bool *got, lmb_error *err)
{
    bool final;
    c->plain = malloc(n);
    if (!c->plain)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a record of %zu bytes", n);
    LMB_TRY(lmb_record_open(&c->rx, c->in + 4, n, c->plain, out, &final, err));
    c->proven = true;
    c->ended = final;
    *got = !final;
    return LMB_OK;
}

/* One step on the bytes at hand. *need: how many bytes the step wants; with fewer it does nothing. */
static lmb_status step(lmb_channel *c, lmb_record *out, bool *got, size_t *need, lmb_error *err)
{
    size_t n;
    switch (c->phase) {
    case WANT_PREAMBLE:
        *need = PREAMBLE;
        return c->in_n < *need ? LMB_OK : take_preamble(c, err);
    case WANT_HANDSHAKE:
        *need = 2;
        if (c->in_n < *need)
            return LMB_OK;
        n = lmb_get_u16(c->in);
        if (n > LMB_NOISE_MESSAGE)
            return LMB_FAIL(err, LMB_E_FORMAT, "a handshake message announces %zu bytes, the limit is %d", n,
                            LMB_NOISE_MESSAGE);
        *need += n;
        return c->in_n < *need ? LMB_OK : take_handshake(c, n, err);
    case WANT_START:
        *need = LMB_RECORD_START;
        if (c->in_n < *need)
            return LMB_OK;
        c->phase = WANT_RECORDS;
        return lmb_record_receiver(&c->rx, c->receive_key, c->in, err);
    case WANT_RECORDS:
        *need = 4;
        if (c->in_n < *need)
            return LMB_OK;
        LMB_TRY(lmb_record_frame(c->in, &n, err));
        *need += n;
        return c->in_n < *need ? LMB_OK : take_record(c, n, out, got, err);
    case DEAD: break;
    }
    return LMB_FAIL(err, LMB_E_DENIED, "the channel is closed");
}

/* What is kept for the next bytes is what the step under way needs. */
static void fit_input(lmb_channel *c, size_t need)
{
    uint8_t *p = NULL;
    if (need >= c->in_cap)
        return;
    if (need) {
        p = realloc(c->in, need);
        if (!p)
            return; /* it stays larger */
    } else {
        free(c->in);
    }
    c->in = p;
    c->in_cap = need;
}

lmb_status lmb_channel_next(lmb_channel *c, lmb_record *out, bool *got, lmb_error *err)
{
    *got = false;
    free(c->plain);
    c->plain = NULL;
    if (c->starved) {
        c->phase = DEAD;
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what the peer sent");
    }
    for (;;) {
        size_t need = 0;
        lmb_status st = step(c, out, got, &need, err);
        if (st != LMB_OK) {
            c->phase = DEAD;
            return st;
        }
        if (c->in_n < need) {
            fit_input(c, c->in_n ? need : 0);
            c->missing = c->in_n ? need - c->in_n : 0;
            return LMB_OK;
        }
        c->in_n -= need;
        memmove(c->in, c->in + need, c->in_n);
        if (*got)
            return LMB_OK;
    }
}

size_t lmb_channel_feed(lmb_channel *c, const void *data, size_t n)
{
    size_t room = LMB_RECORD_FRAME - c->in_n;
    if (n > room)
        n = room;
    if (!n)
        return 0;
    if (c->in_n + n > c->in_cap) {
        uint8_t *p = realloc(c->in, c->in_n + n);
        if (!p) {
            c->starved = true; /* lmb_channel_next says so */
            return n;
        }
        c->in = p;
        c->in_cap = c->in_n + n;
    }
    memcpy(c->in + c->in_n, data, n);
    c->in_n += n;
    return n;
}

size_t lmb_channel_missing(const lmb_channel *c) { return c->missing; }

lmb_status lmb_channel_send(lmb_channel *c, const lmb_record *r, lmb_error *err)
{
    size_t wrote;
    if (!c->sending || c->phase == DEAD)
        return LMB_FAIL(err, LMB_E_ARG, "the channel is not open");
    LMB_TRY(lmbi_outbox_room(&c->out, LMB_RECORD_AROUND + (r->bytes < LMB_RECORD_BODY ? r->bytes : LMB_RECORD_BODY),
                             err));
    LMB_TRY(lmb_record_seal(&c->tx, r, false, c->out.bytes + c->out.n, &wrote, err));
    c->out.n += wrote;
    return LMB_OK;
}

void lmb_channel_close(lmb_channel *c)
{
    lmb_record last = { 0, 0, 0, NULL, 0 };
    size_t wrote;
    if (!c->sending || c->phase == DEAD || c->tx.closed ||
        lmbi_outbox_room(&c->out, LMB_RECORD_AROUND, NULL) != LMB_OK)
        return;
    if (lmb_record_seal(&c->tx, &last, true, c->out.bytes + c->out.n, &wrote, NULL) == LMB_OK)
        c->out.n += wrote;
}

const void *lmb_channel_output(const lmb_channel *c, size_t *n)
{
    *n = c->out.n - c->out.at;
    return *n ? c->out.bytes + c->out.at : NULL;
}

void lmb_channel_sent(lmb_channel *c, size_t n) { lmbi_outbox_sent(&c->out, n); }
uint8_t *lmb_channel_take(lmb_channel *c, size_t *n) { return lmbi_outbox_take(&c->out, n); }

const size_t lmb_channel_place = sizeof(lmb_channel);

static lmb_status create(lmb_vault *vault, lmb_channel **out, lmb_error *err)
{
    *out = vault ? lmb_vault_take(vault) : lmb_secret_new(sizeof **out);
    if (!*out)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a channel");
    (*out)->gate.vault = vault;
    return LMB_OK;
}

lmb_status lmb_channel_server(const uint8_t secret[LMB_NOISE_KEY], const lmb_channel_gate *gate, lmb_channel **out,
                              lmb_error *err)
{
    lmb_channel *c;
    LMB_TRY(create(gate->vault, &c, err));
    c->server = true;
    c->gate = *gate;
    memcpy(c->secret, secret, sizeof c->secret);
    lmb_noise_public(secret, c->server_public);
    *out = c;
    return LMB_OK;
}

void lmb_channel_also(lmb_channel *c, const uint8_t secret[LMB_NOISE_KEY])
{
    memcpy(c->also, secret, sizeof c->also);
    c->has_also = true;
}

lmb_status lmb_channel_client(const uint8_t secret[LMB_NOISE_KEY], const uint8_t server_public[LMB_NOISE_KEY],
                              const lmb_token *token, uint64_t time, lmb_channel **out, lmb_error *err)
{
    lmb_channel *c;
    lmb_status st;
    LMB_TRY(create(NULL, &c, err));
    memcpy(c->secret, secret, sizeof c->secret);
    memcpy(c->server_public, server_public, sizeof c->server_public);
    c->time = time;
    if (token)
        c->token = *token;
    st = begin(c, token ? LMB_NOISE_XXPSK3 : LMB_NOISE_IK, err);
    if (st == LMB_OK)
        st = advance(c, err);
    if (st != LMB_OK) {
        lmb_channel_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}

void lmb_channel_destroy(lmb_channel *c)
{
    if (!c)
        return;
    free(c->out.bytes);
    free(c->in);
    free(c->plain);
    if (c->gate.vault)
        lmb_vault_give(c->gate.vault, c);
    else
        lmb_secret_free(c);
}

bool lmb_channel_ready(const lmb_channel *c) { return c->sending && c->phase != DEAD; }
bool lmb_channel_proven(const lmb_channel *c) { return c->proven; }
bool lmb_channel_ended(const lmb_channel *c) { return c->ended; }
bool lmb_channel_enrolling(const lmb_channel *c) { return c->enrolling; }
const uint8_t *lmb_channel_peer(const lmb_channel *c) { return c->peer; }
uint64_t lmb_channel_time(const lmb_channel *c) { return c->time; }
const uint8_t *lmb_channel_token(const lmb_channel *c) { return c->token.id; }
const uint8_t *lmb_channel_hash(const lmb_channel *c) { return c->hash; }
