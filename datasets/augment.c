/* datasets/augment.c - see augment.h. */
#include "datasets/augment.h"

#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "datasets/augment_ops.h"
#include "datasets/augment_policy.h"

const lmb_field lmb_augment_fields[] = {
    LMB_INT(lmb_augment, crop, 0, 0, 64, "pixels", "pad on each side, then cut a random window"),
    LMB_BOOL(lmb_augment, reflect, 0, "pad with a mirror image instead of zeros"),
    LMB_BOOL(lmb_augment, flip, 0, "mirror left and right half of the time"),
    LMB_CHOICE(lmb_augment, policy, LMB_POLICY_NONE, lmb_augment_policies,
               "operations drawn for each image, after crop and flip and before cutout (limbeck list augmentations)"),
    LMB_INT(lmb_augment, strength, 9, 0, LMB_POLICY_STEPS, "", "randaugment: of each operation, 30ths of its range"),
    LMB_INT(lmb_augment, operations, 2, 1, LMB_PICTURE_OPS, "", "randaugment: on each image, one after another"),
    LMB_INT(lmb_augment, cutout, 0, 0, 512, "pixels", "side of a square set to zero"),
    LMB_REAL(lmb_augment, scale, 0, 0, 1, "", "signals: deviation of a random factor for each channel, around 1"),
    LMB_REAL(lmb_augment, jitter, 0, 0, 1e6, "signal's unit", "signals: standard deviation of added noise"),
    LMB_INT(lmb_augment, versions, 0, 0, 1e6, "",
            "of each sample, in turn, after which a teacher's cached logits repeat; 0: every epoch is new"),
    LMB_INT(lmb_augment, seed, 0, 0, 9e15, "", "of the changes; who shares it shares cached logits; 0: the training's"),
    LMB_FIELD_END
};

static bool any_image(const lmb_augment *a) { return a->crop || a->flip || a->cutout || a->policy; }
bool lmb_augment_any(const lmb_augment *a) { return any_image(a) || a->scale > 0 || a->jitter > 0; }

uint64_t lmb_augment_seed(const lmb_augment *a, uint64_t seed) { return a->seed ? (uint64_t)a->seed : seed; }
int64_t lmb_augment_epoch(const lmb_augment *a, int64_t epoch) { return a->versions ? epoch % a->versions : epoch; }

/* The stream of a sample. */
static lmb_rand stream(const lmb_augment *a, uint64_t seed, uint32_t epoch, uint64_t sample)
{
    return lmb_rand_at(lmb_augment_seed(a, seed), LMB_RAND_AUGMENT, (uint32_t)lmb_augment_epoch(a, epoch), sample);
}

lmb_status lmb_augment_check(const lmb_augment *a, const lmb_shape *shape, lmb_dtype dtype, lmb_error *err)
{
    bool image = dtype == LMB_U8 && shape->n == 3, signal = dtype == LMB_F32 && shape->n == 2;
    char text[LMB_SHAPE_TEXT];

    if (!image && any_image(a))
        return LMB_FAIL(err, LMB_E_ARG, "crop, flip, policy and cutout change u8 images; the samples are %s %s: turn "
                        "them off", lmb_dtype_name(dtype), lmb_shape_text(shape, text, sizeof text));
    int64_t most = a->policy ? LMB_PICTURE_OPS_SIDE : LMB_PICTURE_SIDE;
    if (any_image(a) && (shape->d[1] > most || shape->d[2] > most))
        return LMB_FAIL(err, LMB_E_ARG, "images of %s pixels are too large to be changed; a side has %lld at most%s",
                        lmb_shape_text(shape, text, sizeof text), (long long)most, a->policy ? " with a policy" : "");
    if (a->policy && shape->d[0] != 1 && shape->d[0] != 3)
        return LMB_FAIL(err, LMB_E_ARG, "policy %s changes grey images and colour images, of 1 and 3 channels; the "
                        "samples are %s: leave augment.policy out", lmb_augment_policies[a->policy],
                        lmb_shape_text(shape, text, sizeof text));
    if (!signal && (a->scale > 0 || a->jitter > 0))
        return LMB_FAIL(err, LMB_E_ARG, "scale and jitter change f32 signals; the samples are %s %s: turn them off",
                        lmb_dtype_name(dtype), lmb_shape_text(shape, text, sizeof text));
    return LMB_OK;
}

/* Words of a sample's stream, so that options do not share any. Signals: a normal number a channel, one a reading. */
enum { E_CROP_Y, E_CROP_X, E_FLIP, E_CUT_Y, E_CUT_X, E_POLICY = 16, E_SCALE = 1 << 10, E_JITTER = 1 << 20 };

/* Row x of `out` is in[x + dx]; what lies beside the image is 0, or the mirror image. */
static void shift_row(const uint8_t *LMB_RESTRICT in, uint8_t *LMB_RESTRICT out, int64_t w, int64_t dx, bool reflect)
{
    int64_t lo = dx < 0 ? -dx : 0, hi = dx > 0 ? w - dx : w;

    lo = lo < w ? lo : w;
    hi = hi > lo ? hi : lo;
    if (lo < hi)
        memcpy(out + lo, in + lo + dx, (size_t)(hi - lo));
    for (int64_t x = 0; x < lo; x++)
        out[x] = reflect ? in[lmb_picture_mirrored((int)(x + dx), (int)w)] : 0;
    for (int64_t x = hi; x < w; x++)
        out[x] = reflect ? in[lmb_picture_mirrored((int)(x + dx), (int)w)] : 0;
}

static void shift(const lmb_augment *a, const uint8_t *in, uint8_t *out, const lmb_shape *s, int64_t dy, int64_t dx)
{
    int64_t h = s->d[1], w = s->d[2];

    for (int64_t c = 0; c < s->d[0]; c++)
        for (int64_t y = 0; y < h; y++) {
            int64_t sy = a->reflect ? lmb_picture_mirrored((int)(y + dy), (int)h) : y + dy;
            if (sy >= 0 && sy < h)
                shift_row(in + (c * h + sy) * w, out + (c * h + y) * w, w, dx, a->reflect);
            else
                memset(out + (c * h + y) * w, 0, (size_t)w);
        }
}

static void mirror_rows(const uint8_t *LMB_RESTRICT in, uint8_t *LMB_RESTRICT out, int64_t rows, int64_t w)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < w; i++)
            out[r * w + i] = in[r * w + w - 1 - i];
}

static void cut(uint8_t *image, const lmb_shape *s, const lmb_picture_change *p)
{
    for (int64_t c = 0; c < s->d[0]; c++)
        for (int64_t y = p->y0; y < p->y1 && p->x0 < p->x1; y++)
            memset(image + (c * s->d[1] + y) * s->d[2] + p->x0, 0, (size_t)(p->x1 - p->x0));
}

/* Of a side of n pixels, those of a box around `centre`. */
static void box(int64_t centre, int64_t side, int64_t n, int16_t *lo, int16_t *hi)
{
    int64_t from = centre - side / 2, to = from + side;
    *lo = (int16_t)(from < 0 ? 0 : from);
    *hi = (int16_t)(to > n ? n : to);
}

lmb_picture_change lmb_augment_change(const lmb_augment *a, const lmb_shape *s, uint64_t seed, uint32_t epoch,
                                      uint64_t sample)
{
    lmb_rand r = stream(a, seed, epoch, sample);
    lmb_picture_change p = { 0 };

    if (a->flip && lmb_rand_u32(&r, E_FLIP) >> 31)
        p.flags |= LMB_PICTURE_FLIP;
    if (a->reflect)
        p.flags |= LMB_PICTURE_REFLECT;
    if (a->crop) {
        p.dy = (int16_t)((int64_t)lmb_rand_below(&r, E_CROP_Y, (uint32_t)(2 * a->crop + 1)) - a->crop);
        p.dx = (int16_t)((int64_t)lmb_rand_below(&r, E_CROP_X, (uint32_t)(2 * a->crop + 1)) - a->crop);
    }
    lmbi_augment_policy(a, s, &r, E_POLICY, &p);
    if (a->cutout) {
        box(lmb_rand_below(&r, E_CUT_Y, (uint32_t)s->d[1]), a->cutout, s->d[1], &p.y0, &p.y1);
        box(lmb_rand_below(&r, E_CUT_X, (uint32_t)s->d[2]), a->cutout, s->d[2], &p.x0, &p.x1);
    }
    return p;
}

void lmb_augment_apply(const lmb_augment *a, uint8_t *image, const lmb_shape *s, uint64_t seed, uint32_t epoch,
                       uint64_t sample, uint8_t *scratch)
{
    const lmb_picture_change p = lmb_augment_change(a, s, seed, epoch, sample);
    size_t bytes = (size_t)(s->d[0] * s->d[1] * s->d[2]);
    bool flip = p.flags & LMB_PICTURE_FLIP;

    /* To crop and then flip is to flip and then crop from the other side: the copy that cropping needs is the flip. */
    if (flip)
        mirror_rows(image, scratch, s->d[0] * s->d[1], s->d[2]);
    else if (p.dy || p.dx)
        memcpy(scratch, image, bytes);
    if (p.dy || p.dx)
        shift(a, scratch, image, s, p.dy, flip ? -p.dx : p.dx);
    else if (flip)
        memcpy(image, scratch, bytes);
    for (int k = 0; k < LMB_PICTURE_OPS; k++)
        if (p.op[k].kind != LMB_PICTURE_SAME)
            lmb_augment_op_apply(&p.op[k], image, s, scratch);
    cut(image, s, &p);
}

void lmb_augment_apply_signal(const lmb_augment *a, float *signal, const lmb_shape *s, uint64_t seed, uint32_t epoch,
                              uint64_t sample)
{
    lmb_rand r = stream(a, seed, epoch, sample);
    int64_t channels = s->d[0], length = s->d[1];

    for (int64_t c = 0; c < channels && a->scale > 0; c++) {
        float factor = 1 + (float)a->scale * lmb_rand_normal(&r, E_SCALE + (uint32_t)c);
        for (int64_t t = 0; t < length; t++)
            signal[c * length + t] *= factor;
    }
    for (int64_t i = 0; i < channels * length && a->jitter > 0; i++)
        signal[i] += (float)a->jitter * lmb_rand_normal(&r, E_JITTER + (uint32_t)i);
}
