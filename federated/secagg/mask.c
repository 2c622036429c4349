/* federated/secagg/mask.c - see mask.h. */
#include "federated/secagg/mask.h"

#include <limits.h>
#include <sodium.h>

#include "core/base/compiler.h"

/* A block of the vector and its keystream stay in the first-level cache. */
enum { BLOCK_BYTES = 16384, STREAM_BLOCK = 64 };

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
static uint32_t le32(uint32_t x) { return __builtin_bswap32(x); }
static uint64_t le64(uint64_t x) { return __builtin_bswap64(x); }
#else
static uint32_t le32(uint32_t x) { return x; }
static uint64_t le64(uint64_t x) { return x; }
#endif

/* Subtracting is adding the two's complement: (x ^ ones) + 1 for ones = all bits set. */
LMB_HOT static void add32(uint32_t *LMB_RESTRICT v, const uint32_t *LMB_RESTRICT k, size_t n, uint32_t ones)
{
    for (size_t i = 0; i < n; i++)
        v[i] += (le32(k[i]) ^ ones) - ones;
}

LMB_HOT static void add64(uint64_t *LMB_RESTRICT v, const uint64_t *LMB_RESTRICT k, size_t n, uint64_t ones)
{
    for (size_t i = 0; i < n; i++)
        v[i] += (le64(k[i]) ^ ones) - ones;
}

typedef struct job {
    lmb_ring_vector *v;
    const lmb_mask *masks;
    size_t n_masks;
} job;

static void mask_block(void *ctx, int task, int worker)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES], zero[BLOCK_BYTES];
    union { uint8_t bytes[BLOCK_BYTES]; uint32_t u32[BLOCK_BYTES / 4]; uint64_t u64[BLOCK_BYTES / 8]; } k;
    const job *j = ctx;
    lmb_ring_vector *v = j->v;
    size_t word = v->u32 ? 4 : 8, per = BLOCK_BYTES / word, at = (size_t)task * per;
    size_t count = v->n - at < per ? v->n - at : per;

    (void)worker;
    for (size_t m = 0; m < j->n_masks; m++) {
        const lmb_mask *mask = &j->masks[m];
        crypto_stream_chacha20_ietf_xor_ic(k.bytes, zero, count * word, nonce,
                                           (uint32_t)((size_t)task * (BLOCK_BYTES / STREAM_BLOCK)), mask->key);
        if (v->u32)
            add32(v->u32 + at, k.u32, count, mask->subtract ? UINT32_MAX : 0);
        else
            add64(v->u64 + at, k.u64, count, mask->subtract ? UINT64_MAX : 0);
    }
    sodium_memzero(&k, sizeof k);
}

lmb_status lmb_mask_apply(lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks, lmb_pool *pool, lmb_error *err)
{
    job j = { v, masks, n_masks };
    size_t word = v->u32 ? 4 : 8, blocks = (v->n + BLOCK_BYTES / word - 1) / (BLOCK_BYTES / word);
    if (blocks > UINT32_MAX / (BLOCK_BYTES / STREAM_BLOCK) || blocks > INT_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "a vector of %zu numbers is longer than a mask", v->n);
    if (n_masks)
        lmb_pool_run(pool, (int)blocks, mask_block, &j);
    return LMB_OK;
}
