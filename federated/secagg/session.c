/* federated/secagg/session.c - see session.h. */
#include "federated/secagg/session.h"

#include <sodium.h>
#include <string.h>

#include "comm/bytes.h"

static void add_u64(lmb_hasher *h, uint64_t v)
{
    uint8_t b[8];
    lmb_put_u64(b, v);
    lmb_hash_add(h, b, sizeof b);
}

static void add_hash(lmb_hasher *h, const lmb_hash *v) { lmb_hash_add(h, v->b, sizeof v->b); }

/* The start of everything that is signed or hashed: what it is for, and where. */
static void begin(lmb_hasher *h, const char *what, const lmb_hash *sid, uint32_t a, uint32_t b)
{
    lmb_hash_begin(h);
    lmb_hash_add_text(h, what);
    add_hash(h, sid);
    add_u64(h, (uint64_t)a << 32 | b);
}

lmb_hash lmb_secagg_sid(const lmb_secagg_session *s, const lmb_roster *roster)
{
    uint64_t clip;
    lmb_hasher h;
    memcpy(&clip, &s->coding.clip, sizeof clip);
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck secure aggregation 2");
    add_hash(&h, &s->federation);
    add_hash(&h, &s->run);
    add_u64(&h, s->round);
    add_hash(&h, &s->model);
    add_u64(&h, s->mode);
    add_u64(&h, s->coding.length);
    add_u64(&h, (uint64_t)s->coding.clients << 32 | s->coding.weight_max);
    add_u64(&h, (uint64_t)s->coding.value_bits << 32 | s->coding.ring_bits);
    add_u64(&h, clip);
    add_u64(&h, s->coding.noise);
    add_hash(&h, &roster->hash);
    return lmb_hash_end(&h);
}

void lmbi_secagg_derive(const uint8_t seed[LMB_SECAGG_SEED], const char *what, uint8_t out[32])
{
    crypto_generichash(out, 32, (const uint8_t *)what, strlen(what), seed, LMB_SECAGG_SEED);
}

/* ---- signatures ---- */

static lmb_hash keys_hash(const lmb_hash *sid, const lmb_secagg_keys *k)
{
    lmb_hasher h;
    begin(&h, "limbeck secagg keys", sid, k->id, 0);
    lmb_hash_add(&h, k->box, sizeof k->box);
    lmb_hash_add(&h, k->mask, sizeof k->mask);
    return lmb_hash_end(&h);
}

static lmb_status check_signature(const lmb_hash *what, const uint8_t *signature, uint32_t id, const lmb_roster *roster,
                                  const char *of, lmb_error *err)
{
    const uint8_t *key = lmb_roster_key(roster, id);
    if (!key)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the roster knows no client %u; secure aggregation is among its clients only", id);
    if (crypto_sign_verify_detached(signature, what->b, sizeof what->b, key) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "client %u did not sign these %s for this session", id, of);
    return LMB_OK;
}

void lmbi_secagg_keys_sign(const lmb_hash *sid, lmb_secagg_keys *k, const uint8_t secret[LMB_SIGN_SECRET])
{
    lmb_hash what = keys_hash(sid, k);
    crypto_sign_detached(k->signature, NULL, what.b, sizeof what.b, secret);
}

lmb_status lmbi_secagg_keys_check(const lmb_hash *sid, const lmb_secagg_keys *k, const lmb_roster *roster,
                                  lmb_error *err)
{
    lmb_hash what = keys_hash(sid, k);
    return check_signature(&what, k->signature, k->id, roster, "keys", err);
}

lmb_hash lmbi_secagg_dropped_hash(const lmb_hash *sid, const lmb_secagg_entries *dropped)
{
    lmb_hasher h;
    begin(&h, "limbeck secagg dropped", sid, dropped->n, 0);
    lmb_hash_add(&h, dropped->at, dropped->n * dropped->each);
    return lmb_hash_end(&h);
}

static lmb_hash consent_hash(const lmb_hash *sid, const lmb_hash *dropped, uint32_t id)
{
    lmb_hasher h;
    begin(&h, "limbeck secagg consent", sid, id, 0);
    add_hash(&h, dropped);
    return lmb_hash_end(&h);
}

void lmbi_secagg_consent_sign(const lmb_hash *sid, const lmb_hash *dropped, uint32_t id,
                              const uint8_t secret[LMB_SIGN_SECRET], uint8_t signature[LMB_SIGNATURE])
{
    lmb_hash what = consent_hash(sid, dropped, id);
    crypto_sign_detached(signature, NULL, what.b, sizeof what.b, secret);
}

lmb_status lmbi_secagg_consent_check(const lmb_hash *sid, const lmb_hash *dropped, uint32_t id,
                                     const uint8_t signature[LMB_SIGNATURE], const lmb_roster *roster, lmb_error *err)
{
    lmb_hash what = consent_hash(sid, dropped, id);
    return check_signature(&what, signature, id, roster, "survivors", err);
}

/* ---- shared keys ---- */

static void keyed(const uint8_t secret[32], const char *what, const lmb_hash *sid, uint32_t a, uint32_t b,
                  uint8_t out[32])
{
    uint8_t numbers[8];
    crypto_generichash_state h;
    lmb_put_u32(numbers, a);
    lmb_put_u32(numbers + 4, b);
    crypto_generichash_init(&h, secret, 32, 32);
    crypto_generichash_update(&h, (const uint8_t *)what, strlen(what) + 1); /* its end included */
    crypto_generichash_update(&h, sid->b, sizeof sid->b);
    crypto_generichash_update(&h, numbers, sizeof numbers);
    crypto_generichash_final(&h, out, 32);
    sodium_memzero(&h, sizeof h);
}

lmb_status lmbi_secagg_public_check(const uint8_t public_key[32], uint32_t id, lmb_error *err)
{
    static const uint8_t any[32] = { 9 }; /* a scalar is a multiple of 8: low order goes to zero for every one */
    uint8_t shared[32];
    if (crypto_scalarmult(shared, any, public_key) != 0)
        return LMB_FAIL(err, LMB_E_DENIED, "client %u: a public key is of low order", id);
    return LMB_OK;
}

lmb_status lmbi_secagg_agree(const uint8_t secret[32], const uint8_t public_key[32], const lmb_hash *sid,
                             lmbi_key_use use, uint32_t a, uint32_t b, uint8_t key[32], lmb_error *err)
{
    uint8_t shared[32];
    if (crypto_scalarmult(shared, secret, public_key) != 0) /* all zeros */
        return LMB_FAIL(err, LMB_E_DENIED, "between clients %u and %u: a public key is of low order", a, b);
    keyed(shared, use == LMBI_KEY_BOX ? "limbeck secagg box" : "limbeck secagg pair mask", sid, a, b, key);
    sodium_memzero(shared, sizeof shared);
    return LMB_OK;
}

lmb_status lmbi_secagg_pair_mask(const uint8_t secret[32], const uint8_t public_key[32], const lmb_hash *sid,
                                 uint32_t self, uint32_t other, lmb_mask *out, lmb_error *err)
{
    uint32_t a = self < other ? self : other, b = self < other ? other : self;
    out->subtract = self < other;
    return lmbi_secagg_agree(secret, public_key, sid, LMBI_KEY_MASK, a, b, out->key, err);
}

void lmbi_secagg_own_mask(const uint8_t secret[32], const lmb_hash *sid, uint32_t id, lmb_mask *out)
{
    out->subtract = false;
    keyed(secret, "limbeck secagg own mask", sid, id, id, out->key);
}

lmb_hash lmbi_secagg_commit(const uint8_t secret[32], const lmb_hash *sid, uint32_t id)
{
    lmb_hash out;
    keyed(secret, "limbeck secagg commitment", sid, id, id, out.b);
    return out;
}

/* ---- boxes ---- */

enum { AD_BYTES = LMB_HASH_BYTES + 8 };
_Static_assert(LMB_SECAGG_BOX == 2 * LMB_SHAMIR_SHARE + crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "two shares and a tag");

/* A key of a box comes from two keys of this round and a direction, and seals one box: the nonce may be fixed. */
static const uint8_t box_nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

static void put_ad(uint8_t ad[AD_BYTES], const lmb_hash *sid, uint32_t from, uint32_t to)
{
    memcpy(ad, sid->b, LMB_HASH_BYTES);
    lmb_put_u32(ad + LMB_HASH_BYTES, from);
    lmb_put_u32(ad + LMB_HASH_BYTES + 4, to);
}

void lmbi_secagg_seal(const uint8_t key[32], const lmb_hash *sid, uint32_t from, uint32_t to,
                      const uint8_t shares[2 * LMB_SHAMIR_SHARE], uint8_t box[LMB_SECAGG_BOX])
{
    uint8_t ad[AD_BYTES];
    put_ad(ad, sid, from, to);
    crypto_aead_xchacha20poly1305_ietf_encrypt(box, NULL, shares, 2 * LMB_SHAMIR_SHARE, ad, sizeof ad, NULL, box_nonce,
                                               key);
}

bool lmbi_secagg_unseal(const uint8_t key[32], const lmb_hash *sid, uint32_t from, uint32_t to,
                        const uint8_t box[LMB_SECAGG_BOX], uint8_t shares[2 * LMB_SHAMIR_SHARE])
{
    uint8_t ad[AD_BYTES];
    put_ad(ad, sid, from, to);
    return crypto_aead_xchacha20poly1305_ietf_decrypt(shares, NULL, NULL, box, LMB_SECAGG_BOX, ad, sizeof ad, box_nonce,
                                                      key) == 0;
}
