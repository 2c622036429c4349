/* federated/codecs/topk.c - only the greatest values, with their places; the rest is sent later.
 *
 * Idea: a small share of a change's values holds most of its norm. The others are not lost: a codec with memory (see
 * codec.h) is given the change plus what it left out before, so that a value which is small in every round is sent when
 * enough of it has come together (error feedback). What rounding to bf16 loses stays in the memory too.
 *
 * Layout: for each block how many values follow, u16; their places in the block, u16, rising; the values, bf16.
 *
 *   source   Stich, Cordonnier, Jaggi: Sparsified SGD with memory. NeurIPS 2018, arXiv:1809.07599
 */
#include <math.h>
#include <stdlib.h>

#include "core/base/bf16.h"
#include "federated/codecs/rows.h"

typedef struct config { lmb_codec_common common; double share; } config;
static const lmb_field fields[] = {
    LMB_REAL(config, share, 0.01, 1e-6, 1, "", "of the values that is sent in a round"), LMB_CODEC_COMMON, LMB_FIELD_END
};

static uint64_t kept_of(const config *c, uint64_t n)
{
    uint64_t k = (uint64_t)ceil(c->share * (double)n);
    return k < 1 ? 1 : k > n ? n : k;
}

static uint64_t bytes_of(const void *config_, uint64_t n) { return 2 * lmbi_blocks_of(n) + 4 * kept_of(config_, n); }

/* Without its sign a float's bits are ordered as its size is. */
static uint32_t size_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u & 0x7fffffff;
}

/* The k-th greatest size, and how many of exactly that size belong to the k: two passes of counting, upper and lower
 * bits. */
static lmb_status threshold(const float *v, size_t n, uint64_t k, uint32_t *least, uint64_t *ties, lmb_error *err)
{
    enum { HALF = 1 << 16 };
    uint64_t *counts = calloc(HALF, sizeof *counts);
    uint32_t high = HALF - 1, low = HALF - 1;

    if (!counts)
        return LMB_FAIL(err, LMB_E_NOMEM, "topk: no memory to count %zu values", n);
    for (size_t i = 0; i < n; i++)
        counts[size_of(v[i]) >> 16]++;
    for (; counts[high] < k; high--)
        k -= counts[high];
    memset(counts, 0, HALF * sizeof *counts);
    for (size_t i = 0; i < n; i++)
        if (size_of(v[i]) >> 16 == high)
            counts[size_of(v[i]) & 0xffff]++;
    for (; counts[low] < k; low--)
        k -= counts[low];
    *least = high << 16 | low;
    *ties = k;
    free(counts);
    return LMB_OK;
}

static lmb_status encode(const void *config_, uint64_t seed, const float *values, size_t n, uint8_t *out, size_t *bytes,
                         lmb_error *err)
{
    uint32_t least = 0;
    uint64_t ties = 0;
    uint8_t *to = out;

    (void)seed;
    LMB_TRY(threshold(values, n, kept_of(config_, n), &least, &ties, err));
    for (uint64_t block = 0; block < lmbi_blocks_of(n); block++) {
        const float *v = values + block * LMB_CODEC_BLOCK;
        size_t count = lmbi_block_count(n, block);
        uint16_t place[LMB_CODEC_BLOCK], kept = 0;
        for (size_t i = 0; i < count; i++) {
            uint32_t size = size_of(v[i]);
            bool tie = size == least && ties > 0;
            if (size > least || tie)
                place[kept++] = (uint16_t)i;
            ties -= tie;
        }
        memcpy(to, &kept, 2);
        memcpy(to + 2, place, 2u * kept);
        to += 2 + 2u * kept;
        for (uint16_t i = 0; i < kept; i++, to += 2) {
            uint16_t b = lmb_bf16_of(v[place[i]]);
            memcpy(to, &b, 2);
        }
    }
    *bytes = (size_t)(to - out);
    return LMB_OK;
}

static lmb_status decode(const void *config_, uint64_t seed, uint64_t block, size_t count, const lmb_codec_source *from,
                         float *out, lmb_error *err)
{
    uint16_t place[LMB_CODEC_BLOCK], value[LMB_CODEC_BLOCK], kept;

    (void)config_, (void)seed;
    LMB_TRY(from->read(from->ctx, &kept, 2, err));
    if (kept > count)
        return LMB_FAIL(err, LMB_E_FORMAT, "block %llu of the update announces %u values, it has %zu places",
                        (unsigned long long)block, kept, count);
    LMB_TRY(from->read(from->ctx, place, 2u * kept, err));
    LMB_TRY(from->read(from->ctx, value, 2u * kept, err));
    memset(out, 0, count * sizeof *out);
    for (uint16_t i = 0; i < kept; i++) {
        if (place[i] >= count || (i && place[i] <= place[i - 1]))
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "block %llu of the update names place %u of %zu; places rise and are below their number",
                            (unsigned long long)block, place[i], count);
        out[place[i]] = lmb_bf16_get(value[i]);
    }
    return LMB_OK;
}

const lmb_codec lmbi_codec_topk = {
    .name = "topk",
    .help = "the greatest values and their places; clients keep the rest for later",
    .source = "arXiv:1809.07599",
    .has_memory = true,
    .sparse = true,
    .slack = 0.004,
    .fields = fields,
    .config_bytes = sizeof(config),
    .bytes = bytes_of,
    .encode = encode,
    .decode = decode,
};
