/* Mirrors core/cpu/bf16.c and core/base/bf16.h: every case of an op by the bf16 kernels against the reference, and that
 * a plan keeps bf16 from one end to the other. */
#include "core/base/bf16.h"

#include <math.h>
#include <string.h>

#include "core/check/check.h"
#include "core/cpu/cpu.h"
#include "tests/check_main.h"

START_TEST(rounding_is_to_nearest_even)
{
    /* 1 + 2^-8 is half way between 1 and 1 + 2^-7, and 1 is even; 1 + 3 2^-8 half way to the even 1 + 2^-6 */
    static const struct { float x; uint16_t bits; } known[] = {
        { 0, 0 }, { -0.0f, 0x8000 }, { 1, 0x3f80 }, { -2, 0xc000 }, { 1 + 0x1p-8f, 0x3f80 }, { 1 + 0x1.8p-8f, 0x3f81 },
        { 1 + 0x3p-8f, 0x3f82 }, { INFINITY, 0x7f80 }, { -INFINITY, 0xff80 }, { 3.4e38f, 0x7f80 }, { 0x1p-133f, 1 },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        ck_assert_msg(lmb_bf16_of(known[i].x) == known[i].bits, "%a became 0x%04x", (double)known[i].x,
                      lmb_bf16_of(known[i].x));
    for (uint32_t v = 0; v < 0x10000; v++) {
        float f = lmb_bf16_get((uint16_t)v);
        ck_assert(f != f ? lmb_bf16_get(lmb_bf16_of(f)) != lmb_bf16_get(lmb_bf16_of(f)) : lmb_bf16_of(f) == v);
    }
}
END_TEST

START_TEST(case_holds)
{
    lmb_error err = LMB_ERROR_INIT;
    const lmb_backend *list[LMB_CPU_BACKENDS], *reduced[LMB_CPU_BACKENDS + 1] = { 0 };
    int checked = 0, n = 0;

    ck_ok(lmb_cpu_backends_bf16("cpu", list, &err));
    for (int i = 0; list[i]; i++)
        if (list[i]->rounding > 0)
            reduced[n++] = list[i];
    ck_assert_int_gt(n, 1);
    ck_ok(lmb_check_case(&lmb_op_cases[_i], reduced, 1, &checked, &err));
    ck_assert_int_gt(checked, 0);
}
END_TEST

/* Conv, Conv + Relu, MaxPool, GlobalAveragePool: bf16 from the first to the last, the output f32 again. */
START_TEST(a_plan_converts_at_its_ends)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g;
    lmb_plan *p;
    int kept = 0;

    ck_ok(lmb_cpu_backends_bf16("cpu", list, &err));
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(2, 3, 16, 16), NULL);
    lmb_vid w = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(16, 3, 3, 3), NULL);
    lmb_vid v = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "v", LMB_F32, LMB_SHAPE(32, 16, 3, 3), NULL);
    lmb_vid y = lmb_emit(&b, "Conv", "a", LMB_IN(x, w), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    y = lmb_emit(&b, "Conv", "b", LMB_IN(y, v), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    y = lmb_emit(&b, "Relu", "r", LMB_IN(y), LMB_NO_ATTRS);
    y = lmb_emit(&b, "MaxPool", "m", LMB_IN(y), LMB_ATTRS(LMB_AINTS("kernel_shape", 2, 2), LMB_AINTS("strides", 2, 2)));
    y = lmb_emit(&b, "GlobalAveragePool", "g", LMB_IN(y), LMB_NO_ATTRS);
    lmb_emit_output(&b, "y", y);
    ck_ok(lmb_builder_status(&b));
    lmb_plan_options o = { .backends = list };
    ck_ok(lmb_plan_compile(g, &o, &p, &err));
    ck_assert_int_eq(lmb_plan_describe(p).conversions, 1);
    ck_assert_str_eq(lmb_plan_step_at(p, 0).kernel, "layout+cast");
    for (int i = 0; i < lmb_plan_steps(p); i++)
        kept += lmb_plan_step_at(p, i).dtype == LMB_BF16;
    ck_assert_int_eq(kept, lmb_plan_steps(p) - 1);
    ck_assert_int_eq(lmb_plan_step_at(p, lmb_plan_steps(p) - 1).dtype, LMB_F32);
    lmb_plan_destroy(p);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(only_the_best_backend_has_it)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    lmb_error err = LMB_ERROR_INIT;

    ck_assert_int_eq(lmb_cpu_backends_bf16("portable", list, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "train.precision=f32"));
}
END_TEST

static bool has_bf16(void)
{
    const lmb_backend *list[LMB_CPU_BACKENDS];
    lmb_error err = LMB_ERROR_INIT;
    bool has = lmb_cpu_backends_bf16("cpu", list, &err) == LMB_OK;

    if (!has)
        printf("skipped: %s\n", err.msg);
    return has;
}

static int count_cases(void)
{
    int cases = 0;
    while (lmb_op_cases[cases].op)
        cases++;
    return cases;
}

LMB_TEST_MAIN_IF("core/cpu/bf16", has_bf16(), add(rounding_is_to_nearest_even);
                 add_loop(case_holds, count_cases()); add(a_plan_converts_at_its_ends);
                 add(only_the_best_backend_has_it);)
