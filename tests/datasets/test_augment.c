/* Mirrors datasets/augment.c. */
#include "datasets/augment.h"

#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "datasets/augment_policy.h"
#include "tests/check_main.h"

static lmb_error err;
static const uint8_t in[6] = { 1, 2, 3, 4, 5, 6 };

/* All outcomes of a change to the 2 x 3 image, over many samples, must be in `want`, and each must come. */
static void outcomes(const lmb_augment *a, const uint8_t (*want)[6], int n)
{
    lmb_shape s = LMB_SHAPE(1, 2, 3);
    uint8_t image[6], scratch[6];
    int seen[16] = { 0 };
    for (uint64_t i = 0; i < 400; i++) {
        int k = 0;
        memcpy(image, in, 6);
        lmb_augment_apply(a, image, &s, 1, 0, i, scratch);
        while (k < n && memcmp(image, want[k], 6) != 0)
            k++;
        ck_assert_msg(k < n, "sample %d: %d %d %d / %d %d %d", (int)i, image[0], image[1], image[2], image[3],
                      image[4], image[5]);
        seen[k]++;
    }
    for (int k = 0; k < n; k++) /* the binomial's five sigmas at 400 samples and n outcomes */
        ck_assert_msg(fabs(seen[k] - 400.0 / n) < 5 * sqrt(400.0 / n), "outcome %d came %d times", k, seen[k]);
}

START_TEST(flip_by_hand)
{
    const uint8_t want[][6] = { { 1, 2, 3, 4, 5, 6 }, { 3, 2, 1, 6, 5, 4 } };
    outcomes(&(lmb_augment){ .flip = true }, want, 2);
}
END_TEST

START_TEST(crop_by_hand)
{
    const uint8_t zeros[][6] = { { 0, 0, 0, 0, 1, 2 }, { 0, 0, 0, 1, 2, 3 }, { 0, 0, 0, 2, 3, 0 },
                                 { 0, 1, 2, 0, 4, 5 }, { 1, 2, 3, 4, 5, 6 }, { 2, 3, 0, 5, 6, 0 },
                                 { 0, 4, 5, 0, 0, 0 }, { 4, 5, 6, 0, 0, 0 }, { 5, 6, 0, 0, 0, 0 } };
    const uint8_t mirror[][6] = { { 5, 4, 5, 2, 1, 2 }, { 4, 5, 6, 1, 2, 3 }, { 5, 6, 5, 2, 3, 2 },
                                  { 2, 1, 2, 5, 4, 5 }, { 1, 2, 3, 4, 5, 6 }, { 2, 3, 2, 5, 6, 5 } };
    outcomes(&(lmb_augment){ .crop = 1 }, zeros, 9);
    lmb_shape s = LMB_SHAPE(1, 2, 3);
    uint8_t image[6], scratch[6];
    for (uint64_t i = 0; i < 200; i++) { /* up and down mirror to the same: not all are as likely */
        int k = 0;
        memcpy(image, in, 6);
        lmb_augment_apply(&(lmb_augment){ .crop = 1, .reflect = true }, image, &s, 1, 0, i, scratch);
        while (k < 6 && memcmp(image, mirror[k], 6) != 0)
            k++;
        ck_assert_int_lt(k, 6);
    }
}
END_TEST

START_TEST(cutout_by_hand)
{
    const uint8_t want[][6] = { { 0, 2, 3, 4, 5, 6 }, { 1, 0, 3, 4, 5, 6 }, { 1, 2, 0, 4, 5, 6 },
                                { 1, 2, 3, 0, 5, 6 }, { 1, 2, 3, 4, 0, 6 }, { 1, 2, 3, 4, 5, 0 } };
    const uint8_t all[][6] = { { 0 } };
    outcomes(&(lmb_augment){ .cutout = 1 }, want, 6);
    outcomes(&(lmb_augment){ .cutout = 9 }, all, 1);
}
END_TEST

START_TEST(same_sample_same_change)
{
    lmb_augment a = { .crop = 3, .flip = true, .cutout = 3 }, only = { .flip = true };
    lmb_shape s = LMB_SHAPE(2, 8, 8);
    uint8_t x[6][128], scratch[128];
    int flips = 0;
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 128; k++)
            x[i][k] = (uint8_t)(k + 1);
    lmb_augment_apply(&a, x[0], &s, 1, 2, 7, scratch);
    memset(scratch, 99, sizeof scratch);
    lmb_augment_apply(&a, x[1], &s, 1, 2, 7, scratch);
    lmb_augment_apply(&a, x[2], &s, 1, 3, 7, scratch);
    lmb_augment_apply(&a, x[3], &s, 1, 2, 8, scratch);
    lmb_augment_apply(&a, x[4], &s, 2, 2, 7, scratch);
    ck_assert_mem_eq(x[0], x[1], 128);
    for (int i = 2; i < 5; i++)
        ck_assert_mem_ne(x[0], x[i], 128);
    for (uint64_t i = 0; i < 50; i++) { /* crops do not change who is flipped */
        lmb_augment both = { .flip = true, .cutout = 1 };
        memcpy(x[0], x[5], 128);
        memcpy(x[1], x[5], 128);
        lmb_augment_apply(&only, x[0], &s, 1, 2, i, scratch);
        lmb_augment_apply(&both, x[1], &s, 1, 2, i, scratch);
        int differ = 0;
        for (int k = 0; k < 128; k++)
            differ += x[0][k] != x[1][k];
        ck_assert_int_eq(differ, 2); /* one pixel of two channels is cut */
        flips += x[0][0] != 1;
    }
    ck_assert(flips > 10 && flips < 40);
}
END_TEST

START_TEST(versions_repeat_and_a_seed_of_their_own_is_shared)
{
    lmb_augment a = { .crop = 4, .flip = true, .versions = 3 }, b = { .crop = 4, .flip = true, .seed = 5 };
    lmb_shape s = LMB_SHAPE(1, 8, 8);
    uint8_t image[64], first[3][64], scratch[64];
    int same = 0;

    for (uint32_t e = 0; e < 6; e++) {
        for (int k = 0; k < 64; k++)
            image[k] = (uint8_t)k;
        lmb_augment_apply(&a, image, &s, 5, e, 77, scratch);
        if (e < 3)
            memcpy(first[e], image, 64);
        else
            ck_assert_mem_eq(image, first[e - 3], 64);
    }
    for (uint64_t seed = 1; seed < 9; seed++) {
        for (int k = 0; k < 64; k++)
            image[k] = (uint8_t)k;
        lmb_augment_apply(&b, image, &s, seed, 1, 77, scratch);
        ck_assert_mem_eq(image, first[1], 64);
    }
    for (int e = 1; e < 3; e++)
        same += memcmp(first[0], first[e], 64) == 0;
    ck_assert_int_lt(same, 2);
}
END_TEST

/* Whoever moves the pixels: each is that of the rows. Sides of one pixel, shifts wider than the image. */
START_TEST(a_pixel_is_that_of_the_rows)
{
    static const int64_t sides[][2] = { { 1, 1 }, { 1, 5 }, { 4, 1 }, { 3, 5 }, { 8, 7 } };
    const lmb_augment a = { .crop = _i & 1 ? 6 : _i & 2, .flip = _i & 4, .reflect = _i & 8, .cutout = _i & 16 ? 4 : 0 };
    uint8_t old[2 * 56], rows[2 * 56], scratch[2 * 56];

    for (size_t k = 0; k < sizeof sides / sizeof *sides; k++)
        for (uint64_t sample = 0; sample < 50; sample++) {
            const lmb_shape s = LMB_SHAPE(2, sides[k][0], sides[k][1]);
            int h = (int)s.d[1], w = (int)s.d[2];
            for (int i = 0; i < 2 * h * w; i++)
                old[i] = rows[i] = (uint8_t)(i + 1);
            lmb_augment_apply(&a, rows, &s, 3, 1, sample, scratch);
            const lmb_picture_change c = lmb_augment_change(&a, &s, 3, 1, sample);
            for (int i = 0; i < 2 * h * w; i++)
                ck_assert_int_eq(lmb_picture_at(&c, old + i / (h * w) * h * w, h, w, i / w % h, i % w), rows[i]);
        }
}
END_TEST

START_TEST(signals_are_scaled_and_jittered)
{
    lmb_shape s = LMB_SHAPE(2, 1000);
    static float x[2000], y[2000];
    double mean = 0, square = 0;
    for (int i = 0; i < 2000; i++)
        x[i] = y[i] = i < 1000 ? 3.0f : -5.0f;
    lmb_augment_apply_signal(&(lmb_augment){ .scale = 0.1 }, x, &s, 1, 0, 4);
    for (int i = 0; i < 2000; i++)
        ck_assert_float_eq(x[i], x[i / 1000 * 1000]); /* one factor a channel */
    ck_assert_float_ne(x[0] / 3, x[1000] / -5);
    ck_assert(x[0] > 1.5f && x[0] < 4.5f);
    lmb_augment_apply_signal(&(lmb_augment){ .jitter = 0.5 }, y, &s, 1, 0, 4);
    for (int i = 0; i < 1000; i++) {
        mean += (y[i] - 3) / 1000;
        square += (y[i] - 3) * (y[i] - 3) / 1000;
    }
    ck_assert_double_eq_tol(mean, 0, 0.08);
    ck_assert_double_eq_tol(sqrt(square), 0.5, 0.06);
}
END_TEST

START_TEST(options_must_fit_the_samples)
{
    lmb_shape image = LMB_SHAPE(3, 8, 8), signal = LMB_SHAPE(6, 128);
    lmb_augment crop = { .crop = 1 }, jitter = { .jitter = 1 }, none = { 0 };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_augment_check(&crop, &image, LMB_U8, &err));
    ck_ok(lmb_augment_check(&jitter, &signal, LMB_F32, &err));
    ck_ok(lmb_augment_check(&none, &image, LMB_F32, &err));
    ck_assert_int_eq(lmb_augment_check(&jitter, &image, LMB_U8, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_augment_check(&crop, &signal, LMB_F32, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg,
                     "crop, flip, policy and cutout change u8 images; the samples are f32 [6, 128]: turn them off");
    lmb_augment policy = { .policy = LMB_POLICY_RAND, .operations = 1 };
    lmb_shape grey = LMB_SHAPE(1, 8, 8), two = LMB_SHAPE(2, 8, 8), wide = LMB_SHAPE(3, 8, 8193);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_augment_check(&policy, &grey, LMB_U8, &err));
    ck_ok(lmb_augment_check(&crop, &wide, LMB_U8, &err));
    ck_assert_int_eq(lmb_augment_check(&policy, &wide, LMB_U8, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "images of [3, 8, 8193] pixels are too large to be changed; a side has 8192 at most with "
                              "a policy");
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_augment_check(&policy, &two, LMB_U8, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "policy randaugment changes grey images and colour images, of 1 and 3 channels; the "
                              "samples are [2, 8, 8]: leave augment.policy out");
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_augment_check(&policy, &signal, LMB_F32, &err), LMB_E_ARG);
}
END_TEST

LMB_TEST_MAIN("datasets/augment", add(flip_by_hand); add(crop_by_hand); add(cutout_by_hand);
              add(same_sample_same_change); add_loop(a_pixel_is_that_of_the_rows, 32);
              add(versions_repeat_and_a_seed_of_their_own_is_shared);
              add(signals_are_scaled_and_jittered); add(options_must_fit_the_samples);)
