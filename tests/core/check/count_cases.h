/* tests/core/check/count_cases.h - how many cases the table of core/check has: the runs of a test that takes them
 * all. */
#ifndef LMB_TESTS_CORE_CHECK_COUNT_CASES_H
#define LMB_TESTS_CORE_CHECK_COUNT_CASES_H

#include "core/check/check.h"

static inline int count_cases(void)
{
    int n = 0;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}

#endif
