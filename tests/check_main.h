/* tests/check_main.h - the main() every Check program shares: one suite, one case, exit code for ctest.
 *
 *   LMB_TEST_MAIN("core/base/random", add(known_answers); add(uniform_is_flat);)
 *   LMB_TEST_MAIN_IF("core/cpu/bf16", has_bf16(), add(...);)   where not, it has said `skipped: why`
 */
#ifndef LMB_TESTS_CHECK_MAIN_H
#define LMB_TESTS_CHECK_MAIN_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/error.h"

/* Assert that a call succeeded, showing its sentence when it did not. */
#define ck_ok(call)                                                                                   \
    do {                                                                                              \
        lmb_status ck_status_ = (call);                                                               \
        ck_assert_msg(ck_status_ == LMB_OK, "%s: %s: %s", #call, lmb_status_name(ck_status_), err.msg); \
    } while (0)

#define add(test) tcase_add_test(tc_, test)
#define add_loop(test, n) tcase_add_loop_test(tc_, test, 0, (n))
#define LMB_TEST_MAIN(name, adds) LMB_TEST_MAIN_IF(name, true, adds)
#define LMB_TEST_MAIN_IF(name, ready, adds)             \
    int main(void)                                      \
    {                                                   \
        if (!(ready))                                   \
            return 0;                                   \
        Suite *s_ = suite_create(name);                 \
        TCase *tc_ = tcase_create(name);                \
        tcase_set_timeout(tc_, 900);                    \
        adds suite_add_tcase(s_, tc_);                  \
        SRunner *r_ = srunner_create(s_);               \
        srunner_run_all(r_, CK_ENV);                    \
        int bad_ = srunner_ntests_failed(r_);           \
        srunner_free(r_);                               \
        return bad_ != 0;                               \
    }

#endif
