/* Mirrors comm/noise.c.
 *
 * Known answers: cacophony test vectors (github.com/haskell-cryptography/cacophony, vectors/cacophony.txt at
 * 8ee9d41e, public domain), protocols Noise_IK_25519_ChaChaPoly_SHA256 and Noise_XXpsk3_25519_ChaChaPoly_SHA256:
 * both handshakes to the byte, and the transport messages that follow from the two keys of Split(). */
#include "comm/noise.h"

#include <sodium.h>
#include <string.h>

#include "tests/check_main.h"

static lmb_error err;

enum { N_MESSAGES = 6 };

typedef struct vector {
    lmb_noise_pattern pattern;
    int handshake; /* how many of the messages belong to the handshake */
    const char *hash;
    const char *cipher[N_MESSAGES];
} vector;

static const char *const prologue = "4a6f686e2047616c74";
static const char *const init_static = "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1";
static const char *const init_ephemeral = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
static const char *const resp_static = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
static const char *const resp_public = "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62";
static const char *const resp_ephemeral = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
static const char *const psk_hex = "54686973206973206d7920417573747269616e20706572737065637469766521";
static const char *const payloads[N_MESSAGES] = {
    "4c756477696720766f6e204d69736573", "4d757272617920526f746862617264", "462e20412e20486179656b",
    "4361726c204d656e676572", "4a65616e2d426170746973746520536179", "457567656e2042f6686d20766f6e2042617765726b",
};

static const vector vectors[] = {
    { LMB_NOISE_IK, 2, "0b0f68fb0c27e03ce9b97565995ed4838cc0581b762ef72b062f6a546419fad7",
      { "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944718da798efbcd91528520204f904b9bd6c7413dccdc2"
        "14d951e15253e39987f18146e8cd0873654207148333479d4d16c289f0294b29960a72f48e0b7bba2e89083169825e59642148d49202"
        "0664ccf7",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088435361e70b2ed446e6c9ec387d1d6b3b840f194e373979"
        "d241b203c4acafccf5",
        "050e9f3c8fac16b68dbce8f8c4bfbf6617c897f9ada4aa29aa19c8",
        "344233a6cabb7141d80f3da2fedc311d9646bbb0f505afe403a667",
        "62cdeeb172ad7ade7aa7d9e069da5790f12331bfa00177787a1d0810c67dc3b2b4",
        "029bead1b40992327044d409d9a1f3ad8f36c3c452775d557e18bbeb2e8dfcead32d514024" } },
    { LMB_NOISE_XXPSK3, 3, "a477edf6a131bbdb54707f6ea30eab6cd935d9b560f0e5fd1f053a95a99669fb",
      { "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944c9f5ff0e8079630cb7e270c20bbf480821b77a384a64"
        "5c71a2fd9b3db1c16a5f",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843b123def17f71e6ae8e57e0e1dec5949c5f7415c6f335"
        "17398747d821a06dc23ad430aa1fd7381d46195c378a819fd574425462cbb2d4ca339e738a0b7001dc91423fbf55a99af0c6f1df2101"
        "2ceb2f",
        "52187316111b118d4c060364f7b975dc0809b2590779aff2d63113c564f11744493384db7bf32d5ae6686df6ab06d508d2e07caaf1d6"
        "afc010b978735fc78900e71ae1d314130d042e729a",
        "eaedc672d4c21e0e2955758756fb98f194c4e90d5deb5b6cf30b27",
        "522d543c5fe799d09a3d9da7ff54d0dc03c8af1dc7751d2ff708339d2290943e98",
        "7d4e2c3873eef6a213b04e72f9df60a91666072d3544c5d96c34a09e2329b5030bee796741" } },
};

static size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    ck_assert_int_eq(sodium_hex2bin(out, cap, hex, strlen(hex), NULL, &n, NULL), 0);
    return n;
}

typedef struct pair {
    lmb_noise i, r;
    uint8_t is[32], ie[32], rs[32], rp[32], re[32], psk[32], pro[64];
} pair;

static void begin(pair *p, lmb_noise_pattern pattern)
{
    size_t n = unhex(prologue, p->pro, sizeof p->pro);
    unhex(init_static, p->is, 32);
    unhex(init_ephemeral, p->ie, 32);
    unhex(resp_static, p->rs, 32);
    unhex(resp_public, p->rp, 32);
    unhex(resp_ephemeral, p->re, 32);
    unhex(psk_hex, p->psk, 32);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_noise_setup i = { .pattern = pattern, .initiator = true, .prologue = p->pro, .prologue_bytes = n,
                          .secret = p->is, .ephemeral = p->ie, .psk = p->psk,
                          .remote_public = pattern == LMB_NOISE_IK ? p->rp : NULL };
    lmb_noise_setup r = { .pattern = pattern, .prologue = p->pro, .prologue_bytes = n, .secret = p->rs,
                          .ephemeral = p->re, .psk = p->psk };
    ck_ok(lmb_noise_begin(&p->i, &i, &err));
    ck_ok(lmb_noise_begin(&p->r, &r, &err));
}

static void one_message(const vector *v, pair *p, int m)
{
    uint8_t want[256], payload[64], wire[LMB_NOISE_MESSAGE], back[LMB_NOISE_MESSAGE];
    size_t n_want = unhex(v->cipher[m], want, sizeof want), n = unhex(payloads[m], payload, sizeof payload), n_wire,
           n_back;
    lmb_noise *from = m % 2 ? &p->r : &p->i, *to = m % 2 ? &p->i : &p->r;
    ck_ok(lmb_noise_write(from, payload, n, wire, &n_wire, &err));
    ck_assert_uint_eq(n_wire, n_want);
    ck_assert_mem_eq(wire, want, n_want);
    ck_ok(lmb_noise_read(to, wire, n_wire, back, &n_back, &err));
    ck_assert_uint_eq(n_back, n);
    ck_assert_mem_eq(back, payload, n);
}

START_TEST(vectors_to_the_byte)
{
    const vector *v = &vectors[_i];
    uint8_t hash[32], key[2][32], other[2][32];
    uint64_t used[2] = { 0, 0 };
    pair p;

    begin(&p, v->pattern);
    for (int m = 0; m < v->handshake; m++)
        one_message(v, &p, m);
    ck_assert(lmb_noise_finished(&p.i) && lmb_noise_finished(&p.r));
    unhex(v->hash, hash, sizeof hash);
    ck_assert_mem_eq(p.i.h, hash, 32);
    ck_assert_mem_eq(p.r.h, hash, 32);
    ck_assert_mem_eq(p.i.rs, p.rp, 32);
    lmb_noise_split(&p.i, key[0], key[1]);
    lmb_noise_split(&p.r, other[1], other[0]);
    ck_assert_mem_eq(key, other, sizeof key);
    for (int m = v->handshake; m < N_MESSAGES; m++) {
        uint8_t want[256], payload[64], got[128], nonce[12] = { 0 };
        size_t n_want = unhex(v->cipher[m], want, sizeof want), n = unhex(payloads[m], payload, sizeof payload);
        unsigned long long n_got;
        nonce[4] = (uint8_t)used[m % 2]++;
        crypto_aead_chacha20poly1305_ietf_encrypt(got, &n_got, payload, n, NULL, 0, NULL, nonce, key[m % 2]);
        ck_assert_uint_eq(n_got, n_want);
        ck_assert_mem_eq(got, want, n_want);
    }
    lmb_noise_wipe(&p.i);
    ck_assert(sodium_is_zero((const uint8_t *)&p.i, sizeof p.i));
}
END_TEST

/* Every single bit of every message matters. */
START_TEST(a_flipped_bit_is_refused)
{
    const vector *v = &vectors[_i];
    for (int m = 0; m < v->handshake; m++) {
        uint8_t wire[LMB_NOISE_MESSAGE], clean[LMB_NOISE_MESSAGE], back[LMB_NOISE_MESSAGE];
        size_t n = 0, n_back;
        pair p, fresh;
        begin(&p, v->pattern);
        for (int k = 0; k < m; k++)
            one_message(v, &p, k);
        fresh = p;
        ck_ok(lmb_noise_write(m % 2 ? &fresh.r : &fresh.i, "hello", 5, clean, &n, &err));
        for (size_t bit = 0; bit < 8 * n; bit += 7) {
            lmb_noise to = m % 2 ? p.i : p.r;
            memcpy(wire, clean, n);
            wire[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            err = (lmb_error)LMB_ERROR_INIT;
            lmb_status st = lmb_noise_read(&to, wire, n, back, &n_back, &err);
            /* The first message of XX is in the clear: a change shows when the second is read. Bit 255 of a
             * public key is ignored by X25519 itself, but the hash still covers it. */
            if (v->pattern == LMB_NOISE_XXPSK3 && m == 0) {
                lmb_noise from = fresh.i;
                if (st != LMB_OK)
                    continue;
                ck_ok(lmb_noise_write(&to, "", 0, wire, &n_back, &err));
                st = lmb_noise_read(&from, wire, n_back, back, &n_back, &err);
            }
            ck_assert_int_eq(st, LMB_E_DENIED);
        }
    }
}
END_TEST

START_TEST(a_wrong_psk_or_prologue_is_refused)
{
    uint8_t wire[LMB_NOISE_MESSAGE], back[LMB_NOISE_MESSAGE], bad[32] = { 7 };
    size_t n, n_back;
    pair p;
    begin(&p, LMB_NOISE_XXPSK3);
    lmb_noise_set_psk(&p.r, bad);
    ck_ok(lmb_noise_write(&p.i, "", 0, wire, &n, &err));
    ck_ok(lmb_noise_read(&p.r, wire, n, back, &n_back, &err));
    ck_ok(lmb_noise_write(&p.r, "", 0, wire, &n, &err));
    ck_ok(lmb_noise_read(&p.i, wire, n, back, &n_back, &err));
    ck_ok(lmb_noise_write(&p.i, "", 0, wire, &n, &err));
    ck_assert_int_eq(lmb_noise_read(&p.r, wire, n, back, &n_back, &err), LMB_E_DENIED);

    begin(&p, LMB_NOISE_IK);
    lmb_noise_setup r = { .pattern = LMB_NOISE_IK, .prologue = "other", .prologue_bytes = 5, .secret = p.rs };
    ck_ok(lmb_noise_begin(&p.r, &r, &err));
    ck_ok(lmb_noise_write(&p.i, "", 0, wire, &n, &err));
    ck_assert_int_eq(lmb_noise_read(&p.r, wire, n, back, &n_back, &err), LMB_E_DENIED);
}
END_TEST

START_TEST(keys_of_low_order_are_refused)
{
    uint8_t wire[LMB_NOISE_MESSAGE] = { 0 }, back[LMB_NOISE_MESSAGE];
    size_t n_back;
    pair p;
    begin(&p, LMB_NOISE_IK);
    ck_assert_int_eq(lmb_noise_read(&p.r, wire, 96, back, &n_back, &err), LMB_E_DENIED);
    ck_assert_str_eq(err.msg, "handshake message 1 holds a key of low order");
    /* dead: even the right message is refused now */
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_noise_read(&p.r, wire, 96, back, &n_back, &err), LMB_E_FORMAT);
}
END_TEST

START_TEST(short_messages_are_refused)
{
    uint8_t wire[LMB_NOISE_MESSAGE], back[LMB_NOISE_MESSAGE];
    size_t n, n_back;
    pair p;
    begin(&p, LMB_NOISE_IK);
    ck_ok(lmb_noise_write(&p.i, "", 0, wire, &n, &err));
    for (size_t k = 0; k < n; k++) {
        lmb_noise r = p.r;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_ne(lmb_noise_read(&r, wire, k, back, &n_back, &err), LMB_OK);
    }
}
END_TEST

LMB_TEST_MAIN("comm/noise", add_loop(vectors_to_the_byte, 2); add_loop(a_flipped_bit_is_refused, 2);
              add(a_wrong_psk_or_prologue_is_refused); add(keys_of_low_order_are_refused);
              add(short_messages_are_refused);)
