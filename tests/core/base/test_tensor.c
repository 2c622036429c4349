/* Mirrors core/base/tensor.c. */
#include "core/base/tensor.h"

#include "tests/check_main.h"

static lmb_error err;

START_TEST(text_of_shapes)
{
    char buf[LMB_SHAPE_TEXT];
    lmb_shape s = LMB_SHAPE(64, 3, 32, 32), scalar = { 0 };
    ck_assert_str_eq(lmb_shape_text(&s, buf, sizeof buf), "[64, 3, 32, 32]");
    ck_assert_str_eq(lmb_shape_text(&scalar, buf, sizeof buf), "[]");
    ck_assert_int_eq(lmb_shape_count(&scalar), 1);
}
END_TEST

START_TEST(broadcast_follows_onnx)
{
    lmb_shape a = LMB_SHAPE(2, 3, 4, 5), b = LMB_SHAPE(3, 1, 1), out, want = LMB_SHAPE(2, 3, 4, 5),
              bad = LMB_SHAPE(2, 1);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_shape_broadcast(&a, &b, &out, &err));
    ck_assert(lmb_shape_equal(&out, &want));
    ck_assert_int_eq(lmb_shape_broadcast(&a, &bad, &out, &err), LMB_E_SHAPE);
    ck_assert_str_eq(err.msg, "shapes [2, 3, 4, 5] and [2, 1] do not broadcast (dimension 2: 4 and 2)");
}
END_TEST

START_TEST(absurd_shapes_are_refused)
{
    lmb_shape huge = LMB_SHAPE(1 << 30, 1 << 30, 4), neg = LMB_SHAPE(2, -1);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_shape_check(&huge, LMB_F32, &err), LMB_E_SHAPE);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_shape_check(&neg, LMB_F32, &err), LMB_E_SHAPE);
}
END_TEST

START_TEST(onnx_numbers_round_trip)
{
    for (int i = 0; i < LMB_DTYPE_COUNT; i++) {
        lmb_dtype t;
        ck_assert(lmb_dtype_from_onnx(lmb_dtype_onnx((lmb_dtype)i), &t));
        ck_assert_int_eq(t, i);
    }
}
END_TEST

LMB_TEST_MAIN("core/base/tensor", add(text_of_shapes); add(broadcast_follows_onnx); add(absurd_shapes_are_refused);
              add(onnx_numbers_round_trip);)
