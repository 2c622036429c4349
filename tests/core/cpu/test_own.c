/* Mirrors core/cpu/table.c, gemm.c: the backend of our own kernels, in plans against the reference: every op's cases,
 * convolutions made up by seeds, operands without elements; and nothing of a training step's products is left to the
 * reference.
 */
#include <string.h>

#include "core/base/compiler.h"
#include "core/base/random.h"
#include "core/check/check.h"
#include "core/cpu/cpu.h"
#include "core/graph/autodiff.h"
#include "tests/check_main.h"
#include "tests/core/check/count_cases.h"

/* The cases of every op by "own", and that the kernel of ours is the one that ran where there is one. */
START_TEST(cases_of_the_check)
{
    const lmb_op_case *c = &lmb_op_cases[_i];
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;
    int checked;

    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(c, own, 1, &checked, &err));
    ck_assert_int_gt(checked, 0);
}
END_TEST

enum { MADE_UP = 100 }; /* seeds */

/* A convolution that a seed makes up, forward and both gradients. */
START_TEST(convolutions_made_up)
{
    lmb_rand r = lmb_rand_at(_i + 1, LMB_RAND_TEST, 1, 0);
    uint32_t i = 0;
#define UP_TO(lo, hi) ((int64_t)(lo) + (int64_t)lmb_rand_below(&r, i++, (uint32_t)((hi) - (lo) + 1)))
    int64_t kh = UP_TO(1, 4), kw = UP_TO(1, 5), dh = UP_TO(1, 2), dw = UP_TO(1, 3), h = UP_TO(1, 12), w = UP_TO(1, 26);
    int64_t group = UP_TO(1, 3), cg = UP_TO(1, 7), kg = UP_TO(1, 18);
    int64_t p[4] = { UP_TO(0, 3), UP_TO(0, 3), UP_TO(0, 3), UP_TO(0, 3) };
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;

    if (UP_TO(0, 2) == 0) { /* depthwise */
        group = UP_TO(4, 21);
        cg = kg = 1;
    }
    while (h + p[0] + p[2] < (kh - 1) * dh + 1)
        h++;
    while (w + p[1] + p[3] < (kw - 1) * dw + 1)
        w++;
    lmb_op_case c = { "Conv", "made up",
                      { { LMB_CASE_SMOOTH, { 4, { 2, group * cg, h, w } }, -1, 1, { 0 } },
                        { LMB_CASE_SMOOTH, { 4, { group * kg, cg, kh, kw } }, -1, 1, { 0 } } },
                      { LMB_AINT("group", group), LMB_AINTS("pads", p[0], p[1], p[2], p[3]),
                        LMB_AINTS("dilations", dh, dw), LMB_AINTS("strides", UP_TO(1, 3), UP_TO(1, 4)) }, 0, 3e-5f };
    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_check_case(&c, own, 1, NULL, &err));
}
END_TEST

/* Operands without a single element, which a model's file may have: answered, by whatever backend. */
static const lmb_op_case nothing[] = {
    { "Conv", "no channels",
      { { LMB_CASE_SMOOTH, { 4, { 2, 0, 8, 32 } }, -1, 1, { 0 } },
        { LMB_CASE_SMOOTH, { 4, { 8, 0, 3, 3 } }, -1, 1, { 0 } } },
      { LMB_AINTS("pads", 1, 1, 1, 1) }, 0, 0 },
    { "Conv", "no channels at all",
      { { LMB_CASE_SMOOTH, { 4, { 2, 0, 8, 8 } }, -1, 1, { 0 } },
        { LMB_CASE_SMOOTH, { 4, { 0, 0, 3, 3 } }, -1, 1, { 0 } } },
      { LMB_AINTS("pads", 1, 1, 1, 1) }, 0, 0 },
    { "Conv", "no images",
      { { LMB_CASE_SMOOTH, { 4, { 0, 16, 8, 8 } }, -1, 1, { 0 } },
        { LMB_CASE_SMOOTH, { 4, { 16, 16, 3, 3 } }, -1, 1, { 0 } } },
      { LMB_AINTS("pads", 1, 1, 1, 1) }, 0, 0 },
    { "Gemm", "no depth",
      { { LMB_CASE_SMOOTH, { 2, { 3, 0 } }, -1, 1, { 0 } },
        { LMB_CASE_SMOOTH, { 2, { 0, 5 } }, -1, 1, { 0 } } }, { { 0 } }, 0, 0 },
    { "MaxPool", "no channels",
      { { LMB_CASE_SPREAD, { 4, { 2, 0, 4, 4 } }, -1, 1, { 0 } } }, { LMB_AINTS("kernel_shape", 2, 2) }, 0, 0 },
    { "GlobalAveragePool", "no channels",
      { { LMB_CASE_SMOOTH, { 4, { 2, 0, 4, 4 } }, -1, 1, { 0 } } }, { { 0 } }, 0, 0 },
    { "Relu", "nothing",
      { { LMB_CASE_SPREAD, { 4, { 2, 0, 4, 4 } }, -1, 1, { 0 } } }, { { 0 } }, 0, 0 },
};

START_TEST(operands_may_be_empty)
{
    static const char *const names[] = { "own", "cpu", "portable" };
    const lmb_backend *list[3];
    lmb_error err = LMB_ERROR_INIT;

    for (int i = 0; i < LMB_COUNT(names); i++) {
        ck_ok(lmb_cpu_backends(names[i], list, &err));
        ck_ok(lmb_check_case(&nothing[_i], list, 1, NULL, &err));
    }
}
END_TEST

/* Nothing of a training step's products is left to a reference: convolutions of all kinds, a 1-D one, matrices, a
 * loss. */
START_TEST(plans_choose_it)
{
    const lmb_backend *own[3];
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g, *with;
    lmb_vid p[5], d[5], x, y, loss;
    lmb_plan *plan;

    ck_ok(lmb_cpu_backends("own", own, &err));
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(4, 3, 9, 9), NULL);
    p[0] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "stem", LMB_F32, LMB_SHAPE(8, 3, 3, 3), NULL);
    p[1] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "depthwise", LMB_F32, LMB_SHAPE(8, 1, 3, 3), NULL);
    p[2] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "groups", LMB_F32, LMB_SHAPE(6, 4, 1, 1), NULL);
    p[3] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "line", LMB_F32, LMB_SHAPE(5, 6, 3), NULL);
    p[4] = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "head", LMB_F32, LMB_SHAPE(7, 115), NULL);
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(x, p[0]),
                 LMB_ATTRS(LMB_AINTS("strides", 2, 2), LMB_AINTS("pads", 1, 1, 1, 1)));
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(y, p[1]), LMB_ATTRS(LMB_AINT("group", 8), LMB_AINTS("pads", 1, 1, 1, 1)));
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(y, p[2]), LMB_ATTRS(LMB_AINT("group", 2)));
    y = lmb_emit(&b, "Reshape", NULL, LMB_IN(y, lmb_emit_ints(&b, (int64_t[]){ 4, 6, 25 }, 3)), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Conv", NULL, LMB_IN(y, p[3]), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Gemm", NULL, LMB_IN(lmb_emit(&b, "Flatten", NULL, LMB_IN(y), LMB_NO_ATTRS), p[4]),
                 LMB_ATTRS(LMB_AINT("transB", 1)));
    lmb_vid labels = lmb_emit_value(&b, LMB_ROLE_INPUT, "labels", LMB_S64, LMB_SHAPE(4), NULL);
    loss = lmb_emit(&b, "SoftmaxCrossEntropyLoss", NULL, LMB_IN(y, labels), LMB_NO_ATTRS);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_autodiff(g, loss, p, 5, &with, d, &err));
    for (int i = 0; i < 5; i++)
        ck_ok(lmb_graph_output_add(with, (char[]){ 'd', (char)('0' + i), 0 }, d[i], &err));
    lmb_plan_options o = { .backends = own };
    ck_ok(lmb_plan_compile(with, &o, &plan, &err));
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        ck_assert_msg(strcmp(s.kernel, "reference") != 0, "%s (%s) by the reference", s.node, s.op);
    }
    lmb_plan_destroy(plan);
    lmb_graph_destroy(with);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("core/cpu/own", add_loop(cases_of_the_check, count_cases()); add_loop(convolutions_made_up, MADE_UP);
              add_loop(operands_may_be_empty, LMB_COUNT(nothing)); add(plans_choose_it);)
