/* Mirrors datasets/augment_ops.c, augment_pixels.c and augment_policy.c. */
#include "datasets/augment_policy.h"

#include <math.h>
#include <string.h>

#include "datasets/augment_ops.h"
#include "tests/check_main.h"
#include "tests/golden/augment.h"

enum { MOST = 3 * 20 * 24 };

/* The images of tests/golden/augment.py. */
static lmb_shape golden_image(int k, uint8_t *image)
{
    const lmb_shape s = k == 0 ? LMB_SHAPE(3, 7, 9) : k == 1 ? LMB_SHAPE(3, 20, 24) : LMB_SHAPE(1, 7, 9);

    for (int c = 0; c < s.d[0]; c++)
        for (int y = 0; y < s.d[1]; y++)
            for (int x = 0; x < s.d[2]; x++)
                *image++ = (uint8_t)(16 + (37 * x + 59 * y + 91 * c + 13 * x * y + 7 * x * x * (c + 1)) % 211);
    return s;
}

static int from_hex(const char *text)
{
    char two[3] = { text[0], text[1], 0 };
    return (int)strtol(two, NULL, 16);
}

/* Moves, bits and counts are Pillow's to the bit; its blends are floats, and its autocontrast a product of doubles,
 * cut: there one value may be one off (core/plan/picture_ops.h). A pixel by itself is that of the rows. */
START_TEST(operations_are_pillows)
{
    uint8_t image[MOST], old[MOST], scratch[MOST];
    const lmb_shape s = golden_image(golden_augment[_i].shape, image);
    const lmb_augment_op *op = &lmb_augment_ops[golden_augment[_i].op];
    double share = golden_augment[_i].step / 30.0 * (op->either ? golden_augment[_i].sign : 1);
    const lmb_picture_op p = lmb_augment_op_make(op, share, golden_augment[_i].wide, &s);
    int c = (int)s.d[0], h = (int)s.d[1], w = (int)s.d[2], n = c * h * w, off = 0, changed = 0, meant = 0;
    bool real = op->make && p.kind != LMB_PICTURE_AFFINE && op->either;

    memcpy(old, image, (size_t)n);
    lmb_augment_op_apply(&p, image, &s, scratch);
    ck_assert_uint_eq(strlen(golden_augment[_i].bytes), 2 * (size_t)n);
    for (int i = 0; i < n; i++) {
        int want = from_hex(golden_augment[_i].bytes + 2 * i), far = abs(image[i] - want);
        ck_assert_msg(far <= (real || p.kind == LMB_PICTURE_AUTO_CONTRAST), "%s: byte %d is %d", op->name, i, image[i]);
        off += far;
        changed += image[i] != old[i];
        meant += want != old[i];
        if (p.kind < LMB_PICTURE_INVERT)
            ck_assert_int_eq(lmb_picture_op_at(&p, old, c, h, w, i / (h * w), i / w % h, i % w), image[i]);
    }
    ck_assert_int_le(off, n / 10);
    ck_assert_msg((changed > 0) == (meant > 0), "%s changes %d bytes, not %d", op->name, changed, meant);
}
END_TEST

/* What has no size to speak of stays: one value, one pixel, one row. */
START_TEST(operations_take_any_image)
{
    static const int64_t sides[][2] = { { 1, 1 }, { 1, 5 }, { 2, 2 }, { 5, 1 } };
    uint8_t image[15], scratch[15];

    for (const lmb_augment_op *op = lmb_augment_ops; op->name; op++)
        for (size_t k = 0; k < sizeof sides / sizeof *sides; k++)
            for (int share = -1; share <= 1; share++) {
                const lmb_shape s = LMB_SHAPE(3, sides[k][0], sides[k][1]);
                const lmb_picture_op p = lmb_augment_op_make(op, op->either ? share : share * share, true, &s);
                memset(image, 77, sizeof image);
                lmb_augment_op_apply(&p, image, &s, scratch);
                if (p.kind == LMB_PICTURE_AUTO_CONTRAST || p.kind == LMB_PICTURE_EQUALIZE)
                    ck_assert_int_eq(image[0], 77);
            }
    /* The largest shear of the largest image: the far corner's place is a number still. */
    const lmb_shape huge = LMB_SHAPE(3, LMB_PICTURE_OPS_SIDE, LMB_PICTURE_OPS_SIDE);
    for (int op = LMB_OP_SHEAR_X; op <= LMB_OP_ROTATE; op++)
        for (int share = -30; share <= 30; share++) {
            const lmb_picture_op p = lmb_augment_op_make(&lmb_augment_ops[op], share / 30.0, true, &huge);
            for (int corner = 0; corner < 4; corner++)
                (void)lmb_picture_from(&p, LMB_PICTURE_OPS_SIDE, LMB_PICTURE_OPS_SIDE,
                                       (corner & 1) * (LMB_PICTURE_OPS_SIDE - 1),
                                       (corner >> 1) * (LMB_PICTURE_OPS_SIDE - 1));
        }
}
END_TEST

static lmb_picture_change drawn(const lmb_augment *a, uint64_t sample)
{
    const lmb_shape s = LMB_SHAPE(3, 32, 32);
    return lmb_augment_change(a, &s, 3, 1, sample);
}

static bool same_op(const lmb_picture_op *a, const lmb_picture_op *b) { return memcmp(a, b, sizeof *a) == 0; }

/* Is it what a step of the paper's table says, or nothing? */
static bool is_of(const lmb_picture_op *p, int op, int tenths, int step)
{
    const lmb_shape s = LMB_SHAPE(3, 32, 32);
    const lmb_augment_op *o = &lmb_augment_ops[op];
    const lmb_picture_op plain = lmb_augment_op_make(o, step / 9.0, false, &s);
    const lmb_picture_op turned = o->either ? lmb_augment_op_make(o, -step / 9.0, false, &s) : plain;

    return (p->kind == LMB_PICTURE_SAME && tenths < 10) || (tenths > 0 && (same_op(p, &plain) || same_op(p, &turned)));
}

/* How often a kind of operation comes, within five sigmas. */
static void about(int times, double share, int n)
{
    ck_assert_msg(fabs(times - share * n) <= 5 * sqrt(n * share * (1 - share)), "%d of %d times, not %g", times, n,
                  share);
}

START_TEST(autoaugment_draws_the_papers_table)
{
    enum { N = 20000, SUBS = sizeof golden_cifar10 / sizeof *golden_cifar10 };
    const lmb_augment a = { .policy = LMB_POLICY_AUTO };
    int kinds[2][LMB_PICTURE_EQUALIZE + 1] = { { 0 } };
    double want[2][LMB_PICTURE_EQUALIZE + 1] = { { 0 } };

    ck_assert_int_eq(SUBS, 25);
    for (uint64_t i = 0; i < N; i++) {
        const lmb_picture_change p = drawn(&a, i);
        int k = 0;
        while (k < SUBS && !(is_of(&p.op[0], golden_cifar10[k][0].op, golden_cifar10[k][0].tenths,
                                   golden_cifar10[k][0].step) &&
                             is_of(&p.op[1], golden_cifar10[k][1].op, golden_cifar10[k][1].tenths,
                                   golden_cifar10[k][1].step)))
            k++;
        ck_assert_msg(k < SUBS, "sample %d: kinds %d and %d", (int)i, p.op[0].kind, p.op[1].kind);
        ck_assert_int_eq(p.op[2].kind, LMB_PICTURE_SAME);
        for (int o = 0; o < 2; o++)
            kinds[o][p.op[o].kind]++;
    }
    for (int k = 0; k < SUBS; k++)
        for (int o = 0; o < 2; o++)
            want[o][lmb_augment_ops[golden_cifar10[k][o].op].kind] += golden_cifar10[k][o].tenths / 250.0;
    for (int o = 0; o < 2; o++)
        for (int k = LMB_PICTURE_AFFINE; k <= LMB_PICTURE_EQUALIZE; k++)
            about(kinds[o][k], want[o][k], N);
}
END_TEST

START_TEST(randaugment_and_trivial_draw_all_operations_alike)
{
    enum { N = 14000 };
    const lmb_augment a = { .policy = LMB_POLICY_RAND, .strength = 17, .operations = 3 };
    const lmb_augment t = { .policy = LMB_POLICY_TRIVIAL };
    const lmb_shape s = LMB_SHAPE(3, 32, 32);
    int kinds[2][LMB_PICTURE_EQUALIZE + 1] = { { 0 } }, dark[2] = { 0 }, strong = 0;

    for (uint64_t i = 0; i < N; i++) {
        const lmb_picture_change p = drawn(&a, i), q = drawn(&t, i);
        const int32_t factor = p.op[2].c[0];
        kinds[0][p.op[2].kind]++;
        kinds[1][q.op[0].kind]++;
        if (p.op[2].kind == LMB_PICTURE_BRIGHTNESS) { /* 1 - 0.51 or 1 + 0.51 */
            ck_assert_int_eq(abs(factor - LMB_PICTURE_ONE), (int)lrint(0.51 * LMB_PICTURE_ONE));
            dark[factor > LMB_PICTURE_ONE]++;
        }
        strong += q.op[0].kind == LMB_PICTURE_SOLARIZE && q.op[0].c[0] < 128;
        ck_assert(q.op[1].kind == LMB_PICTURE_SAME && q.op[2].kind == LMB_PICTURE_SAME);
    }
    for (int way = 0; way < 2; way++) { /* five of fourteen move, one does nothing, Invert is not among them */
        about(kinds[way][LMB_PICTURE_SAME], 1.0 / 14, N);
        about(kinds[way][LMB_PICTURE_AFFINE], 5.0 / 14, N);
        ck_assert_int_eq(kinds[way][LMB_PICTURE_INVERT], 0);
        for (int k = LMB_PICTURE_COLOR; k <= LMB_PICTURE_EQUALIZE; k++)
            if (k != LMB_PICTURE_INVERT)
                about(kinds[way][k], 1.0 / 14, N);
    }
    about(dark[0], 0.5, dark[0] + dark[1]);
    about(strong, 16.0 / 31, kinds[1][LMB_PICTURE_SOLARIZE]); /* steps 15 .. 30 */
    ck_assert_int_eq(drawn(&(lmb_augment){ .policy = LMB_POLICY_RAND, .operations = 1 }, 5).op[1].kind, 0);
    ck_assert_str_eq(lmb_augment_ops[LMB_OP_INVERT].name, "Invert");
    ck_assert(lmb_augment_op_make(&lmb_augment_ops[LMB_OP_TRANSLATE_X], 1, false, &s).c[2] == 32768 - 14 * 65536);
}
END_TEST

/* Crop, flip and cutout are what they are without it, and it comes between them. */
START_TEST(policies_change_no_other_option)
{
    const lmb_shape s = LMB_SHAPE(3, 20, 24);
    uint8_t x[MOST], y[MOST], scratch[MOST];
    int differ = 0;

    for (uint64_t i = 0; i < 60; i++) {
        lmb_augment a = { .crop = 4, .flip = true, .cutout = 6 }, b = { .crop = 4, .flip = true };
        lmb_picture_change p = lmb_augment_change(&a, &s, 3, 1, i);
        a.policy = (int)(i % 3) + LMB_POLICY_AUTO;
        a.strength = 9;
        a.operations = 2;
        const lmb_picture_change q = lmb_augment_change(&a, &s, 3, 1, i);
        memcpy(p.op, q.op, sizeof p.op);
        ck_assert_mem_eq(&p, &q, sizeof p);
        golden_image(1, x);
        golden_image(1, y);
        lmb_augment_apply(&a, x, &s, 3, 1, i, scratch);
        lmb_augment_apply(&b, y, &s, 3, 1, i, scratch);
        for (int k = 0; k < LMB_PICTURE_OPS; k++)
            lmb_augment_op_apply(&q.op[k], y, &s, scratch);
        for (int k = 0; k < MOST; k++)
            ck_assert_int_eq(x[k], lmb_picture_cut(&q, k / 24 % 20, k % 24) ? 0 : y[k]);
        differ += q.op[0].kind != LMB_PICTURE_SAME;
    }
    ck_assert_int_gt(differ, 20);
}
END_TEST

LMB_TEST_MAIN("datasets/augment_policy",
              add_loop(operations_are_pillows, (int)(sizeof golden_augment / sizeof *golden_augment));
              add(operations_take_any_image); add(autoaugment_draws_the_papers_table);
              add(randaugment_and_trivial_draw_all_operations_alike); add(policies_change_no_other_option);)
