/* core/plan/picture_ops.h - the operations on images of AutoAugment and its kin, pixel by pixel, in integers.
 *
 * Idea: bytes in, bytes out, and no rounding that two machines could do in two ways: what is a real number (an angle, a
 * factor) was made an integer once for a sample, so that a processor, by rows, and a GPU, by threads, come to the same
 * bytes. Formulas are those of Pillow, on which the papers' and torchvision's figures stand:
 *
 *   moves     in 16.16 fixed point, as Pillow does: the centre of pixel (x, y) is taken to the old image, and what it
 *             falls into is taken; what lies beside the image is 0. c: x = c0 x + c1 y + c2, y = c3 x + c4 y + c5,
 *             with the half pixels already in c2 and c5
 *   blends    from a degenerate image (black, mean grey, grey, smooth) through the image itself and on: Pillow's are
 *             floats, cut to a whole number; these are what its reals would be. A hair is added, so that the factor's
 *             rounding does not turn a whole number into the one below: factors are hundredths or thousandths, and
 *             what is not whole is further from it than that
 *   tables    of one channel's values; autocontrast is the exact quotient, where Pillow's product of doubles, cut, can
 *             be one less
 *   source    Pillow: ImageOps.py, ImageEnhance.py, libImaging Geometry.c, Filter.c, Convert.c
 */
#ifndef LMB_CORE_PLAN_PICTURE_OPS_H
#define LMB_CORE_PLAN_PICTURE_OPS_H

#include "core/plan/picture.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_PICTURE_ONE = 1 << 20, LMB_PICTURE_HAIR = 1 << 8 };

/* What a table needs to know of the image: of the channel, but for `mean`. */
typedef struct lmb_picture_facts {
    int32_t lo, hi; /* AUTO_CONTRAST: the least and the greatest value */
    int32_t step;   /* EQUALIZE: pixels for each new value; 0: too few */
    int32_t mean;   /* CONTRAST: of the grey image */
} lmb_picture_facts;

LMB_PICTURE_BODY uint8_t lmb_picture_blend(int from, int to, int32_t factor)
{
    int32_t v = from * LMB_PICTURE_ONE + factor * (to - from) + LMB_PICTURE_HAIR;
    return (uint8_t)(v <= 0 ? 0 : v >= 255 * LMB_PICTURE_ONE ? 255 : v / LMB_PICTURE_ONE);
}

/* The grey of pixel i of an image in planes of n pixels: ITU-R 601-2, in 16 bits. */
LMB_PICTURE_BODY int lmb_picture_grey(const uint8_t *image, int channels, int n, int i)
{
    if (channels != 3)
        return image[i];
    return (image[i] * 19595 + image[n + i] * 38470 + image[2 * n + i] * 7471 + 0x8000) >> 16;
}
LMB_PICTURE_BODY int lmb_picture_mean(int64_t greys, int64_t n) { return (int)((2 * greys + n) / (2 * n)); }

/* Of a channel of n pixels whose greatest value comes `most` times. */
LMB_PICTURE_BODY int lmb_picture_step(int n, int most) { return (n - most) / 255; }

/* What value v becomes; before: how many pixels of the channel have a smaller one (EQUALIZE). */
LMB_PICTURE_BODY uint8_t lmb_picture_entry(const lmb_picture_op *op, const lmb_picture_facts *f, int before, int v)
{
    switch (op->kind) {
    case LMB_PICTURE_INVERT:
        return (uint8_t)(255 - v);
    case LMB_PICTURE_SOLARIZE:
        return (uint8_t)(v < op->c[0] ? v : 255 - v);
    case LMB_PICTURE_POSTERIZE:
        return (uint8_t)(v & op->c[0]);
    case LMB_PICTURE_BRIGHTNESS:
        return lmb_picture_blend(0, v, op->c[0]);
    case LMB_PICTURE_CONTRAST:
        return lmb_picture_blend(f->mean, v, op->c[0]);
    case LMB_PICTURE_AUTO_CONTRAST:
        if (f->hi <= f->lo)
            return (uint8_t)v;
        return (uint8_t)(v <= f->lo ? 0 : v >= f->hi ? 255 : (v - f->lo) * 255 / (f->hi - f->lo));
    case LMB_PICTURE_EQUALIZE:
        if (f->step == 0)
            return (uint8_t)v;
        v = (before + f->step / 2) / f->step;
        return (uint8_t)(v < 255 ? v : 255);
    default:
        return (uint8_t)v;
    }
}

/* Where pixel (y, x) comes from: its place in a plane, or -1. */
LMB_PICTURE_BODY int lmb_picture_from(const lmb_picture_op *op, int height, int width, int y, int x)
{
    int32_t sx = op->c[0] * x + op->c[1] * y + op->c[2], sy = op->c[3] * x + op->c[4] * y + op->c[5];
    if (sx < 0 || sy < 0 || sx / 65536 >= width || sy / 65536 >= height)
        return -1;
    return sy / 65536 * width + sx / 65536;
}

/* Pixel (y, x), smoothed by 1 1 1, 1 5 1, 1 1 1 over 13; the image's outermost pixels stay. */
LMB_PICTURE_BODY int lmb_picture_smooth(const uint8_t *plane, int height, int width, int y, int x)
{
    const uint8_t *p = plane + y * width + x;

    if (y == 0 || x == 0 || y == height - 1 || x == width - 1)
        return *p;
    int sum = p[-width - 1] + p[-width] + p[-width + 1] + p[-1] + 5 * p[0] + p[1] + p[width - 1] + p[width] +
              p[width + 1];
    return (2 * sum + 13) / 26;
}

/* Pixel (y, x) of channel c after an operation that is no table. */
LMB_PICTURE_BODY uint8_t lmb_picture_op_at(const lmb_picture_op *op, const uint8_t *image, int channels, int height,
                                           int width, int c, int y, int x)
{
    int n = height * width, i = y * width + x;
    const uint8_t *plane = image + c * n;

    switch (op->kind) {
    case LMB_PICTURE_AFFINE:
        i = lmb_picture_from(op, height, width, y, x);
        return (uint8_t)(i < 0 ? 0 : plane[i]);
    case LMB_PICTURE_COLOR:
        return lmb_picture_blend(lmb_picture_grey(image, channels, n, i), plane[i], op->c[0]);
    case LMB_PICTURE_SHARPNESS:
        return lmb_picture_blend(lmb_picture_smooth(plane, height, width, y, x), plane[i], op->c[0]);
    default:
        return plane[i];
    }
}

#ifdef __cplusplus
}
#endif
#endif
