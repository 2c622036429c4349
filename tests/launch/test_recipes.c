/* Mirrors launch/recipes.c: what is said of recipes whose every answer is written down here. */
#include "launch/recipes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check_main.h"

enum { SAMPLES = 40, SEEDS = 2 };
static const char *const names[] = { "plain", "taught" };
static const int64_t seeds[] = { 1, 2 };

/* By both recipes the first `base` samples are answered rightly, by the second those of `more` as well. */
static void answers(uint8_t right[2][SEEDS][SAMPLES], int base, const int *more, int n_more)
{
    memset(right, 0, 2 * SEEDS * SAMPLES);
    for (int s = 0; s < SEEDS; s++) {
        memset(right[0][s], 1, (size_t)base);
        memset(right[1][s], 1, (size_t)base);
        for (int i = 0; i < n_more; i++)
            right[1][s][more[i]] = 1;
    }
}

/* The two of `n`, over folds of all samples. */
static lmb_recipes recipes_of(const char *const *n, int folds, const double *accuracy, uint8_t right[2][SEEDS][SAMPLES])
{
    return (lmb_recipes){ 2, SEEDS, folds, n, seeds, accuracy, right[0][0], SAMPLES, false };
}

static double after(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    ck_assert_msg(at != NULL, "no %s in %s", key, text);
    return strtod(at + strlen(key), NULL);
}

static void json_of(const lmb_recipes *r, lmb_str *out)
{
    lmb_recipes_json(r, out);
    ck_assert(!out->failed);
}

/* Every seed and every fold finds the same difference, 4 of 40 samples: the trainings do not vary at all. What is left
 * is that other samples would have been other ones: a variance of (4 / 40) / 40 of the mean difference 0.1, t = 2. It
 * is of all samples, however they are cut into folds and however many seeds answer them. */
START_TEST(folds_and_seeds_add_no_samples)
{
    uint8_t right[2][SEEDS][SAMPLES];
    static const int more[] = { 18, 19, 38, 39 };

    answers(right, 0, more, 4);
    for (int s = 0; s < SEEDS; s++) /* in each half of the samples ten right by both */
        for (int k = 0; k < 2; k++) {
            memset(right[k][s], 1, 10);
            memset(right[k][s] + 20, 1, 10);
        }
    for (int folds = 1; folds <= 2; folds++) {
        const double accuracy[] = { 0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6 }, whole[] = { 0.5, 0.5, 0.6, 0.6 };
        lmb_recipes r = recipes_of(names, folds, folds == 2 ? accuracy : whole, right);
        lmb_str s = LMB_STR_INIT;
        json_of(&r, &s);
        ck_assert_double_eq_tol(after(s.text, "\"second_minus_first\": "), 0.1, 1e-12);
        ck_assert_double_eq_tol(after(s.text, "\"t\": "), 2, 1e-9);
        ck_assert_int_eq((int)after(s.text, "\"only_second_right\": "), 4 * SEEDS);
        ck_assert_int_eq((int)after(s.text, "\"only_first_right\": "), 0);
        lmb_str_free(&s);
    }
}
END_TEST

/* Where trainings vary more than samples do, they decide, and folds, whose trainings share samples, as Nadeau and
 * Bengio have it: differences 0, 0.4, 0, 0.4 have a variance of 0.16 / 3, and an error of its root times 1/4 + 1. */
START_TEST(folds_share_what_they_train_on)
{
    uint8_t right[2][SEEDS][SAMPLES];
    static const int more[] = { 30, 31, 32, 33, 34, 35, 36, 37 };
    const double accuracy[] = { 0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.5, 0.9 };
    lmb_recipes r = recipes_of(names, 2, accuracy, right);
    lmb_str s = LMB_STR_INIT;

    answers(right, 20, more, 8);
    json_of(&r, &s);
    ck_assert_double_eq_tol(after(s.text, "\"t\": "), 0.2 / sqrt(0.16 / 3 * (0.25 + 1)), 1e-9);
    lmb_str_free(&s);
    lmb_recipes_verdict(&r, &s);
    ck_assert_ptr_nonnull(strstr(s.text, "plain and taught: no difference is shown; taught is 20.00 points ahead"));
    ck_assert_ptr_nonnull(strstr(s.text, "over 2 seeds of 2 folds, whose common samples are allowed for"));
    ck_assert_ptr_nonnull(strstr(s.text, "only the first is right on 0 answers, only the second on 16"));
    lmb_str_free(&s);
}
END_TEST

/* What a configuration calls its recipes reaches the page as text. */
START_TEST(a_page_escapes_names)
{
    static const char *const odd[] = { "<b>", "a & b" };
    uint8_t right[2][SEEDS][SAMPLES];
    const double accuracy[] = { 0.5, 0.5, 0.6, 0.6 };
    static const int more[] = { 30, 31, 32, 33 };
    lmb_recipes r = recipes_of(odd, 1, accuracy, right);
    lmb_str s = LMB_STR_INIT;

    answers(right, 20, more, 4);
    lmb_recipes_page(&r, "run: <here>\n", &s);
    ck_assert(!s.failed);
    ck_assert_ptr_nonnull(strstr(s.text, "&lt;b&gt;"));
    ck_assert_ptr_nonnull(strstr(s.text, "a &amp; b"));
    ck_assert_ptr_null(strstr(s.text, "<b>"));
    ck_assert_ptr_null(strstr(s.text, "<here>"));
    lmb_str_free(&s);
}
END_TEST

LMB_TEST_MAIN("launch/recipes", add(folds_and_seeds_add_no_samples); add(folds_share_what_they_train_on);
              add(a_page_escapes_names);)
