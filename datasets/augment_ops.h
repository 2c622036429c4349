/* datasets/augment_ops.h - the operations that policies choose from (augment.h), and how strong each can be.
 *
 * Idea: a row says what an operation is called, how far its strength goes, and how a strength becomes the integers of
 * core/plan/picture_ops.h. Policies name rows; they know no pixels.
 *   ranges    `range` of AutoAugment and RandAugment, `wide` of TrivialAugment, as torchvision has them; strengths are
 *             exact shares of them; torchvision's are f32, and 15 / 30 of 32 pixels there 15.999999, cut to 15
 *   edges     what comes from beside the image is black
 *   add one   a row; what moves the pixels is a formula in picture_ops.h
 */
#ifndef LMB_DATASETS_AUGMENT_OPS_H
#define LMB_DATASETS_AUGMENT_OPS_H

#include "core/base/tensor.h"
#include "core/plan/picture_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_augment_op {
    const char *name; /* NULL ends the table */
    lmb_picture_kind kind;
    bool either;        /* the strength is turned round half of the time */
    double range, wide; /* the greatest strength */
    int side;           /* 1, 2: `range` is in heights, widths of the image; 0: in units of its own */
    void (*make)(double strength, const lmb_shape *chw, int32_t c[6]); /* NULL: there is nothing to say */
    const char *summary;
} lmb_augment_op;

/* Places in the table; the last one is AutoAugment's alone. */
enum {
    LMB_OP_SAME,
    LMB_OP_SHEAR_X,
    LMB_OP_SHEAR_Y,
    LMB_OP_TRANSLATE_X,
    LMB_OP_TRANSLATE_Y,
    LMB_OP_ROTATE,
    LMB_OP_BRIGHTNESS,
    LMB_OP_COLOR,
    LMB_OP_CONTRAST,
    LMB_OP_SHARPNESS,
    LMB_OP_POSTERIZE,
    LMB_OP_SOLARIZE,
    LMB_OP_AUTO_CONTRAST,
    LMB_OP_EQUALIZE,
    LMB_OP_INVERT
};
extern const lmb_augment_op lmb_augment_ops[];

/* The operation at `share` of its greatest strength, in [-1, 1]; wide: of TrivialAugment's. */
lmb_picture_op lmb_augment_op_make(const lmb_augment_op *op, double share, bool wide, const lmb_shape *chw);
/* What it does to an image of 1 or 3 channels; scratch: C * H * W bytes. */
void lmb_augment_op_apply(const lmb_picture_op *op, uint8_t *image, const lmb_shape *chw, uint8_t *scratch);

#ifdef __cplusplus
}
#endif
#endif
