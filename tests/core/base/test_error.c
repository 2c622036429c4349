/* Mirrors core/base/error.c. */
#include <string.h>

#include "tests/check_main.h"

START_TEST(first_writer_wins_and_context_goes_in_front)
{
    lmb_error err = LMB_ERROR_INIT;
    ck_assert_int_eq(LMB_FAIL(&err, LMB_E_SHAPE, "client %d\nsent %d", 7, 3), LMB_E_SHAPE);
    ck_assert_int_eq(LMB_FAIL(&err, LMB_E_IO, "later"), LMB_E_IO);
    lmb_error_context(&err, "round %d", 2);
    ck_assert_str_eq(err.msg, "round 2: client 7?sent 3");
    ck_assert_int_eq(err.status, LMB_E_SHAPE);
}
END_TEST

START_TEST(long_messages_are_cut_not_overrun)
{
    lmb_error err = LMB_ERROR_INIT;
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    LMB_FAIL(&err, LMB_E_ARG, "%s", long_text);
    ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
    lmb_error_context(&err, "%s", long_text);
    ck_assert_uint_lt(strlen(err.msg), sizeof err.msg);
}
END_TEST

LMB_TEST_MAIN("core/base/error", add(first_writer_wins_and_context_goes_in_front);
              add(long_messages_are_cut_not_overrun);)
