/* datasets/augment_pixels.c - an operation on an image, by rows: see augment_ops.h; the formulas of a pixel are those
 * of core/plan/picture_ops.h, the very bytes that a GPU makes. */
#include <string.h>

#include "core/base/compiler.h"
#include "datasets/augment_ops.h"

enum { VALUES = 256 };

/* Four counts at a time, as a value that comes again at once would wait for its own last count. */
LMB_HOT static void histogram(const uint8_t *plane, int n, uint32_t count[VALUES])
{
    uint32_t part[4][VALUES] = { 0 };
    int i = 0;

    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            part[k][plane[i + k]]++;
    for (; i < n; i++)
        part[0][plane[i]]++;
    for (int v = 0; v < VALUES; v++)
        count[v] = part[0][v] + part[1][v] + part[2][v] + part[3][v];
}

LMB_HOT static int mean_grey(const uint8_t *image, int channels, int n)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += lmb_picture_grey(image, channels, n, i);
    return lmb_picture_mean(sum, n);
}

LMB_HOT static void look_up(const uint8_t table[VALUES], uint8_t *plane, int n)
{
    for (int i = 0; i < n; i++)
        plane[i] = table[plane[i]];
}

static void by_table(const lmb_picture_op *op, uint8_t *plane, int n, int mean)
{
    lmb_picture_facts f = { .mean = mean };
    uint32_t count[VALUES] = { 0 };
    uint8_t table[VALUES];
    int before = 0;

    if (op->kind >= LMB_PICTURE_AUTO_CONTRAST) {
        histogram(plane, n, count);
        for (f.lo = 0; count[f.lo] == 0;)
            f.lo++;
        for (f.hi = VALUES - 1; count[f.hi] == 0;)
            f.hi--;
        f.step = lmb_picture_step(n, (int)count[f.hi]);
    }
    for (int v = 0; v < VALUES; v++) {
        table[v] = lmb_picture_entry(op, &f, before, v);
        before += (int)count[v];
    }
    look_up(table, plane, n);
}

/* The walk of lmb_picture_from, once for all channels. */
LMB_HOT static void move(const lmb_picture_op *op, const uint8_t *in, uint8_t *out, const lmb_shape *s)
{
    int h = (int)s->d[1], w = (int)s->d[2], n = h * w, channels = (int)s->d[0];

    for (int y = 0; y < h; y++) {
        int32_t sx = op->c[1] * y + op->c[2], sy = op->c[4] * y + op->c[5];
        for (int i = y * w; i < y * w + w; i++, sx += op->c[0], sy += op->c[3]) {
            bool inside = sx >= 0 && sy >= 0 && sx / 65536 < w && sy / 65536 < h;
            int from = inside ? sy / 65536 * w + sx / 65536 : 0;
            for (int c = 0; c < channels; c++)
                out[c * n + i] = (uint8_t)(inside ? in[c * n + from] : 0);
        }
    }
}

LMB_HOT static void color(const lmb_picture_op *op, uint8_t *image, int n)
{
    for (int i = 0; i < n; i++) {
        int grey = lmb_picture_grey(image, 3, n, i);
        for (int c = 0; c < 3; c++)
            image[c * n + i] = lmb_picture_blend(grey, image[c * n + i], op->c[0]);
    }
}

/* The outermost pixels blend with themselves, and stay. */
LMB_HOT static void sharpen(const lmb_picture_op *op, const uint8_t *in, uint8_t *out, int h, int w)
{
    for (int y = 1; y < h - 1; y++)
        for (int x = 1; x < w - 1; x++)
            out[y * w + x] = lmb_picture_blend(lmb_picture_smooth(in, h, w, y, x), in[y * w + x], op->c[0]);
}

void lmb_augment_op_apply(const lmb_picture_op *op, uint8_t *image, const lmb_shape *s, uint8_t *scratch)
{
    int channels = (int)s->d[0], h = (int)s->d[1], w = (int)s->d[2], n = h * w;

    if (op->kind == LMB_PICTURE_AFFINE || op->kind == LMB_PICTURE_SHARPNESS)
        memcpy(scratch, image, (size_t)channels * (size_t)n);
    if (op->kind == LMB_PICTURE_AFFINE)
        move(op, scratch, image, s);
    else if (op->kind == LMB_PICTURE_COLOR && channels == 3)
        color(op, image, n);
    int mean = op->kind == LMB_PICTURE_CONTRAST ? mean_grey(image, channels, n) : 0;
    for (int c = 0; c < channels; c++)
        if (op->kind == LMB_PICTURE_SHARPNESS)
            sharpen(op, scratch + c * n, image + c * n, h, w);
        else if (op->kind >= LMB_PICTURE_INVERT)
            by_table(op, image + c * n, n, mean);
}
