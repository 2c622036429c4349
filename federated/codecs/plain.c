/* federated/codecs/plain.c - numbers as they are: f32, and its upper half, bf16.
 *
 * bf16 keeps the exponent and 8 bits of the significand, rounded to nearest: an error of 2^-9 of each value at most,
 * which is little beside the noise of a round. It halves the bytes and has no options to get wrong.
 */
#include "core/base/bf16.h"
#include "federated/codecs/rows.h"

static const lmb_field fields[] = { LMB_CODEC_COMMON, LMB_FIELD_END };

static uint64_t f32_bytes(const void *config, uint64_t n) { return (void)config, 4 * n; }

static lmb_status f32_encode(const void *config, uint64_t seed, const float *values, size_t n, uint8_t *out,
                             size_t *bytes, lmb_error *err)
{
    (void)config, (void)seed, (void)err;
    *bytes = 4 * n;
    memcpy(out, values, *bytes);
    return LMB_OK;
}

static lmb_status f32_decode(const void *config, uint64_t seed, uint64_t block, size_t count,
                             const lmb_codec_source *from, float *out, lmb_error *err)
{
    (void)config, (void)seed, (void)block;
    return from->read(from->ctx, out, 4 * count, err);
}

const lmb_codec lmbi_codec_f32 = {
    .name = "f32",
    .help = "every value as it is, 4 bytes",
    .source = "",
    .lossless = true,
    .alone = true,
    .fixed = true,
    .slack = 1e-6,
    .fields = fields,
    .config_bytes = sizeof(lmb_codec_common),
    .bytes = f32_bytes,
    .encode = f32_encode,
    .decode = f32_decode,
};

static uint64_t bf16_bytes(const void *config, uint64_t n) { return (void)config, 2 * n; }

static lmb_status bf16_encode(const void *config, uint64_t seed, const float *values, size_t n, uint8_t *out,
                              size_t *bytes, lmb_error *err)
{
    (void)config, (void)seed, (void)err;
    *bytes = 2 * n;
    for (size_t i = 0; i < n; i++) {
        uint16_t b = lmb_bf16_of(values[i]);
        memcpy(out + 2 * i, &b, sizeof b);
    }
    return LMB_OK;
}

static lmb_status bf16_decode(const void *config, uint64_t seed, uint64_t block, size_t count,
                              const lmb_codec_source *from, float *out, lmb_error *err)
{
    uint16_t half[256];

    (void)config, (void)seed, (void)block;
    for (size_t at = 0; at < count; at += 256) {
        size_t part = count - at < 256 ? count - at : 256;
        LMB_TRY(from->read(from->ctx, half, 2 * part, err));
        for (size_t i = 0; i < part; i++)
            out[at + i] = lmb_bf16_get(half[i]);
    }
    return LMB_OK;
}

const lmb_codec lmbi_codec_bf16 = {
    .name = "bf16",
    .help = "the upper half of every value, 2 bytes",
    .source = "",
    .alone = true,
    .fixed = true,
    .slack = 0.004,
    .fields = fields,
    .config_bytes = sizeof(lmb_codec_common),
    .bytes = bf16_bytes,
    .encode = bf16_encode,
    .decode = bf16_decode,
};
