/* datasets/augment.c - see augment.h. */
#include "datasets/augment.h"

#include <string.h>

#include "core/base/random.h"

const lmb_field lmb_augment_fields[] = {
    LMB_INT(lmb_augment, crop, 0, 0, 64, "pixels", "pad on each side, then cut a random window"),
    LMB_BOOL(lmb_augment, reflect, 0, "pad with a mirror image instead of zeros"),
    LMB_BOOL(lmb_augment, flip, 0, "mirror left and right half of the time"),
    LMB_INT(lmb_augment, cutout, 0, 0, 512, "pixels", "side of a square set to zero"),
    LMB_REAL(lmb_augment, scale, 0, 0, 1, "", "signals: deviation of a random factor for each channel, around 1"),
    LMB_REAL(lmb_augment, jitter, 0, 0, 1e6, "signal's unit", "signals: standard deviation of added noise"),
    LMB_FIELD_END
};

bool lmb_augment_any(const lmb_augment *a) { return a->crop || a->flip || a->cutout || a->scale > 0 || a->jitter > 0; }

lmb_status lmb_augment_check(const lmb_augment *a, const lmb_shape *shape, lmb_dtype dtype, lmb_error *err)
{
    bool image = dtype == LMB_U8 && shape->n == 3, signal = dtype == LMB_F32 && shape->n == 2;
    char text[LMB_SHAPE_TEXT];

    if (!image && (a->crop || a->flip || a->cutout))
        return LMB_FAIL(err, LMB_E_ARG, "crop, flip and cutout change u8 images; the samples are %s %s: turn them off",
                        lmb_dtype_name(dtype), lmb_shape_text(shape, text, sizeof text));
    if (!signal && (a->scale > 0 || a->jitter > 0))
        return LMB_FAIL(err, LMB_E_ARG, "scale and jitter change f32 signals; the samples are %s %s: turn them off",
                        lmb_dtype_name(dtype), lmb_shape_text(shape, text, sizeof text));
    return LMB_OK;
}

/* Words of a sample's stream, so that options do not share any. Signals: a normal number a channel, one a reading. */
enum { E_CROP_Y, E_CROP_X, E_FLIP, E_CUT_Y, E_CUT_X, E_SCALE = 1 << 10, E_JITTER = 1 << 20 };

/* Mirror a coordinate into [0, n) without repeating the edge. */
static int64_t mirrored(int64_t i, int64_t n)
{
    if (n == 1)
        return 0;
    i = i < 0 ? -i : i;
    i %= 2 * (n - 1);
    return i < n ? i : 2 * (n - 1) - i;
}

static void shift(const lmb_augment *a, const uint8_t *in, uint8_t *out, const lmb_shape *s, int64_t dy, int64_t dx)
{
    int64_t h = s->d[1], w = s->d[2];

    for (int64_t c = 0; c < s->d[0]; c++)
        for (int64_t y = 0; y < h; y++) {
            uint8_t *row = out + (c * h + y) * w;
            int64_t sy = y + dy;
            if (a->reflect) {
                const uint8_t *from = in + (c * h + mirrored(sy, h)) * w;
                for (int64_t x = 0; x < w; x++)
                    row[x] = from[mirrored(x + dx, w)];
                continue;
            }
            memset(row, 0, (size_t)w);
            int64_t lo = dx < 0 ? -dx : 0, hi = dx > 0 ? w - dx : w;
            if (sy >= 0 && sy < h && lo < hi)
                memcpy(row + lo, in + (c * h + sy) * w + lo + dx, (size_t)(hi - lo));
        }
}

static void mirror_rows(uint8_t *image, int64_t rows, int64_t w)
{
    for (int64_t r = 0; r < rows; r++, image += w)
        for (int64_t i = 0, j = w - 1; i < j; i++, j--) {
            uint8_t t = image[i];
            image[i] = image[j];
            image[j] = t;
        }
}

static void cut(uint8_t *image, const lmb_shape *s, int64_t side, int64_t cy, int64_t cx)
{
    int64_t y0 = cy - side / 2, x0 = cx - side / 2, y1 = y0 + side, x1 = x0 + side;

    y0 = y0 < 0 ? 0 : y0, x0 = x0 < 0 ? 0 : x0;
    y1 = y1 > s->d[1] ? s->d[1] : y1, x1 = x1 > s->d[2] ? s->d[2] : x1;
    for (int64_t c = 0; c < s->d[0]; c++)
        for (int64_t y = y0; y < y1 && x0 < x1; y++)
            memset(image + (c * s->d[1] + y) * s->d[2] + x0, 0, (size_t)(x1 - x0));
}

void lmb_augment_apply(const lmb_augment *a, uint8_t *image, const lmb_shape *s, uint64_t seed, uint32_t epoch,
                       uint64_t sample, uint8_t *scratch)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_AUGMENT, epoch, sample);

    if (a->crop) {
        int64_t dy = (int64_t)lmb_rand_below(&r, E_CROP_Y, (uint32_t)(2 * a->crop + 1)) - a->crop;
        int64_t dx = (int64_t)lmb_rand_below(&r, E_CROP_X, (uint32_t)(2 * a->crop + 1)) - a->crop;
        size_t bytes = (size_t)(s->d[0] * s->d[1] * s->d[2]);
        if (dy || dx) {
            memcpy(scratch, image, bytes);
            shift(a, scratch, image, s, dy, dx);
        }
    }
    if (a->flip && lmb_rand_u32(&r, E_FLIP) >> 31)
        mirror_rows(image, s->d[0] * s->d[1], s->d[2]);
    if (a->cutout)
        cut(image, s, a->cutout, lmb_rand_below(&r, E_CUT_Y, (uint32_t)s->d[1]),
            lmb_rand_below(&r, E_CUT_X, (uint32_t)s->d[2]));
}

void lmb_augment_apply_signal(const lmb_augment *a, float *signal, const lmb_shape *s, uint64_t seed, uint32_t epoch,
                              uint64_t sample)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_AUGMENT, epoch, sample);
    int64_t channels = s->d[0], length = s->d[1];

    for (int64_t c = 0; c < channels && a->scale > 0; c++) {
        float factor = 1 + (float)a->scale * lmb_rand_normal(&r, E_SCALE + (uint32_t)c);
        for (int64_t t = 0; t < length; t++)
            signal[c * length + t] *= factor;
    }
    for (int64_t i = 0; i < channels * length && a->jitter > 0; i++)
        signal[i] += (float)a->jitter * lmb_rand_normal(&r, E_JITTER + (uint32_t)i);
}
