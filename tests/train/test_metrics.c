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

LMB_TEST_MAIN("train/metrics", add(two_classes_by_hand);)
