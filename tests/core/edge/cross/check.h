/* tests/core/edge/cross/check.h - as much of Check as test_ops.c and test_products.c use, for processors that we
 * only emulate: tests run one after the other in one process and the first failure ends it. */
#ifndef LMB_TESTS_CROSS_CHECK_H
#define LMB_TESTS_CROSS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

typedef int Suite, TCase, SRunner;
enum { CK_ENV };

#define START_TEST(name) static void name(int _i) { (void)_i;
#define END_TEST }

#define ck_assert_msg(holds, ...)                               \
    do {                                                        \
        if (!(holds)) {                                         \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);     \
            fprintf(stderr, __VA_ARGS__);                       \
            fprintf(stderr, "\n");                              \
            exit(1);                                            \
        }                                                       \
    } while (0)
#define ck_assert(holds) ck_assert_msg(holds, "%s", #holds)
#define ck_assert_int_eq(a, b) ck_assert((a) == (b))
#define ck_assert_ptr_nonnull(p) ck_assert((p) != NULL)

static inline Suite *suite_create(const char *name)
{
    static Suite s;
    printf("%s\n", name);
    return &s;
}
#define tcase_create(name) suite_create(name)
#define tcase_set_timeout(c, seconds) (void)(c)
#define suite_add_tcase(s, c) (void)(s)
#define srunner_create(s) (s)
#define srunner_run_all(r, how) (void)(how)
#define srunner_ntests_failed(r) (*(r))
#define srunner_free(r) (void)(r)
#define tcase_add_test(c, test) test(0)
#define tcase_add_loop_test(c, test, from, to)          \
    for (int i_ = (from); i_ < (to); i_++)              \
    test(i_)

#endif
