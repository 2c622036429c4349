/* comm/noise.c - see noise.h. Names follow the Noise specification: h, ck, k, n, s, e, rs, re. */
#include "comm/noise.h"

#include <sodium.h>
#include <string.h>

typedef enum { END, E, S, EE, ES, SE, SS, PSK } token;

enum { MAX_MESSAGES = 3, MAX_TOKENS = 5 };

/* One row per pattern. Message 0 goes from initiator to responder, then they take turns. */
typedef struct pattern_row {
    lmb_noise_pattern pattern;
    const char *name;
    bool responder_known; /* pre-message "<- s" */
    bool psk;
    int n_messages;
    token messages[MAX_MESSAGES][MAX_TOKENS];
} pattern_row;

static const pattern_row patterns[] = {
    { LMB_NOISE_IK, "Noise_IK_25519_ChaChaPoly_SHA256", true, false, 2, { { E, ES, S, SS }, { E, EE, SE } } },
    { LMB_NOISE_XXPSK3, "Noise_XXpsk3_25519_ChaChaPoly_SHA256", false, true, 3,
      { { E }, { E, EE, S, ES }, { S, SE, PSK } } },
};

static const pattern_row *find(lmb_noise_pattern p)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i].pattern == p)
            return &patterns[i];
    return NULL;
}

/* ---- cipher and symmetric state (specification, sections 5.1 and 5.2) ---- */

static void hmac(const uint8_t key[32], const void *a, size_t na, const void *b, size_t nb, uint8_t out[32])
{
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, key, 32);
    crypto_auth_hmacsha256_update(&st, a, na);
    crypto_auth_hmacsha256_update(&st, b, nb);
    crypto_auth_hmacsha256_final(&st, out);
    sodium_memzero(&st, sizeof st);
}

/* HKDF of Noise: up to three outputs of 32 bytes; o3 may be NULL. */
static void hkdf(const uint8_t ck[32], const void *ikm, size_t n, uint8_t o1[32], uint8_t o2[32], uint8_t *o3)
{
    static const uint8_t one = 1, two = 2, three = 3;
    uint8_t temp[32], a[32], b[32];
    hmac(ck, ikm, n, "", 0, temp);
    hmac(temp, &one, 1, "", 0, a);
    hmac(temp, a, 32, &two, 1, b);
    if (o3)
        hmac(temp, b, 32, &three, 1, o3);
    memcpy(o1, a, 32);
    memcpy(o2, b, 32);
    sodium_memzero(temp, sizeof temp);
    sodium_memzero(a, sizeof a);
    sodium_memzero(b, sizeof b);
}

static void mix_hash(lmb_noise *n, const void *data, size_t bytes)
{
    crypto_hash_sha256_state st;
    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, n->h, sizeof n->h);
    crypto_hash_sha256_update(&st, data, bytes);
    crypto_hash_sha256_final(&st, n->h);
}

static void mix_key(lmb_noise *n, const void *ikm, size_t bytes)
{
    hkdf(n->ck, ikm, bytes, n->ck, n->k, NULL);
    n->has_key = true;
    n->nonce = 0;
}

static void mix_key_and_hash(lmb_noise *n, const uint8_t psk[32])
{
    uint8_t temp[32];
    hkdf(n->ck, psk, 32, n->ck, temp, n->k);
    mix_hash(n, temp, sizeof temp);
    n->has_key = true;
    n->nonce = 0;
    sodium_memzero(temp, sizeof temp);
}

static void next_nonce(lmb_noise *n, uint8_t out[12])
{
    memset(out, 0, 12);
    for (int i = 0; i < 8; i++)
        out[4 + i] = (uint8_t)(n->nonce >> (8 * i));
    n->nonce++;
}

/* Appends to the message; the caller has checked that it fits. Returns bytes written. */
static size_t encrypt_and_hash(lmb_noise *n, const void *plain, size_t bytes, uint8_t *out)
{
    uint8_t nonce[12];
    unsigned long long written = bytes;
    if (n->has_key) {
        next_nonce(n, nonce);
        crypto_aead_chacha20poly1305_ietf_encrypt(out, &written, plain, bytes, n->h, sizeof n->h, NULL, nonce, n->k);
    } else if (bytes) {
        memcpy(out, plain, bytes);
    }
    mix_hash(n, out, (size_t)written);
    return (size_t)written;
}

static lmb_status decrypt_and_hash(lmb_noise *n, const uint8_t *in, size_t bytes, uint8_t *plain, size_t *plain_bytes,
                                   lmb_error *err)
{
    uint8_t nonce[12];
    unsigned long long got = bytes;
    if (n->has_key) {
        next_nonce(n, nonce);
        if (bytes < LMB_NOISE_TAG || crypto_aead_chacha20poly1305_ietf_decrypt(plain, &got, NULL, in, bytes, n->h,
                                                                               sizeof n->h, nonce, n->k) != 0)
            return LMB_FAIL(err, LMB_E_DENIED, "handshake message %d does not authenticate: it was changed on the way, "
                            "or meant for another server key, token or protocol version", n->message + 1);
    } else if (bytes) {
        memcpy(plain, in, bytes);
    }
    mix_hash(n, in, bytes);
    *plain_bytes = (size_t)got;
    return LMB_OK;
}

/* ---- handshake state (section 5.3) ---- */

/* A peer that sends a point of low order could force a shared secret of zero: refused. */
static lmb_status mix_dh(lmb_noise *n, const uint8_t secret[32], const uint8_t public_key[32], lmb_error *err)
{
    uint8_t shared[32];
    int bad = crypto_scalarmult(shared, secret, public_key);
    if (bad == 0)
        mix_key(n, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    if (bad)
        return LMB_FAIL(err, LMB_E_DENIED, "handshake message %d holds a key of low order", n->message + 1);
    return LMB_OK;
}

/* The DH tokens name initiator's key first: "es" is initiator's e with responder's s. */
static lmb_status do_dh(lmb_noise *n, token t, lmb_error *err)
{
    switch (t) {
    case EE: return mix_dh(n, n->e, n->re, err);
    case SS: return mix_dh(n, n->s, n->rs, err);
    case ES: return n->initiator ? mix_dh(n, n->e, n->rs, err) : mix_dh(n, n->s, n->re, err);
    case SE: return n->initiator ? mix_dh(n, n->s, n->re, err) : mix_dh(n, n->e, n->rs, err);
    default: return LMB_OK;
    }
}

void lmb_noise_public(const uint8_t secret[LMB_NOISE_KEY], uint8_t public_key[LMB_NOISE_KEY])
{
    crypto_scalarmult_base(public_key, secret);
}

void lmb_noise_keygen(uint8_t secret[LMB_NOISE_KEY], uint8_t public_key[LMB_NOISE_KEY])
{
    randombytes_buf(secret, LMB_NOISE_KEY);
    lmb_noise_public(secret, public_key);
}

lmb_status lmb_noise_begin(lmb_noise *n, const lmb_noise_setup *setup, lmb_error *err)
{
    const pattern_row *p = find(setup->pattern);
    size_t name;

    if (sodium_init() < 0)
        return LMB_FAIL(err, LMB_E_IO, "libsodium found no source of random numbers (is /dev/urandom there?)");
    if (!p)
        return LMB_FAIL(err, LMB_E_ARG, "handshake pattern %d is not known; 1 is IK, 2 is XXpsk3", (int)setup->pattern);
    if (p->responder_known && setup->initiator && !setup->remote_public)
        return LMB_FAIL(err, LMB_E_ARG, "%s needs the server's public key; take it from the invite", p->name);
    memset(n, 0, sizeof *n);
    n->pattern = setup->pattern;
    n->initiator = setup->initiator;
    memcpy(n->s, setup->secret, sizeof n->s);
    lmb_noise_public(n->s, n->s_public);
    if (setup->ephemeral)
        memcpy(n->e, setup->ephemeral, sizeof n->e);
    else
        randombytes_buf(n->e, sizeof n->e);
    lmb_noise_public(n->e, n->e_public);
    if (setup->psk)
        lmb_noise_set_psk(n, setup->psk);

    name = strlen(p->name);
    if (name <= sizeof n->h)
        memcpy(n->h, p->name, name);
    else
        crypto_hash_sha256(n->h, (const uint8_t *)p->name, name);
    memcpy(n->ck, n->h, sizeof n->ck);
    mix_hash(n, setup->prologue, setup->prologue_bytes);
    if (p->responder_known) {
        if (n->initiator) {
            memcpy(n->rs, setup->remote_public, sizeof n->rs);
            n->has_rs = true;
        }
        mix_hash(n, n->initiator ? n->rs : n->s_public, LMB_NOISE_KEY);
    }
    return LMB_OK;
}

void lmb_noise_set_psk(lmb_noise *n, const uint8_t psk[LMB_NOISE_KEY])
{
    memcpy(n->psk, psk, LMB_NOISE_KEY);
    n->has_psk = true;
}

bool lmb_noise_finished(const lmb_noise *n)
{
    return n->message == find(n->pattern)->n_messages;
}

bool lmb_noise_my_turn(const lmb_noise *n)
{
    return !n->dead && !lmb_noise_finished(n) && (n->message % 2 == 0) == n->initiator;
}

static lmb_status mix_psk(lmb_noise *n, lmb_error *err)
{
    if (!n->has_psk)
        return LMB_FAIL(err, LMB_E_DENIED, "the handshake needs a token and none was given");
    mix_key_and_hash(n, n->psk);
    return LMB_OK;
}

static lmb_status write_token(lmb_noise *n, token t, uint8_t *out, size_t *at, lmb_error *err)
{
    switch (t) {
    case E:
        memcpy(out + *at, n->e_public, LMB_NOISE_KEY);
        *at += LMB_NOISE_KEY;
        mix_hash(n, n->e_public, LMB_NOISE_KEY);
        if (find(n->pattern)->psk)
            mix_key(n, n->e_public, LMB_NOISE_KEY);
        return LMB_OK;
    case S:
        *at += encrypt_and_hash(n, n->s_public, LMB_NOISE_KEY, out + *at);
        return LMB_OK;
    case PSK: return mix_psk(n, err);
    default: return do_dh(n, t, err);
    }
}

static lmb_status read_token(lmb_noise *n, token t, const uint8_t *in, size_t bytes, size_t *at, lmb_error *err)
{
    size_t want = LMB_NOISE_KEY + (t == S && n->has_key ? (size_t)LMB_NOISE_TAG : 0), got;
    if (t == PSK)
        return mix_psk(n, err);
    if (t != E && t != S)
        return do_dh(n, t, err);
    if (bytes - *at < want)
        return LMB_FAIL(err, LMB_E_FORMAT, "handshake message %d ends after %zu bytes", n->message + 1, bytes);
    if (t == E) {
        memcpy(n->re, in + *at, LMB_NOISE_KEY);
        mix_hash(n, n->re, LMB_NOISE_KEY);
        if (find(n->pattern)->psk)
            mix_key(n, n->re, LMB_NOISE_KEY);
    } else {
        LMB_TRY(decrypt_and_hash(n, in + *at, want, n->rs, &got, err));
        n->has_rs = true;
    }
    *at += want;
    return LMB_OK;
}

lmb_status lmb_noise_write(lmb_noise *n, const void *payload, size_t payload_bytes, uint8_t *out, size_t *out_bytes,
                           lmb_error *err)
{
    const pattern_row *p = find(n->pattern);
    size_t at = 0;
    /* e, s and two tags are the most that any message here adds */
    size_t room = LMB_NOISE_MESSAGE - (2 * LMB_NOISE_KEY + 2 * LMB_NOISE_TAG);

    if (!lmb_noise_my_turn(n))
        return LMB_FAIL(err, LMB_E_ARG, "handshake message %d is not this side's to write", n->message + 1);
    if (payload_bytes > room)
        return LMB_FAIL(err, LMB_E_ARG, "handshake payload has %zu bytes, the limit is %zu", payload_bytes, room);
    for (int i = 0; i < MAX_TOKENS && p->messages[n->message][i] != END; i++) {
        lmb_status st = write_token(n, p->messages[n->message][i], out, &at, err);
        if (st != LMB_OK) {
            n->dead = true;
            return st;
        }
    }
    at += encrypt_and_hash(n, payload, payload_bytes, out + at);
    n->message++;
    *out_bytes = at;
    return LMB_OK;
}

lmb_status lmb_noise_read(lmb_noise *n, const uint8_t *message, size_t bytes, uint8_t *payload, size_t *payload_bytes,
                          lmb_error *err)
{
    const pattern_row *p = find(n->pattern);
    lmb_status st = LMB_OK;
    size_t at = 0;

    if (n->dead || lmb_noise_finished(n) || lmb_noise_my_turn(n))
        return LMB_FAIL(err, LMB_E_FORMAT, "a handshake message arrived out of turn");
    if (bytes > LMB_NOISE_MESSAGE)
        return LMB_FAIL(err, LMB_E_FORMAT, "handshake message has %zu bytes, the limit is %d", bytes,
                        LMB_NOISE_MESSAGE);
    for (int i = 0; st == LMB_OK && i < MAX_TOKENS && p->messages[n->message][i] != END; i++)
        st = read_token(n, p->messages[n->message][i], message, bytes, &at, err);
    if (st == LMB_OK)
        st = decrypt_and_hash(n, message + at, bytes - at, payload, payload_bytes, err);
    if (st != LMB_OK) {
        n->dead = true;
        return st;
    }
    n->message++;
    return LMB_OK;
}

void lmb_noise_split(const lmb_noise *n, uint8_t send[LMB_NOISE_KEY], uint8_t receive[LMB_NOISE_KEY])
{
    uint8_t a[32], b[32];
    hkdf(n->ck, "", 0, a, b, NULL);
    memcpy(send, n->initiator ? a : b, sizeof a);
    memcpy(receive, n->initiator ? b : a, sizeof a);
    sodium_memzero(a, sizeof a);
    sodium_memzero(b, sizeof b);
}

void lmb_noise_wipe(lmb_noise *n)
{
    sodium_memzero(n, sizeof *n);
}
