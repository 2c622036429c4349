/* Mirrors distill/search/identity.c: what changes is refused by its name, samples as samples. */
#include <string.h>

#include "core/base/field.h"
#include "distill/search/identity.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

static lmb_error err;

/* As a search would describe itself: settings in front of and behind the samples. */
static char *identity_of(const char *data, int steps)
{
    lmb_dataset *train = dataset_of(data, LMB_PART_TRAIN), *test = dataset_of(data, LMB_PART_TEST);
    lmb_str s = LMB_STR_INIT;

    lmb_str_add(&s, "data: those\n");
    lmb_identity_samples(&s, "training", train);
    lmb_identity_samples(&s, "validation", NULL);
    lmb_identity_samples(&s, "test", test);
    lmb_str_addf(&s, "search:\n  steps: %d\n", steps);
    ck_ok(lmb_str_check(&s, &err));
    lmb_dataset_destroy(train);
    lmb_dataset_destroy(test);
    return s.text;
}

static const char
    few[] = "{name: synthetic, train: 20, test: 10, channels: 1, height: 4, width: 4, classes: 2}",
    more[] = "{name: synthetic, train: 20, test: 10, channels: 1, height: 4, width: 4, classes: 2, noise: 0.9}";

static lmb_status check(const char *stored, const char *here)
{
    err = (lmb_error)LMB_ERROR_INIT;
    return lmb_identity_check(stored, here, "configuration", "`run`", &err);
}

START_TEST(other_samples_are_said_to_be_that)
{
    char *before = identity_of(few, 3), *same = identity_of(few, 3), *data = identity_of(more, 3),
         *steps = identity_of(few, 4);

    ck_assert_ptr_null(strstr(before, "validation"));
    ck_ok(check(before, same));
    ck_assert_int_eq(check(before, data), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "the data have changed") && strstr(err.msg, "hash of training samples was ") &&
                      strstr(err.msg, "put the old data back") && strstr(err.msg, "name another `run`"),
                  "%s", err.msg);
    ck_assert_int_eq(check(before, steps), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "another configuration (`steps: 3` where this one has `steps: 4`)"), "%s", err.msg);
    free(before);
    free(same);
    free(data);
    free(steps);
}
END_TEST

/* A journal that was begun before samples had lines. */
START_TEST(an_old_journal_goes_on)
{
    char *here = identity_of(few, 3);

    ck_ok(check("data: those\nsearch:\n  steps: 3\n", here));
    ck_assert_int_eq(check("data: those\nsearch:\n  steps: 5\n", here), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "`steps: 5` where this one has `steps: 3`"), "%s", err.msg);
    free(here);
}
END_TEST

LMB_TEST_MAIN("distill/identity", add(other_samples_are_said_to_be_that); add(an_old_journal_goes_on);)
