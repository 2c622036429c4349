/* core/plan/picture.h - a random change to an image as a few numbers, and what a pixel is after it.
 *
 * Idea: who draws the numbers (datasets/augment.h) need not be who moves the pixels: images go to a device as they are,
 * bytes, with one of these each, and a kernel writes the changed image as the floats that a model takes. The formula
 * below is what datasets/augment.c does by rows, pixel by pixel, for both compilers: shift (what lies beside the image
 * is 0 or the mirror image), then mirror left and right, then up to LMB_PICTURE_OPS operations (picture_ops.h), then
 * set a box to 0.
 */
#ifndef LMB_CORE_PLAN_PICTURE_H
#define LMB_CORE_PLAN_PICTURE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_PICTURE_FLIP = 1, LMB_PICTURE_REFLECT = 2, LMB_PICTURE_SIDE = INT16_MAX }; /* SIDE: largest width, height */
enum { LMB_PICTURE_OPS = 3, LMB_PICTURE_OPS_SIDE = 8192 }; /* the largest side for which operations do not overflow */

/* What an operation does; from INVERT on a channel's new values are a table of its old ones. */
typedef enum {
    LMB_PICTURE_SAME, /* nothing */
    LMB_PICTURE_AFFINE,
    LMB_PICTURE_COLOR,
    LMB_PICTURE_SHARPNESS,
    LMB_PICTURE_INVERT,
    LMB_PICTURE_SOLARIZE,
    LMB_PICTURE_POSTERIZE,
    LMB_PICTURE_BRIGHTNESS,
    LMB_PICTURE_CONTRAST,
    LMB_PICTURE_AUTO_CONTRAST,
    LMB_PICTURE_EQUALIZE
} lmb_picture_kind;

typedef struct lmb_picture_op {
    int32_t kind; /* lmb_picture_kind */
    int32_t c[6]; /* AFFINE: picture_ops.h. SOLARIZE: the least value turned; POSTERIZE: bits kept, a mask; COLOR,
                   * SHARPNESS, BRIGHTNESS, CONTRAST: the factor, in units of 1 / LMB_PICTURE_ONE */
} lmb_picture_op;

typedef struct lmb_picture_change {
    int16_t dy, dx;         /* the changed image begins here in the old one */
    int16_t y0, y1, x0, x1; /* rows [y0, y1), columns [x0, x1) become 0     */
    uint32_t flags;
    lmb_picture_op op[LMB_PICTURE_OPS]; /* in turn */
} lmb_picture_change;

#ifdef __CUDACC__
#define LMB_PICTURE_BODY static __host__ __device__ __forceinline__
#else
#define LMB_PICTURE_BODY static inline
#endif

/* Mirror a coordinate into [0, n) without repeating the edge. */
LMB_PICTURE_BODY int lmb_picture_mirrored(int i, int n)
{
    if (n == 1)
        return 0;
    i = (i < 0 ? -i : i) % (2 * (n - 1));
    return i < n ? i : 2 * (n - 1) - i;
}

/* Is pixel (y, x) in the box that becomes 0? */
LMB_PICTURE_BODY int lmb_picture_cut(const lmb_picture_change *c, int y, int x)
{
    return y >= c->y0 && y < c->y1 && x >= c->x0 && x < c->x1;
}

/* Pixel (y, x) of the image shifted and mirrored, out of the plane [height, width] of one channel. */
LMB_PICTURE_BODY uint8_t lmb_picture_moved(const lmb_picture_change *c, const uint8_t *plane, int height, int width,
                                           int y, int x)
{
    int sy = y + c->dy, sx = (c->flags & LMB_PICTURE_FLIP ? width - 1 - x : x) + c->dx;

    if (c->flags & LMB_PICTURE_REFLECT) {
        sy = lmb_picture_mirrored(sy, height);
        sx = lmb_picture_mirrored(sx, width);
    }
    return sy >= 0 && sy < height && sx >= 0 && sx < width ? plane[sy * width + sx] : 0;
}

/* Pixel (y, x) of the changed image, where there are no operations. */
LMB_PICTURE_BODY uint8_t lmb_picture_at(const lmb_picture_change *c, const uint8_t *plane, int height, int width, int y,
                                        int x)
{
    return lmb_picture_cut(c, y, x) ? 0 : lmb_picture_moved(c, plane, height, width, y, x);
}

#ifdef __cplusplus
}
#endif
#endif
