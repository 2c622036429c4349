/* Mirrors datasets/readers/hapt.c. */
#include "tests/datasets/temp_data.h"

/* Readings 1 .. n of one sensor: column a of reading t is sign * (t + a / 10). */
static void put_signal(const char *name, int n, double sign)
{
    static char text[20000];
    size_t at = 0;
    for (int t = 1; t <= n; t++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%.1f %.1f %.1f\n", sign * t, sign * (t + 0.1),
                               sign * (t + 0.2));
    put(name, text, at);
}

static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

/* Two experiments: person 1 trains (walking 1-40, sitting to standing 41-60), person 2 tests. */
static void put_set(void)
{
    put_text("RawData/labels.txt", "1 1 1 1 40\n1 1 8 41 60\n2 2 6 3 20\n");
    put_signal("RawData/acc_exp01_user01.txt", 60, 1);
    put_signal("RawData/gyro_exp01_user01.txt", 60, -1);
    put_signal("RawData/acc_exp02_user02.txt", 20, 1);
    put_signal("RawData/gyro_exp02_user02.txt", 20, -1);
}

static const char *const small = "{name: hapt, path: %s, window: 16, step: 8}";

START_TEST(windows_lie_inside_segments)
{
    lmb_dataset *d;
    float x[6 * 16];
    int32_t y;
    begin();
    put_set();
    ck_ok(open_from(small, LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->n, 4); /* 1-16, 9-24, 17-32, 25-40 */
    ck_assert_int_eq(d->dtype, LMB_F32);
    ck_assert_int_eq(d->shape.d[0], 6);
    ck_assert_int_eq(d->shape.d[1], 16);
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_int_eq(y, 0);
    ck_assert_int_eq(d->group(d, 1), 1);
    ck_assert_float_eq(x[0], 9.0f);          /* acc x  */
    ck_assert_float_eq(x[16 + 15], 24.1f);   /* acc y  */
    ck_assert_float_eq(x[5 * 16], -9.2f);    /* gyro z */
    lmb_dataset_destroy(d);
    ck_ok(open_from(small, LMB_PART_TEST, &d));
    ck_assert_int_eq(d->n, 1);
    ck_ok(d->read(d, 0, x, &y, &err));
    ck_assert_str_eq(d->class_names[y], "laying");
    ck_assert_float_eq(x[0], 3.0f);
    ck_assert_int_eq(d->group(d, 0), 2);
    lmb_dataset_destroy(d);
    end();
}
END_TEST

START_TEST(transitions_and_people_are_options)
{
    lmb_dataset *d;
    begin();
    put_set();
    ck_ok(open_from("{name: hapt, path: %s, window: 16, step: 8, transitions: true}", LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->n, 5);
    ck_assert_int_eq(d->classes, 12);
    ck_assert_int_eq(d->label(d, 4), 7);
    lmb_dataset_destroy(d);
    ck_ok(open_from("{name: hapt, path: %s/RawData, window: 16, step: 8, test_subjects: [1]}", LMB_PART_TEST, &d));
    ck_assert_int_eq(d->n, 4);
    lmb_dataset_destroy(d);
    refused("{name: hapt, path: %s, window: 41}", LMB_PART_TRAIN, LMB_E_FORMAT, "no window of 41 readings fits");
    end();
}
END_TEST

/* Each row replaces one file of a good set. */
static const struct { const char *file, *text, *says; lmb_status status; } damage[] = {
    { "RawData/labels.txt", "1 1 13 1 40\n", "line 1 (1 1 13 1 40)", LMB_E_FORMAT },
    { "RawData/labels.txt", "1 1 1 40 1\n", "line 1 (", LMB_E_FORMAT },
    { "RawData/labels.txt", "1 1 1 0 40\n", "line 1 (", LMB_E_FORMAT },
    { "RawData/labels.txt", "1 1 1 1.5 40\n", "line 1 (", LMB_E_FORMAT },
    { "RawData/labels.txt", "1 1 1 1 40\n1 1 1\n", "line 2, column 4 is no number", LMB_E_FORMAT },
    { "RawData/labels.txt", "1 1 1 1 40 7\n", "more than 5 columns", LMB_E_FORMAT },
    { "RawData/labels.txt", "1 1 1 1 61\n", "a label up to reading 61, but its files have 60 and 60", LMB_E_FORMAT },
    { "RawData/labels.txt", "", "empty", LMB_E_FORMAT },
    { "RawData/labels.txt", "3 3 1 1 40\n", "acc_exp03_user03.txt", LMB_E_IO },
    { "RawData/gyro_exp01_user01.txt", "1 2 3\n4 nan 6\n", "line 2, column 2 is no number", LMB_E_FORMAT },
    { "RawData/acc_exp01_user01.txt", "1 2 3\n", "its files have 1 and 60", LMB_E_FORMAT },
};

START_TEST(damage_is_refused)
{
    begin();
    put_set();
    put_text(damage[_i].file, damage[_i].text);
    refused(small, LMB_PART_TRAIN, damage[_i].status, damage[_i].says);
    end();
}
END_TEST

START_TEST(a_missing_set_says_what_to_fetch)
{
    begin();
    refused(small, LMB_PART_TRAIN, LMB_E_IO, "there is no RawData/labels.txt here");
    end();
}
END_TEST

LMB_TEST_MAIN("datasets/readers/hapt", add(windows_lie_inside_segments); add(transitions_and_people_are_options);
              add_loop(damage_is_refused, 11); add(a_missing_set_says_what_to_fetch);)
