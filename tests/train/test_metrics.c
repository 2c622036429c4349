/* Mirrors train/metrics.c; numbers worked by hand. */
#include "train/metrics.h"

#include <math.h>

#include "tests/check_main.h"

START_TEST(two_classes_by_hand)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_metrics m;
    const float logits[] = { 2, 0, /**/ 0, 1, /**/ 3, 3, /**/ -1, 4 };
    const int64_t labels[] = { 0, 0, 1, 1 };

    ck_ok(lmb_metrics_init(&m, 2, &err));
    lmb_metrics_add(&m, logits, labels, 4);
    ck_assert_double_eq_tol(lmb_metrics_accuracy(&m), 0.5, 1e-12); /* a tie goes to the first class */
    ck_assert_double_eq_tol(lmb_metrics_precision(&m, 0), 0.5, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_recall(&m, 1), 0.5, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_macro_f1(&m), 0.5, 1e-12);
    double want = (log(1 + exp(-2.0)) + log(1 + exp(1.0)) + log(2.0) + log(1 + exp(-5.0))) / 4;
    ck_assert_double_eq_tol(lmb_metrics_loss(&m), want, 1e-9);
    double lo, hi;
    lmb_metrics_interval(&m, &lo, &hi);
    ck_assert_double_eq_tol(lo, 0.1500, 1e-3); /* Wilson, 2 of 4 */
    ck_assert_double_eq_tol(hi, 0.8500, 1e-3);
    lmb_metrics_deinit(&m);
}
END_TEST

/* Rows are the truth, columns the prediction: no two of these figures are alike, so none can stand for another.
 *        0  1  2
 *    0   5  2  0   recall 5/7    precision 5/6    f1 10/13
 *    1   1  3  1   recall 3/5    precision 3/5    f1  6/10
 *    2   0  0  8   recall 8/8    precision 8/9    f1 16/17
 *    3   nothing, never predicted: 0 */
START_TEST(rows_are_truth_columns_prediction)
{
    static const int counts[3][3] = { { 5, 2, 0 }, { 1, 3, 1 }, { 0, 0, 8 } };
    lmb_error err = LMB_ERROR_INIT;
    lmb_metrics m;
    double lo, hi;

    ck_ok(lmb_metrics_init(&m, 4, &err));
    for (int c = 0; c < 3; c++)
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < counts[c][k]; i++)
                lmb_metrics_add_one(&m, c, k);
    ck_assert_double_eq_tol(lmb_metrics_accuracy(&m), 16 / 20.0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_recall(&m, 0), 5 / 7.0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_precision(&m, 0), 5 / 6.0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_f1(&m, 0), 10 / 13.0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_precision(&m, 2), 8 / 9.0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_recall(&m, 3), 0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_precision(&m, 3), 0, 1e-12);
    ck_assert_double_eq_tol(lmb_metrics_macro_f1(&m), (10 / 13.0 + 6 / 10.0 + 16 / 17.0 + 0) / 4, 1e-12);
    lmb_metrics_interval(&m, &lo, &hi); /* with z^2 = 3.8414588: (0.8 + 0.0960365 -+ 0.1998867) / 1.1920729 */
    ck_assert_double_eq_tol(lo, 0.5839826, 1e-7);
    ck_assert_double_eq_tol(hi, 0.9193423, 1e-7);
    lmb_metrics_reset(&m);
    ck_assert_double_eq(lmb_metrics_accuracy(&m), 0);
    lmb_metrics_interval(&m, &lo, &hi);
    ck_assert(lo == 0 && hi == 1); /* nothing counted, nothing known */
    lmb_metrics_deinit(&m);
}
END_TEST

START_TEST(impossible_class_counts_are_refused)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_metrics m;
    ck_assert_int_eq(lmb_metrics_init(&m, 0, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "0 classes; a confusion matrix has 1 to 100000");
    ck_assert_int_eq(lmb_metrics_init(&m, -1, NULL), LMB_E_ARG);
}
END_TEST

LMB_TEST_MAIN("train/metrics", add(two_classes_by_hand); add(rows_are_truth_columns_prediction);
              add(impossible_class_counts_are_refused);)
