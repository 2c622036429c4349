/* core/base/random.c - see random.h. */
#include "core/base/random.h"

#include <math.h>

enum { ROUNDS = 10 };

void lmb_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    const uint64_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int r = 0; r < ROUNDS; r++) {
        uint64_t p0 = m0 * c0, p1 = m1 * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u; /* golden ratio   */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1    */
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

lmb_rand lmb_rand_at(uint64_t seed, lmb_rand_purpose purpose, uint32_t epoch, uint64_t index)
{
    lmb_rand r;
    r.key[0] = (uint32_t)seed;
    r.key[1] = (uint32_t)(seed >> 32) ^ ((uint32_t)purpose << 24);
    r.counter[0] = 0;
    r.counter[1] = epoch;
    r.counter[2] = (uint32_t)index;
    r.counter[3] = (uint32_t)(index >> 32);
    return r;
}

static void block(const lmb_rand *r, uint32_t e, uint32_t out[4])
{
    uint32_t c[4] = { e / 4, r->counter[1], r->counter[2], r->counter[3] };
    lmb_philox(c, r->key, out);
}

uint32_t lmb_rand_u32(const lmb_rand *r, uint32_t e)
{
    uint32_t out[4];
    block(r, e, out);
    return out[e % 4];
}

float lmb_rand_uniform(const lmb_rand *r, uint32_t e)
{
    return (float)(lmb_rand_u32(r, e) >> 8) * (1.0f / 16777216.0f);
}

/* Box-Muller on the pair of words that element e shares with its neighbour. */
float lmb_rand_normal(const lmb_rand *r, uint32_t e)
{
    uint32_t out[4];
    block(r, e, out);
    uint32_t pair = (e % 4) & ~1u;
    double u = ((double)out[pair] + 1.0) * (1.0 / 4294967296.0);
    double v = (double)out[pair + 1] * (6.283185307179586 / 4294967296.0);
    double radius = sqrt(-2.0 * log(u));
    return (float)(e & 1 ? radius * sin(v) : radius * cos(v));
}

uint32_t lmb_rand_below(const lmb_rand *r, uint32_t e, uint32_t bound)
{
    return (uint32_t)(((uint64_t)lmb_rand_u32(r, e) * bound) >> 32);
}

void lmb_rand_shuffle(const lmb_rand *r, uint32_t *a, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = lmb_rand_below(r, i, i);
        uint32_t t = a[i - 1];
        a[i - 1] = a[j];
        a[j] = t;
    }
}
