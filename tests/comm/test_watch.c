/* Mirrors comm/watch.c: ranks without a noticeboard end with a sentence, and leave nothing (address sanitizer). What
 * becomes of ranks that stand still: tests/mpi/test_stuck.sh. */
#include "comm/watch.h"

#include <string.h>

#include "tests/check_main.h"

static lmb_status broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *err)
{
    (void)c, (void)data, (void)n, (void)root, (void)err;
    return LMB_OK;
}

START_TEST(no_place_for_a_noticeboard)
{
    lmb_comm c = { 0, 2, "two", NULL, broadcast, NULL, NULL, NULL, true, NULL, NULL };
    lmb_error err = LMB_ERROR_INIT;
    lmb_watch *w;

    ck_assert_int_eq(lmb_watch_open(&c, "/nowhere/at/all/ranks", 1, NULL, NULL, &w, &err), LMB_E_IO);
    ck_assert_ptr_null(w);
    ck_assert_ptr_nonnull(strstr(err.msg, "choose a run folder that all ranks can write"));
}
END_TEST

LMB_TEST_MAIN("comm/watch", add(no_place_for_a_noticeboard);)
