/* federated/codecs/int8.c - one byte a value: a scale for each group of values, and stochastic rounding.
 *
 * Idea: with s = max |x| / 127 of the group, q = floor(x / s + u) for a uniform u in [0, 1) has the mean x / s: the
 * error of a value is below s, and the errors of many clients cancel out in the mean, which rounding to nearest does
 * not give.
 *
 * Layout: for each group of a block its scale, a float, then a signed byte a value.
 *
 *   source   Alistarh, Grubic, Li, Tomioka, Vojnovic: QSGD. NeurIPS 2017, arXiv:1610.02132
 */
#include <math.h>

#include "federated/codecs/rows.h"

typedef struct config { lmb_codec_common common; int64_t group; } config;
static const lmb_field fields[] = { LMB_INT(config, group, 256, 16, LMB_CODEC_BLOCK, "values",
                                            "that share a scale, of 4 bytes"),
                                    LMB_CODEC_COMMON, LMB_FIELD_END };

static uint64_t groups_of(const config *c, uint64_t count)
{
    return (count + (uint64_t)c->group - 1) / (uint64_t)c->group;
}

static uint64_t bytes_of(const void *config_, uint64_t n)
{
    const config *c = config_;
    uint64_t whole = n / LMB_CODEC_BLOCK, rest = n % LMB_CODEC_BLOCK;
    return n + 4 * (whole * groups_of(c, LMB_CODEC_BLOCK) + groups_of(c, rest));
}

static float scale_of(const float *v, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(v[i]));
    return most / 127;
}

/* Values from place `at` of the block. */
static void put_group(const float *v, size_t n, float scale, uint64_t seed, uint64_t block, size_t at, uint8_t *out)
{
    uint32_t word[4] = { 0 };
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || (at + i) % 4 == 0)
            lmbi_codec_words(seed, block, (uint32_t)((at + i) / 4), word);
        float u = (float)(word[(at + i) % 4] >> 8) * (1.0f / 16777216.0f);
        float q = scale > 0 ? floorf(v[i] / scale + u) : 0;
        int8_t b = (int8_t)fmaxf(-127, fminf(127, q));
        memcpy(out + i, &b, 1);
    }
}

static lmb_status encode(const void *config_, uint64_t seed, const float *values, size_t n, uint8_t *out, size_t *bytes,
                         lmb_error *err)
{
    const config *c = config_;
    uint8_t *to = out;

    (void)err;
    for (uint64_t block = 0; block < lmbi_blocks_of(n); block++) {
        size_t count = lmbi_block_count(n, block);
        for (size_t at = 0; at < count; at += (size_t)c->group) {
            size_t group = count - at < (size_t)c->group ? count - at : (size_t)c->group;
            const float *v = values + block * LMB_CODEC_BLOCK + at;
            float scale = scale_of(v, group);
            memcpy(to, &scale, 4);
            put_group(v, group, scale, seed, block, at, to + 4);
            to += 4 + group;
        }
    }
    *bytes = (size_t)(to - out);
    return LMB_OK;
}

static lmb_status decode(const void *config_, uint64_t seed, uint64_t block, size_t count, const lmb_codec_source *from,
                         float *out, lmb_error *err)
{
    const config *c = config_;
    int8_t q[LMB_CODEC_BLOCK];

    (void)seed;
    for (size_t at = 0; at < count; at += (size_t)c->group) {
        size_t group = count - at < (size_t)c->group ? count - at : (size_t)c->group;
        float scale;
        LMB_TRY(from->read(from->ctx, &scale, 4, err));
        if (!(scale >= 0 && isfinite(scale)))
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "a scale in block %llu of the update is %g; scales are finite and not negative",
                            (unsigned long long)block, (double)scale);
        LMB_TRY(from->read(from->ctx, q, group, err));
        for (size_t i = 0; i < group; i++)
            out[at + i] = scale * (float)q[i];
    }
    return LMB_OK;
}

const lmb_codec lmbi_codec_int8 = {
    .name = "int8",
    .help = "a byte a value, rounded at random so that the mean is kept",
    .source = "arXiv:1610.02132",
    .seeded = true,
    .fixed = true,
    .slack = 0.15,
    .fields = fields,
    .config_bytes = sizeof(config),
    .bytes = bytes_of,
    .encode = encode,
    .decode = decode,
};
