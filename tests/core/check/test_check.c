/* Every case of core/check/cases.c: kernels against the reference, gradients against finite differences. */
#include "core/check/check.h"

#include <string.h>

#include "core/cpu/cpu.h"
#include "tests/check_main.h"
#include "tests/core/check/count_cases.h"

START_TEST(case_holds)
{
    lmb_error err = LMB_ERROR_INIT;
    const lmb_backend *backends[3] = { 0 };
    int checked = 0;
    ck_ok(lmb_cpu_backends("cpu", backends, &err));
    ck_ok(lmb_check_case(&lmb_op_cases[_i], backends, 1, &checked, &err));
    ck_assert_int_gt(checked, 0);
}
END_TEST

START_TEST(every_op_has_a_case)
{
    for (int i = 0; lmb_ops[i]; i++) {
        bool found = false;
        for (const lmb_op_case *c = lmb_op_cases; c->op; c++)
            found |= strcmp(c->op, lmb_ops[i]->name) == 0;
        ck_assert_msg(found, "%s has no case in core/check/cases.c", lmb_ops[i]->name);
    }
}
END_TEST

LMB_TEST_MAIN("core/check/check", add_loop(case_holds, count_cases()); add(every_op_has_a_case);)
