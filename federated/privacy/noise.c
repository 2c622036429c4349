/* federated/privacy/noise.c - see noise.h. */
#include "federated/privacy/noise.h"

#include <math.h>
#include <sodium.h>
#include <string.h>

_Static_assert(LMB_DP_KEY == crypto_stream_chacha20_KEYBYTES && crypto_stream_chacha20_NONCEBYTES == 8,
               "sizes of ChaCha20");

typedef unsigned __int128 u128;

/* ---- the stream ---- */

void lmb_dp_stream_open(lmb_dp_stream *s, const uint8_t *key, uint64_t which)
{
    memset(s, 0, sizeof *s);
    if (key)
        memcpy(s->key, key, sizeof s->key);
    else
        randombytes_buf(s->key, sizeof s->key);
    memcpy(s->nonce, &which, sizeof s->nonce);
    s->used = sizeof s->block;
}

void lmb_dp_stream_wipe(lmb_dp_stream *s) { sodium_memzero(s, sizeof *s); }

uint64_t lmb_dp_u64(lmb_dp_stream *s)
{
    uint64_t v;
    if (s->used == sizeof s->block) {
        memset(s->block, 0, sizeof s->block);
        crypto_stream_chacha20_xor_ic(s->block, s->block, sizeof s->block, s->nonce, s->at, s->key);
        s->at += sizeof s->block / 64;
        s->used = 0;
    }
    memcpy(&v, s->block + s->used, sizeof v);
    sodium_memzero(s->block + s->used, sizeof v);
    s->used += sizeof v;
    return v;
}

double lmb_dp_uniform(lmb_dp_stream *s) { return (double)(lmb_dp_u64(s) >> 11) * 0x1p-53; }

double lmb_dp_normal(lmb_dp_stream *s)
{
    if (s->has_spare) {
        s->has_spare = false;
        return s->spare;
    }
    double radius = sqrt(-2 * log(1 - lmb_dp_uniform(s))), angle = 6.283185307179586 * lmb_dp_uniform(s);
    s->spare = radius * sin(angle);
    s->has_spare = true;
    return radius * cos(angle);
}

/* ---- discrete ---- */

/* Uniform below n > 0. */
static u128 below(lmb_dp_stream *s, u128 n)
{
    u128 mask = n - 1, v;
    for (int k = 1; k < 128; k *= 2)
        mask |= mask >> k;
    do {
        v = (u128)lmb_dp_u64(s);
        if (mask >> 64)
            v |= (u128)lmb_dp_u64(s) << 64;
        v &= mask;
    } while (v >= n);
    return v;
}

static bool bernoulli(lmb_dp_stream *s, u128 num, u128 den) { return below(s, den) < num; }

/* True with probability exp(-num / den), 0 <= num <= den: the parity of a run of successes. */
static bool exp_unit(lmb_dp_stream *s, u128 num, u128 den)
{
    uint64_t k = 1;
    while (bernoulli(s, num, den * k))
        k++;
    return k % 2 == 1;
}

static bool exp_minus(lmb_dp_stream *s, u128 num, u128 den)
{
    for (; num > den; num -= den)
        if (!exp_unit(s, 1, 1))
            return false;
    return exp_unit(s, num, den);
}

/* P(k) ~ exp(-|k| / t). */
static int64_t laplace(lmb_dp_stream *s, uint64_t t)
{
    for (;;) {
        uint64_t u = (uint64_t)below(s, t), v = 0;
        if (!exp_unit(s, u, t))
            continue;
        while (exp_unit(s, 1, 1))
            v++;
        uint64_t size = u + t * v;
        bool minus = lmb_dp_u64(s) & 1;
        if (!minus || size)
            return minus ? -(int64_t)size : (int64_t)size;
    }
}

int64_t lmb_dp_discrete(lmb_dp_stream *s, uint64_t sigma2)
{
    uint64_t t = (uint64_t)sqrt((double)sigma2);
    while ((u128)t * t > sigma2)
        t--;
    t++;
    for (;;) {
        int64_t y = laplace(s, t);
        u128 size = (u128)(y < 0 ? -y : y) * t, off = size > sigma2 ? size - sigma2 : sigma2 - size;
        /* exp(-(|y| - sigma2 / t)^2 / (2 sigma2)); what is too far out for the arithmetic has no chance anyway */
        if (off >> 62)
            continue;
        if (exp_minus(s, off * off, 2 * (u128)sigma2 * t * t))
            return y;
    }
}

double lmb_dp_discrete_variance(uint64_t sigma2)
{
    double mass = 1, square = 0;
    if (sigma2 > 100)
        return (double)sigma2; /* the difference is below 1e-800 */
    for (int k = 1; k < 300; k++) {
        double p = 2 * exp(-(double)k * k / (2 * (double)sigma2));
        mass += p;
        square += p * k * k;
    }
    return square / mass;
}

lmb_status lmb_dp_share(double z, double clip, uint64_t clients, double dropped, uint64_t *sigma2, lmb_error *err)
{
    double each = z * z * clip * clip / ((1 - dropped) * (double)clients);
    if (!(z > 0 && clip > 0 && clients > 0 && dropped >= 0 && dropped < 1))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "noise of %g times a clip of %g among %llu clients of which %g drop out: there is no such thing", z, clip,
            (unsigned long long)clients, dropped);
    each = ceil(each);
    if (!(each <= 0x1p54))
        return LMB_FAIL(err, LMB_E_ARG,
                        "each client would add noise of variance %g, in units of the ring; 2^%d is the greatest", each,
                        LMB_DP_SIGMA2_BITS);
    *sigma2 = (uint64_t)each;
    return LMB_OK;
}
