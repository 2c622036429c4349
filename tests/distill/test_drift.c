/* tests/distill/test_drift.c - equal populations do not drift, others do; limits are those of chance where there is
 * little. */
#include "distill/monitor/drift.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "tests/check_main.h"

static const lmb_monitor_shape shape = { 2, 64, 1, 4, 0, 0, 0 };
static const lmb_drift_limits limits = { 0.2, 0 };
static lmb_error err;

/* `n` noisy images; of channel 1 brighter by `shift`; answers of class 0 have `more` of 100 */
static lmb_monitor *device(int n, int shift, int more, uint64_t seed, uint64_t nanoseconds)
{
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_TEST, 0, 0);
    uint32_t e = 0;
    for (int i = 0; i < n; i++) {
        uint8_t image[128];
        float scores[4];
        uint32_t level = lmb_rand_below(&r, e++, 60); /* images differ as a whole, as pictures do */
        for (int p = 0; p < 128; p++)
            image[p] = (uint8_t)(40 + level + lmb_rand_below(&r, e++, 40) + (uint32_t)(p >= 64 ? shift : 0));
        for (int c = 0; c < 4; c++)
            scores[c] = (float)lmb_rand_below(&r, e++, 1000) / 250;
        scores[0] += (int)lmb_rand_below(&r, e++, 100) < more ? 4 : 0;
        lmb_monitor_add(k, (uint64_t)i, image, scores, nanoseconds);
    }
    return k;
}

START_TEST(the_same_does_not_drift)
{
    lmb_monitor *a = device(1000, 0, 10, 1, 1000), *b = device(_i < 10 ? 40 : 500, 0, 10, 100 + (uint64_t)_i, 1000);
    lmb_drift d;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_drift_compare(a, b, &limits, &d, &err));
    ck_assert_int_eq(d.n, 2 + 2 + 1);
    for (int i = 0; i < d.n; i++)
        ck_assert_msg(!d.row[i].beyond, "row %d: %g over %g", i, d.row[i].value, d.row[i].limit);
    ck_assert(!d.beyond);
    free(a);
    free(b);
}
END_TEST

START_TEST(another_channel_and_other_answers)
{
    lmb_monitor *a = device(1000, 0, 10, 1, 1000), *b = device(500, 30, 10, 2, 1000), *c = device(500, 0, 80, 3, 1000);
    lmb_drift d;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_drift_compare(a, b, &limits, &d, &err));
    ck_assert(d.beyond && !d.row[0].beyond && d.row[1].beyond && d.row[1].kind == LMB_DRIFT_INPUT &&
              d.row[1].channel == 1);
    ck_assert(d.row[1].after - d.row[1].before > 25 && d.row[1].after - d.row[1].before < 35);
    ck_ok(lmb_drift_compare(a, c, &limits, &d, &err));
    ck_assert(!d.row[0].beyond && !d.row[1].beyond && d.row[3].kind == LMB_DRIFT_ANSWERS && d.row[3].beyond);
    free(a);
    free(b);
    free(c);
}
END_TEST

START_TEST(times)
{
    lmb_monitor *a = device(100, 0, 10, 1, 40000), *b = device(100, 0, 10, 1, 90000);
    const lmb_drift_limits loose = { 0.2, 120 }, tight = { 0.2, 80 }, close = { 0.2, 95 };
    lmb_drift d;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_drift_compare(a, b, &loose, &d, &err));
    ck_assert(!d.beyond && d.row[4].value >= 90 && d.row[4].value < 90 * 1.25 && d.row[4].before >= 40 &&
              d.row[4].before < 50);
    ck_ok(lmb_drift_compare(a, b, &tight, &d, &err));
    ck_assert(d.beyond && d.row[4].beyond && d.row[4].kind == LMB_DRIFT_LATENCY);
    ck_ok(lmb_drift_compare(a, b, &close, &d, &err)); /* within the bin: nobody knows, and nobody is accused */
    ck_assert(!d.beyond && d.row[4].least <= 90 && d.row[4].value > 95);
    free(b);
    b = device(100, 0, 10, 1, 0); /* nobody has measured: no bound is kept, and without one nothing is wrong */
    ck_ok(lmb_drift_compare(a, b, &loose, &d, &err));
    ck_assert(d.beyond && d.row[4].beyond && d.row[4].value <= 0);
    ck_ok(lmb_drift_compare(a, b, &limits, &d, &err));
    ck_assert(!d.beyond);
    b->times[0] -= 10; /* of what some have measured, the others say nothing */
    b->times[lmb_monitor_time_bin(200000)] += 10;
    ck_ok(lmb_drift_compare(a, b, &loose, &d, &err));
    ck_assert(d.row[4].beyond && d.row[4].after > 200);
    free(a);
    free(b);
}
END_TEST

/* Counters of another model are no drift: they are refused where both say which, whatever the releases. */
START_TEST(which_model)
{
    lmb_monitor *a = device(100, 0, 10, 1, 1000), *b = device(100, 0, 10, 1, 1000);
    lmb_drift d;
    err = (lmb_error)LMB_ERROR_INIT;
    a->shape.model = 5;
    ck_ok(lmb_drift_compare(a, b, &limits, &d, &err));
    b->shape.model = 5;
    b->shape.release = 2;
    ck_ok(lmb_drift_compare(a, b, &limits, &d, &err));
    b->shape.model = 6;
    ck_assert_int_eq(lmb_drift_compare(a, b, &limits, &d, &err), LMB_E_SHAPE);
    ck_assert_ptr_nonnull(strstr(err.msg, "model 00000006 of release 2"));
    free(a);
    free(b);
}
END_TEST

/* PSI by hand: shares 0.5, 0.5 against 0.25, 0.75 give 0.25 ln 2 + (-0.25) ln (2/3) = 0.2747. */
START_TEST(a_known_index)
{
    const lmb_monitor_shape two = { 1, 32, 1, 2, 0, 0, 0 };
    lmb_monitor *a = lmb_monitor_init(malloc(lmb_monitor_bytes(&two)), &two);
    lmb_monitor *b = lmb_monitor_init(malloc(lmb_monitor_bytes(&two)), &two);
    lmb_drift d;
    err = (lmb_error)LMB_ERROR_INIT;
    a->predictions = b->predictions = 1000000000;
    a->answers[0] = a->answers[1] = 500000000;
    b->answers[0] = 250000000;
    b->answers[1] = 750000000;
    ck_ok(lmb_drift_compare(a, b, &limits, &d, &err));
    ck_assert_double_eq_tol(d.row[2].value, 0.27465307, 1e-6);
    b->predictions = 29;
    ck_assert_int_eq(lmb_drift_compare(a, b, &limits, &d, &err), LMB_E_ARG);
    b->classes = 1;
    ck_assert_int_eq(lmb_drift_compare(a, b, &limits, &d, NULL), LMB_E_SHAPE);
    free(a);
    free(b);
}
END_TEST

LMB_TEST_MAIN("distill/drift", add_loop(the_same_does_not_drift, 40); add(another_channel_and_other_answers);
              add(times); add(a_known_index); add(which_model);)
