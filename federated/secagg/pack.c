/* federated/secagg/pack.c - see pack.h. */
#include "federated/secagg/pack.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "comm/bytes.h"

static uint64_t low(unsigned bits) { return (UINT64_C(1) << bits) - 1; }

lmb_status lmb_ring_init(lmb_ring_vector *v, unsigned bits, size_t n, lmb_error *err)
{
    size_t word = bits <= 32 ? sizeof *v->u32 : sizeof *v->u64;
    void *p;
    if (bits < 1 || bits > LMB_RING_BITS_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "a ring has from 1 to %d bits, not %u", LMB_RING_BITS_MAX, bits);
    p = calloc(n ? n : 1, word);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu numbers of %zu bytes", n, word);
    v->bits = bits;
    v->n = n;
    v->u32 = bits <= 32 ? p : NULL;
    v->u64 = bits <= 32 ? NULL : p;
    return LMB_OK;
}

void lmb_ring_deinit(lmb_ring_vector *v)
{
    if (v->u32)
        sodium_memzero(v->u32, v->n * sizeof *v->u32);
    if (v->u64)
        sodium_memzero(v->u64, v->n * sizeof *v->u64);
    free(v->u32);
    free(v->u64);
    v->u32 = NULL;
    v->u64 = NULL;
    v->n = 0;
}

static uint64_t word_at(const lmb_ring_vector *v, size_t i) { return v->u32 ? v->u32[i] : v->u64[i]; }

uint64_t lmb_ring_get(const lmb_ring_vector *v, size_t i) { return word_at(v, i) & low(v->bits); }

int64_t lmb_ring_signed(const lmb_ring_vector *v, size_t i)
{
    uint64_t x = lmb_ring_get(v, i);
    return x >> (v->bits - 1) ? (int64_t)x - ((int64_t)1 << v->bits) : (int64_t)x;
}

void lmb_ring_set(lmb_ring_vector *v, size_t i, uint64_t value)
{
    if (v->u32)
        v->u32[i] = (uint32_t)value;
    else
        v->u64[i] = value;
}

size_t lmb_pack_bytes(unsigned bits, size_t n)
{
    return n / LMB_PACK_GROUP * bits + (n % LMB_PACK_GROUP * bits + 7) / 8;
}

void lmb_pack(const lmb_ring_vector *v, size_t at, size_t count, uint8_t *out)
{
    uint64_t hold = 0, cut = low(v->bits);
    unsigned held = 0;
    for (size_t i = at; i < at + count; i++) {
        uint64_t x = word_at(v, i) & cut;
        hold |= x << held;
        held += v->bits;
        if (held >= 64) {
            lmb_put_u64(out, hold);
            out += 8;
            held -= 64;
            hold = held ? x >> (v->bits - held) : 0;
        }
    }
    for (; held > 0; held = held > 8 ? held - 8 : 0, hold >>= 8)
        *out++ = (uint8_t)hold;
}

/* Up to eight bytes, missing ones as zero. */
static uint64_t load(const uint8_t *in, size_t left)
{
    uint8_t b[8] = { 0 };
    if (left >= 8)
        return lmb_get_u64(in);
    memcpy(b, in, left);
    return lmb_get_u64(b);
}

void lmb_unpack_add(lmb_ring_vector *v, size_t at, size_t count, const uint8_t *in)
{
    size_t left = lmb_pack_bytes(v->bits, count);
    unsigned held = 0;
    uint64_t hold = 0, cut = low(v->bits);

    for (size_t i = at; i < at + count; i++) {
        uint64_t x = hold;
        if (held < v->bits) {
            uint64_t next = load(in, left);
            unsigned take = v->bits - held;
            size_t step = left < 8 ? left : 8;
            in += step;
            left -= step;
            x |= next << held;
            hold = next >> take;
            held = 64 - take;
        } else {
            hold >>= v->bits;
            held -= v->bits;
        }
        x &= cut;
        if (v->u32)
            v->u32[i] += (uint32_t)x;
        else
            v->u64[i] += x;
    }
}
