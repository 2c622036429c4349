/* federated/secagg/mask.c - see mask.h. */
#include "federated/secagg/mask.h"

#include <limits.h>
#include <sodium.h>
#include <string.h>

#include "comm/bytes.h"
#include "core/base/compiler.h"
#include "federated/secagg/mask_lanes.h"

/* A block of the vector and its keystream stay in the first-level cache. */
enum { BLOCK_BYTES = 16384, STREAM_BLOCK = 64, COUNTER_WORD = 12 };

const lmbi_mask_kernel *const lmbi_mask_kernels[] = {
#if LMBI_MASK_X86
    &lmbi_mask_avx512,
    &lmbi_mask_avx2,
#elif LMBI_MASK_NEON
    &lmbi_mask_neon,
#endif
    NULL,
};

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
    const lmbi_mask_kernel *kernel; /* NULL: libsodium's stream */
} job;

/* Where no kernel runs, and for words of 64 bits. */
static void by_streams(const job *j, size_t at, size_t count, uint32_t counter)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    union { uint8_t bytes[BLOCK_BYTES]; uint32_t u32[BLOCK_BYTES / 4]; uint64_t u64[BLOCK_BYTES / 8]; } k;
    lmb_ring_vector *v = j->v;

    for (size_t m = 0; m < j->n_masks; m++) {
        const lmb_mask *mask = &j->masks[m];
        size_t bytes = count * (v->u32 ? 4 : 8);
        memset(k.bytes, 0, bytes);
        crypto_stream_chacha20_ietf_xor_ic(k.bytes, k.bytes, bytes, nonce, counter, mask->key);
        if (v->u32)
            add32(v->u32 + at, k.u32, count, mask->subtract ? UINT32_MAX : 0);
        else
            add64(v->u64 + at, k.u64, count, mask->subtract ? UINT64_MAX : 0);
    }
    sodium_memzero(&k, sizeof k);
}

/* The states that the rounds began with, summed over masks: without counters, which differ from block to block. */
typedef struct begun {
    uint32_t word[LMBI_MASK_WORDS];
    uint32_t masks; /* added less subtracted */
} begun;

static void put_out(const lmbi_mask_kernel *k, const uint32_t *sums, const begun *b, uint32_t counter, uint32_t *v,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t block = (uint32_t)(i / LMBI_MASK_WORDS), word = i % LMBI_MASK_WORDS;
        uint32_t group = block / k->lanes, lane = block % k->lanes;
        v[i] += sums[(group * LMBI_MASK_WORDS + word) * k->lanes + lane] + b->word[word] +
                (word == COUNTER_WORD ? b->masks * (counter + block) : 0);
    }
}

static void by_lanes(const job *j, size_t at, size_t count, uint32_t counter)
{
    static const uint32_t constant[4] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
    const lmbi_mask_kernel *k = j->kernel;
    uint32_t sums[BLOCK_BYTES / 4] __attribute__((aligned(64))), key[8];
    size_t per = (size_t)k->lanes * LMBI_MASK_WORDS;
    uint32_t groups = (uint32_t)((count + per - 1) / per);
    begun b = { .masks = 0 };

    memset(sums, 0, groups * per * sizeof *sums);
    for (size_t m = 0; m < j->n_masks; m++) {
        const lmb_mask *mask = &j->masks[m];
        uint32_t ones = mask->subtract ? UINT32_MAX : 0;
        for (int i = 0; i < 8; i++) {
            key[i] = lmb_get_u32(mask->key + 4 * i);
            b.word[4 + i] += (key[i] ^ ones) - ones;
        }
        b.masks += (1 ^ ones) - ones;
        k->rounds(sums, groups, counter, key, ones);
    }
    for (int i = 0; i < 4; i++)
        b.word[i] = b.masks * constant[i];
    put_out(k, sums, &b, counter, j->v->u32 + at, count);
    sodium_memzero(sums, sizeof sums);
    sodium_memzero(key, sizeof key);
    sodium_memzero(&b, sizeof b);
}

static void mask_block(void *ctx, int task, int worker)
{
    const job *j = ctx;
    size_t per = BLOCK_BYTES / (j->v->u32 ? 4 : 8), at = (size_t)task * per;
    size_t count = j->v->n - at < per ? j->v->n - at : per;
    uint32_t counter = (uint32_t)((size_t)task * (BLOCK_BYTES / STREAM_BLOCK));

    (void)worker;
    if (j->kernel)
        by_lanes(j, at, count, counter);
    else
        by_streams(j, at, count, counter);
}

static const lmbi_mask_kernel *fastest(void)
{
    const lmbi_mask_kernel *const *k = lmbi_mask_kernels;
    while (*k && !(*k)->have())
        k++;
    return *k;
}

lmb_status lmbi_mask_apply_by(const lmbi_mask_kernel *kernel, lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks,
                              lmb_pool *pool, lmb_error *err)
{
    job j = { v, masks, n_masks, v->u32 ? kernel : NULL };
    size_t word = v->u32 ? 4 : 8, blocks = (v->n + BLOCK_BYTES / word - 1) / (BLOCK_BYTES / word);
    if (blocks > UINT32_MAX / (BLOCK_BYTES / STREAM_BLOCK) || blocks > INT_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "a vector of %zu numbers is longer than a mask", v->n);
    if (n_masks)
        lmb_pool_run(pool, (int)blocks, mask_block, &j);
    return LMB_OK;
}

lmb_status lmb_mask_apply(lmb_ring_vector *v, const lmb_mask *masks, size_t n_masks, lmb_pool *pool, lmb_error *err)
{
    return lmbi_mask_apply_by(fastest(), v, masks, n_masks, pool, err);
}
