/* federated/codecs/rotation.c - one to four bits a value, after a random rotation.
 *
 * Idea: a random rotation makes any vector look like d draws of the same normal distribution, for which the best levels
 * are known (Lloyd, Max). So a block is multiplied by random signs and a Hadamard matrix, twice, y = H E H D x / d, and
 * each y_i is replaced by the nearest level q_i of its size sqrt(mean y^2). The scale S = |x|^2 / <y, q> that is sent
 * with them makes the result S D H E H q / d right in the direction of x: unbiased for a uniform rotation, nearly so
 * for this one, which costs d log d. (Once is not enough for blocks of a few great values: of three of them, the signs
 * of y show the greatest alone, whatever D is.) A block's mean squared error is 57 % of its mean square with one
 * bit, 13.3, 3.6 and 1.0 % with two to four.
 *
 * The signs come from the seed, so that different clients rotate differently and their errors cancel out in the mean.
 *
 * Layout: a block is one piece, and the last one several: always the greatest power of two that fits, and when fewer
 * than 256 values are left, the next power of two from 8, filled up with zeros. Of each piece S, a float, then the
 * levels' numbers in `bits` bits each, lowest bits first.
 *
 *   source   Vargaftik, Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher: EDEN. ICML 2022, arXiv:2108.08842
 *            Levels: Max, Quantizing for minimum distortion. IRE Trans. Inf. Theory 6, 1960, table 1; more digits by
 *            Lloyd's iteration, which tests/federated/test_codecs.c repeats.
 */
#include <math.h>
#include <stdlib.h>

#include "federated/codecs/rows.h"

typedef struct config { lmb_codec_common common; int64_t bits; } config;
static const lmb_field fields[] = {
    LMB_INT(config, bits, 4, 1, 4, "bits", "of a value"), LMB_CODEC_COMMON, LMB_FIELD_END
};

/* The positive levels for the standard normal distribution, of b bits; negative ones are theirs with a minus. */
static const float levels[4][8] = {
    { 0.7978845608f },
    { 0.4527800398f, 1.5104176087f },
    { 0.2450941791f, 0.7560052489f, 1.3439092613f, 2.1519457917f },
    { 0.1283950299f, 0.3880482995f, 0.6567590957f, 0.9423402690f, 1.2562309480f, 1.6180463695f, 2.0690172840f,
      2.7325896995f },
};

/* Of the next piece, when so many values are left. */
static size_t piece(size_t left)
{
    size_t d = 8;
    while (left >= 256 ? 2 * d <= left : d < left)
        d *= 2;
    return d;
}

static uint64_t bytes_of(const void *config_, uint64_t n)
{
    uint64_t bits = (uint64_t)((const config *)config_)->bits,
             bytes = n / LMB_CODEC_BLOCK * (4 + LMB_CODEC_BLOCK * bits / 8);
    size_t left = (size_t)(n % LMB_CODEC_BLOCK);

    while (left) {
        size_t d = piece(left);
        bytes += 4 + d * bits / 8;
        left -= d < left ? d : left;
    }
    return bytes;
}

/* A piece from place `at` of the block, a multiple of 256. */
static void flip_signs(float *v, size_t d, uint64_t seed, uint64_t block, size_t at, unsigned turn)
{
    uint32_t word[4] = { 0 };
    for (size_t i = 0; i < d; i++) {
        if (i % 128 == 0)
            lmbi_codec_words(seed, block, (uint32_t)((at + i) / 128) + turn * (LMB_CODEC_BLOCK / 128), word);
        if (word[i / 32 % 4] >> i % 32 & 1)
            v[i] = -v[i];
    }
}

/* v <- H v / sqrt(d), its own inverse. */
static void hadamard(float *v, size_t d)
{
    float scale = 1 / sqrtf((float)d);
    for (size_t half = 1; half < d; half *= 2)
        for (size_t i = 0; i < d; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = v[j], b = v[j + half];
                v[j] = a + b;
                v[j + half] = a - b;
            }
    for (size_t i = 0; i < d; i++)
        v[i] *= scale;
}

static unsigned nearest(const float *level, unsigned n, float size)
{
    unsigned k = 0;
    while (k + 1 < n && size > (level[k] + level[k + 1]) / 2)
        k++;
    return k;
}

/* y becomes levels, packed into out; S. */
static float quantise(float *y, size_t d, double square, unsigned bits, uint8_t *out)
{
    unsigned half = 1u << (bits - 1), held = 0, have = 0;
    double dot = 0, unit = sqrt(square / (double)d);

    for (size_t i = 0; i < d; i++) {
        float size = unit > 0 ? (float)((double)fabsf(y[i]) / unit) : 0;
        unsigned k = nearest(levels[bits - 1], half, size);
        bool minus = y[i] < 0;
        dot += fabs((double)y[i]) * (double)levels[bits - 1][k];
        held |= (k | (minus ? half : 0)) << have;
        have += bits;
        for (; have >= 8; have -= 8, held >>= 8)
            *out++ = (uint8_t)held;
    }
    return dot > 0 ? (float)(square / dot) : 0;
}

/* count <= d values from place `at` of a block into y[d] and out; the bytes. */
static size_t put_piece(const float *v, size_t count, size_t d, unsigned bits, uint64_t seed, uint64_t block, size_t at,
                        float *y, uint8_t *out)
{
    double square = 0;

    memset(y, 0, d * sizeof *y);
    memcpy(y, v, count * sizeof *y);
    for (size_t i = 0; i < count; i++)
        square += (double)y[i] * (double)y[i];
    for (unsigned turn = 0; turn < 2; turn++) {
        flip_signs(y, d, seed, block, at, turn);
        hadamard(y, d);
    }
    float scale = quantise(y, d, square, bits, out + 4);
    memcpy(out, &scale, 4);
    return 4 + d * bits / 8;
}

static lmb_status encode(const void *config_, uint64_t seed, const float *values, size_t n, uint8_t *out, size_t *bytes,
                         lmb_error *err)
{
    unsigned bits = (unsigned)((const config *)config_)->bits;
    float *y = malloc(LMB_CODEC_BLOCK * sizeof *y);
    uint8_t *to = out;

    if (!y)
        return LMB_FAIL(err, LMB_E_NOMEM, "rotation: no memory for a block");
    for (uint64_t block = 0; block < lmbi_blocks_of(n); block++) {
        size_t count = lmbi_block_count(n, block);
        for (size_t at = 0, d; at < count; at += d) {
            d = piece(count - at);
            to += put_piece(values + block * LMB_CODEC_BLOCK + at, count - at < d ? count - at : d, d, bits, seed,
                            block, at, y, to);
        }
    }
    *bytes = (size_t)(to - out);
    free(y);
    return LMB_OK;
}

static void unpack(const uint8_t *p, size_t d, unsigned bits, float scale, float *y)
{
    unsigned half = 1u << (bits - 1), held = 0, have = 0;

    for (size_t i = 0; i < d; i++) {
        if (have < bits) {
            held |= (unsigned)*p++ << have;
            have += 8;
        }
        float level = levels[bits - 1][held & (half - 1)];
        y[i] = held & half ? -scale * level : scale * level;
        held >>= bits;
        have -= bits;
    }
}

static lmb_status decode(const void *config_, uint64_t seed, uint64_t block, size_t count, const lmb_codec_source *from,
                         float *out, lmb_error *err)
{
    unsigned bits = (unsigned)((const config *)config_)->bits;
    uint8_t packed[LMB_CODEC_BLOCK / 2];
    float last[256]; /* a piece that is filled up */

    for (size_t at = 0, d; at < count; at += d) {
        float scale, *y;
        d = piece(count - at);
        y = d <= count - at ? out + at : last;
        LMB_TRY(from->read(from->ctx, &scale, 4, err));
        if (!(scale >= 0 && isfinite(scale)))
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "a scale in block %llu of the update is %g; scales are finite and not negative",
                            (unsigned long long)block, (double)scale);
        LMB_TRY(from->read(from->ctx, packed, d * bits / 8, err));
        unpack(packed, d, bits, scale, y);
        for (unsigned turn = 2; turn-- > 0;) {
            hadamard(y, d);
            flip_signs(y, d, seed, block, at, turn);
        }
        if (y == last)
            memcpy(out + at, last, (count - at) * sizeof *out);
    }
    return LMB_OK;
}

const lmb_codec lmbi_codec_rotation = {
    .name = "rotation",
    .help = "random rotation, then 1 to 4 bits a value",
    .source = "arXiv:2108.08842",
    .seeded = true,
    .fixed = true,
    .slack = 0.3,
    .fields = fields,
    .config_bytes = sizeof(config),
    .bytes = bytes_of,
    .encode = encode,
    .decode = decode,
};
