/* datasets/augment_policy.c - see augment_policy.h. */
#include "datasets/augment_policy.h"

#include "datasets/augment_ops.h"

const char *const lmb_augment_policies[] = { "none", "autoaugment", "randaugment", "trivial", NULL };

enum { TENTHS = 10, AUTO_STEPS = 9, SUB_POLICIES = 25, DRAWN_OPS = LMB_OP_INVERT };
/* Words: the sub-policy, then four an operation. */
enum { W_SUB, W_OP, W_WHICH = 0, W_STEP, W_TURN, W_HAPPENS, W_EACH };

/* An operation, in how many tenths of all cases it happens, and step 0 .. 9 of its range. */
typedef struct maybe { uint8_t op, tenths, step; } maybe;

/* Table 7 of the paper, as in torchvision. Strengths of operations that know none are 0. */
static const maybe cifar10[SUB_POLICIES][2] = {
    { { LMB_OP_INVERT, 1, 0 }, { LMB_OP_CONTRAST, 2, 6 } },
    { { LMB_OP_ROTATE, 7, 2 }, { LMB_OP_TRANSLATE_X, 3, 9 } },
    { { LMB_OP_SHARPNESS, 8, 1 }, { LMB_OP_SHARPNESS, 9, 3 } },
    { { LMB_OP_SHEAR_Y, 5, 8 }, { LMB_OP_TRANSLATE_Y, 7, 9 } },
    { { LMB_OP_AUTO_CONTRAST, 5, 0 }, { LMB_OP_EQUALIZE, 9, 0 } },
    { { LMB_OP_SHEAR_Y, 2, 7 }, { LMB_OP_POSTERIZE, 3, 7 } },
    { { LMB_OP_COLOR, 4, 3 }, { LMB_OP_BRIGHTNESS, 6, 7 } },
    { { LMB_OP_SHARPNESS, 3, 9 }, { LMB_OP_BRIGHTNESS, 7, 9 } },
    { { LMB_OP_EQUALIZE, 6, 0 }, { LMB_OP_EQUALIZE, 5, 0 } },
    { { LMB_OP_CONTRAST, 6, 7 }, { LMB_OP_SHARPNESS, 6, 5 } },
    { { LMB_OP_COLOR, 7, 7 }, { LMB_OP_TRANSLATE_X, 5, 8 } },
    { { LMB_OP_EQUALIZE, 3, 0 }, { LMB_OP_AUTO_CONTRAST, 4, 0 } },
    { { LMB_OP_TRANSLATE_Y, 4, 3 }, { LMB_OP_SHARPNESS, 2, 6 } },
    { { LMB_OP_BRIGHTNESS, 9, 6 }, { LMB_OP_COLOR, 2, 8 } },
    { { LMB_OP_SOLARIZE, 5, 2 }, { LMB_OP_INVERT, 0, 0 } },
    { { LMB_OP_EQUALIZE, 2, 0 }, { LMB_OP_AUTO_CONTRAST, 6, 0 } },
    { { LMB_OP_EQUALIZE, 2, 0 }, { LMB_OP_EQUALIZE, 6, 0 } },
    { { LMB_OP_COLOR, 9, 9 }, { LMB_OP_EQUALIZE, 6, 0 } },
    { { LMB_OP_AUTO_CONTRAST, 8, 0 }, { LMB_OP_SOLARIZE, 2, 8 } },
    { { LMB_OP_BRIGHTNESS, 1, 3 }, { LMB_OP_COLOR, 7, 0 } },
    { { LMB_OP_SOLARIZE, 4, 5 }, { LMB_OP_AUTO_CONTRAST, 9, 0 } },
    { { LMB_OP_TRANSLATE_Y, 9, 9 }, { LMB_OP_TRANSLATE_Y, 7, 9 } },
    { { LMB_OP_AUTO_CONTRAST, 9, 0 }, { LMB_OP_SOLARIZE, 8, 3 } },
    { { LMB_OP_EQUALIZE, 8, 0 }, { LMB_OP_INVERT, 1, 0 } },
    { { LMB_OP_TRANSLATE_Y, 7, 9 }, { LMB_OP_AUTO_CONTRAST, 9, 0 } },
};

/* What a draw is made with: the sample's stream, and its word for the operation at hand. */
typedef struct draw {
    const lmb_augment *a;
    const lmb_shape *chw;
    const lmb_rand *r;
    uint32_t word;
} draw;

static lmb_picture_op make(const draw *d, int op, int step, int steps, bool wide)
{
    const lmb_augment_op *o = &lmb_augment_ops[op];
    bool turned = o->either && lmb_rand_u32(d->r, d->word + W_TURN) >> 31;
    return lmb_augment_op_make(o, (turned ? -1.0 : 1.0) * step / steps, wide, d->chw);
}

static void automatic(draw *d, lmb_picture_op *op)
{
    const maybe *m = cifar10[lmb_rand_below(d->r, d->word - W_OP + W_SUB, SUB_POLICIES)];

    for (int k = 0; k < 2; k++, d->word += W_EACH)
        if (lmb_rand_below(d->r, d->word + W_HAPPENS, TENTHS) < m[k].tenths)
            op[k] = make(d, m[k].op, m[k].step, AUTO_STEPS, false);
}

static void random_ones(draw *d, lmb_picture_op *op)
{
    for (int k = 0; k < d->a->operations; k++, d->word += W_EACH)
        op[k] = make(d, (int)lmb_rand_below(d->r, d->word + W_WHICH, DRAWN_OPS), (int)d->a->strength, LMB_POLICY_STEPS,
                     false);
}

static void trivial(draw *d, lmb_picture_op *op)
{
    op[0] = make(d, (int)lmb_rand_below(d->r, d->word + W_WHICH, DRAWN_OPS),
                 (int)lmb_rand_below(d->r, d->word + W_STEP, LMB_POLICY_STEPS + 1), LMB_POLICY_STEPS, true);
}

/* By the place of the name. */
static void (*const policies[])(draw *d, lmb_picture_op *op) = { NULL, automatic, random_ones, trivial };

void lmbi_augment_policy(const lmb_augment *a, const lmb_shape *chw, const lmb_rand *r, uint32_t first,
                         lmb_picture_change *change)
{
    draw d = { a, chw, r, first + W_OP };

    if (a->policy != LMB_POLICY_NONE)
        policies[a->policy](&d, change->op);
}
