/* tests/datasets/test_join.c - two data sets one behind the other; sets that are not alike are refused. */
#include <string.h>

#include "core/base/config.h"
#include "datasets/dataset.h"
#include "tests/check_main.h"

static lmb_error err;

static lmb_dataset *synthetic(const char *text)
{
    lmb_config *c;
    lmb_dataset *d;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &d, &err));
    lmb_config_destroy(c);
    return d;
}

START_TEST(one_behind_the_other)
{
    uint8_t a[16], b[16];
    int32_t la, lb;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *first = synthetic("{name: synthetic, train: 30, classes: 3, height: 4, width: 4}");
    lmb_dataset *second = synthetic("{name: synthetic, train: 20, classes: 3, height: 4, width: 4, seed: 9}"), *both,
                *turned;
    ck_ok(lmb_dataset_join(first, second, &both, &err));
    ck_ok(lmb_dataset_join(second, first, &turned, &err));
    ck_assert_int_eq(both->n, 50);
    for (int64_t i = 0; i < 50; i++) {
        const lmb_dataset *of = i < 30 ? first : second;
        ck_ok(both->read(both, i, a, &la, &err));
        ck_ok(of->read(of, i < 30 ? i : i - 30, b, &lb, &err));
        ck_assert_mem_eq(a, b, sizeof a);
        ck_assert_int_eq(la, lb);
        if (both->label)
            ck_assert_int_eq(both->label(both, i), lb);
    }
    lmb_hash h = both->hash(both), t = turned->hash(turned);
    ck_assert(memcmp(&h, &t, sizeof h) != 0);
    ck_assert_int_eq(both->read(both, 50, a, &la, &err), LMB_E_ARG);
    lmb_dataset_destroy(both);
    lmb_dataset_destroy(turned);
    lmb_dataset_destroy(first);
    lmb_dataset_destroy(second);
}
END_TEST

/* The same samples, and labels that nobody can tell from one another. */
START_TEST(without_labels)
{
    uint8_t a[16], b[16];
    int32_t label, all[30];
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *d = synthetic("{name: synthetic, train: 30, classes: 3, height: 4, width: 4}"), *bare;
    ck_ok(lmb_dataset_unlabelled(d, 5, &bare, &err));
    ck_assert(bare->n == 30 && bare->classes == 5 && lmb_shape_equal(&bare->shape, &d->shape) &&
              bare->dtype == d->dtype);
    for (int64_t i = 0; i < 30; i++) {
        ck_ok(bare->read(bare, i, a, &label, &err));
        ck_assert_int_eq(label, 0);
        ck_assert_int_eq(bare->label(bare, i), 0);
        ck_ok(d->read(d, i, b, &label, &err));
        ck_assert_mem_eq(a, b, sizeof a);
    }
    ck_ok(lmb_dataset_labels(bare, all, &err));
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(all[i], 0);
    lmb_dataset_destroy(bare);
    lmb_dataset_destroy(d);
}
END_TEST

/* Classes of the same names, in another order and number, and one that is not known. */
START_TEST(by_names)
{
    static const char *const known[] = { "cat", "dog", "emu", "fox" }, *const some[] = { "fox", "cat" },
                            *const other[] = { "ant", "cat" };
    uint8_t a[16], b[16];
    int32_t was, is;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *d = synthetic("{name: synthetic, train: 30, classes: 2, height: 4, width: 4}"),
                *like = synthetic("{name: synthetic, train: 5, classes: 4, height: 4, width: 4}"), *x;
    ck_ok(lmb_dataset_by_class(d, like, &x, &err)); /* no names: nothing to go by */
    ck_assert_ptr_null(x);
    like->class_names = known;
    d->class_names = some;
    ck_ok(lmb_dataset_by_class(like, like, &x, &err)); /* the same: nothing to do */
    ck_assert_ptr_null(x);
    ck_ok(lmb_dataset_by_class(d, like, &x, &err));
    ck_assert(x->n == 30 && x->classes == 4 && x->class_names == known);
    for (int64_t i = 0; i < 30; i++) {
        ck_ok(d->read(d, i, a, &was, &err));
        ck_ok(x->read(x, i, b, &is, &err));
        ck_assert_mem_eq(a, b, sizeof a);
        ck_assert_str_eq(some[was], known[is]);
        if (x->label)
            ck_assert_int_eq(x->label(x, i), is);
    }
    lmb_hash before = d->hash(d), after = x->hash(x);
    ck_assert(memcmp(&before, &after, sizeof before) != 0);
    ck_assert_int_eq(x->read(x, 30, a, &was, &err), LMB_E_ARG);
    lmb_dataset_destroy(x);
    err = (lmb_error)LMB_ERROR_INIT;
    d->class_names = other;
    ck_assert_int_eq(lmb_dataset_by_class(d, like, &x, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "'ant'") && strstr(err.msg, "cat ... fox"), "%s", err.msg);
    ck_assert_ptr_null(x);
    lmb_dataset_destroy(d);
    lmb_dataset_destroy(like);
}
END_TEST

/* Folders beside data whose classes have no names: these are numbers, and not the order of words. */
START_TEST(by_numbers)
{
    static const char *const some[] = { "10", "03" }, *const wrong[][2] = { { "1", "eight" }, { "1", "11" }, { "1", "" },
                            { "1", "-1" }, { "1", "1 " }, { "1", "99999999999999999999" } };
    uint8_t a[16];
    int32_t was, is;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *d = synthetic("{name: synthetic, train: 30, classes: 2, height: 4, width: 4}"),
                *like = synthetic("{name: synthetic, train: 30, classes: 11, height: 4, width: 4}"), *x;
    d->class_names = some;
    ck_ok(lmb_dataset_by_class(d, like, &x, &err));
    ck_assert(x->classes == 11 && !x->class_names);
    for (int64_t i = 0; i < 30; i++) {
        ck_ok(d->read(d, i, a, &was, &err));
        ck_ok(x->read(x, i, a, &is, &err));
        ck_assert_int_eq(is, was == 0 ? 10 : 3);
    }
    lmb_dataset_destroy(x);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        d->class_names = wrong[i];
        ck_assert_int_eq(lmb_dataset_by_class(d, like, &x, &err), LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, wrong[i][1]) && strstr(err.msg, "0 to 10"), "%s", err.msg);
        ck_assert_ptr_null(x);
    }
    lmb_dataset_destroy(d);
    lmb_dataset_destroy(like);
}
END_TEST

START_TEST(unlike_ones)
{
    static const char *const others[] = { "{name: synthetic, train: 20, classes: 4, height: 4, width: 4}",
                                          "{name: synthetic, train: 20, classes: 3, height: 5, width: 4}" };
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *first = synthetic("{name: synthetic, train: 30, classes: 3, height: 4, width: 4}");
    lmb_dataset *second = synthetic(others[_i]), *both = NULL;
    ck_assert_int_eq(lmb_dataset_join(first, second, &both, &err), LMB_E_SHAPE);
    ck_assert_ptr_null(both);
    lmb_dataset_destroy(first);
    lmb_dataset_destroy(second);
}
END_TEST

LMB_TEST_MAIN("datasets/join", add(one_behind_the_other); add(without_labels); add(by_names); add(by_numbers);
              add_loop(unlike_ones, 2);)
