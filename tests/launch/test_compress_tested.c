/* Mirrors launch/compress_tested.c: which sentence goes with which counts. */
#include "launch/compress_tested.h"

#include <string.h>

#include "tests/check_main.h"

static void says(lmb_paired p, double may, bool met, const char *text)
{
    lmb_str s = LMB_STR_INIT;

    lmb_compress_tested(&p, may, met, &s);
    ck_assert(!s.failed);
    ck_assert_msg(strstr(s.text, text) != NULL, "'%s' is not in '%s'", text, s.text);
    lmb_str_free(&s);
}

/* Of 326 lost and 195 won in 10,000 the drop is 1.31 points, give or take 1.96 times the root of 521 in 10,000. */
START_TEST(a_drop_is_told_with_its_interval)
{
    const lmb_paired p = { 10000, 326, 195 };

    says(p, 0.01, true,
         "of 10000 test samples, which had no say, 326 are lost and 195 won beside the teacher: 1.31 points "
         "(95 % interval 0.87 to 1.76) where 1.00 may be, and that is more: chance, or held-out samples");
    says(p, 0.0131, true, "where 1.31 may be, which bears the decision out");
    says(p, 0.008, true,
         "where 0.80 may be, and that is more than chance does: held-out samples that decide many times");
}
END_TEST

START_TEST(nothing_was_decided_of_it)
{
    const lmb_paired p = { 10000, 195, 326 };
    lmb_str s = LMB_STR_INIT;

    says(p, -1, true, "-1.31 points (95 % interval -1.76 to -0.87)");
    lmb_compress_tested(&p, -1, true, &s); /* no limit of accuracy */
    ck_assert_ptr_null(strstr(s.text, "may be"));
    lmb_str_free(&s);
    lmb_compress_tested(&(lmb_paired){ 100, 9, 0 }, 0.01, false, &s); /* the nearest point, known to miss a limit */
    ck_assert_ptr_nonnull(strstr(s.text, "where 1.00 may be"));
    ck_assert_ptr_null(strstr(s.text, "decide"));
    lmb_str_free(&s);
}
END_TEST

LMB_TEST_MAIN("launch/compress_tested", add(a_drop_is_told_with_its_interval); add(nothing_was_decided_of_it);)
