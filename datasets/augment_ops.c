/* datasets/augment_ops.c - see augment_ops.h: the table, and how strengths become integers. */
#include "datasets/augment_ops.h"

#include <math.h>

/* A strength is a share of a range, and a whole number of it may come out a hair short. */
#define HAIR 1e-9

/* Pillow's AFFINE: (x, y) of the old image = (a x + b y + c, d x + e y + f), pixels taken at their centres. */
static void affine(double a, double b, double c, double d, double e, double f, int32_t out[6])
{
    const double v[6] = { a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2 };
    for (int i = 0; i < 6; i++)
        out[i] = (int32_t)floor(v[i] * 65536 + 0.5);
}

static void shear_x(double s, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    affine(1, s, 0, 0, 1, 0, c);
}
static void shear_y(double s, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    affine(1, 0, 0, s, 1, 0, c);
}

static double whole(double s) { return s < 0 ? -floor(-s + HAIR) : floor(s + HAIR); }
static void translate_x(double s, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    affine(1, 0, -whole(s), 0, 1, 0, c);
}
static void translate_y(double s, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    affine(1, 0, 0, 0, 1, -whole(s), c);
}

/* Counter-clockwise, around the image's middle. */
static void rotate(double degrees, const lmb_shape *chw, int32_t c[6])
{
    double angle = -degrees * (3.14159265358979323846 / 180), co = cos(angle), si = sin(angle);
    double x = (double)chw->d[2] / 2, y = (double)chw->d[1] / 2;
    affine(co, si, x - co * x - si * y, -si, co, y + si * x - co * y, c);
}

static void factor(double s, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    c[0] = (int32_t)lrint((1 + s) * LMB_PICTURE_ONE);
}
static void posterize(double bits, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    c[0] = 255 & ~((1 << lrint(bits)) - 1);
}
static void solarize(double below, const lmb_shape *chw, int32_t c[6])
{
    (void)chw;
    c[0] = (int32_t)ceil(255 - below - HAIR);
}

/* clang-format off */
const lmb_augment_op lmb_augment_ops[] = {
    { "Identity", LMB_PICTURE_SAME, false, 0, 0, 0, NULL, "the image as it is" },
    { "ShearX", LMB_PICTURE_AFFINE, true, 0.3, 0.99, 0, shear_x, "rows moved in proportion to how far down" },
    { "ShearY", LMB_PICTURE_AFFINE, true, 0.3, 0.99, 0, shear_y, "columns moved in proportion to how far right" },
    { "TranslateX", LMB_PICTURE_AFFINE, true, 150.0 / 331, 32, 2, translate_x, "moved right or left by whole pixels" },
    { "TranslateY", LMB_PICTURE_AFFINE, true, 150.0 / 331, 32, 1, translate_y, "moved down or up by whole pixels" },
    { "Rotate", LMB_PICTURE_AFFINE, true, 30, 135, 0, rotate, "turned around its middle, by degrees" },
    { "Brightness", LMB_PICTURE_BRIGHTNESS, true, 0.9, 0.99, 0, factor, "nearer to black or further from it" },
    { "Color", LMB_PICTURE_COLOR, true, 0.9, 0.99, 0, factor, "nearer to its greys or further from them" },
    { "Contrast", LMB_PICTURE_CONTRAST, true, 0.9, 0.99, 0, factor, "nearer to its mean grey or further from it" },
    { "Sharpness", LMB_PICTURE_SHARPNESS, true, 0.9, 0.99, 0, factor, "nearer to the smoothed image or further" },
    { "Posterize", LMB_PICTURE_POSTERIZE, false, 4, 6, 0, posterize, "fewer bits a value" },
    { "Solarize", LMB_PICTURE_SOLARIZE, false, 255, 255, 0, solarize, "inverted from 255 less the strength on" },
    { "AutoContrast", LMB_PICTURE_AUTO_CONTRAST, false, 0, 0, 0, NULL, "each channel stretched to 0 .. 255" },
    { "Equalize", LMB_PICTURE_EQUALIZE, false, 0, 0, 0, NULL, "each channel's histogram made flat" },
    { "Invert", LMB_PICTURE_INVERT, false, 0, 0, 0, NULL, "255 minus each value" },
    { NULL, LMB_PICTURE_SAME, false, 0, 0, 0, NULL, NULL }
};
/* clang-format on */

lmb_picture_op lmb_augment_op_make(const lmb_augment_op *op, double share, bool wide, const lmb_shape *chw)
{
    lmb_picture_op p = { .kind = op->kind };
    double most = wide ? op->wide : op->range * (op->side ? (double)chw->d[op->side] : 1);

    if (op->make)
        op->make(share * most, chw, p.c);
    return p;
}
