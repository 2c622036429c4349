/* Mirrors train/history.c: lines to the byte, and what a resumed run keeps of them. */
#include "train/history.h"

#include <string.h>

#include "core/base/file.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[256], path[300];

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/history.jsonl", dir);
}

static void teardown(void) { temp_remove(dir); }

static void add_epoch(int64_t epoch)
{
    lmb_epoch e = { .epoch = epoch,
                    .loss = 0.5,
                    .accuracy = 0.75,
                    .valid_loss = 1,
                    .valid_accuracy = 0.5,
                    .lr = 0.1,
                    .seconds = 2,
                    .images_per_second = 1000,
                    .waited = 0.25 };
    ck_ok(lmb_history_add(path, &e, &err));
}

static void expect(const char *want)
{
    void *text;
    size_t n;
    ck_ok(lmb_file_read(path, 100000, &text, &n, &err));
    ck_assert_str_eq(text, want);
    free(text);
}

#define LINE(epoch)                                                                                                    \
    "{\"epoch\": " epoch                                                                                               \
    ", \"loss\": 0.5, \"accuracy\": 0.75, \"valid_loss\": 1, \"valid_accuracy\": 0.5, \"lr\": 0.1, "                   \
    "\"seconds\": 2, \"images_per_second\": 1000, \"waited\": 0.25}\n"

START_TEST(a_line_is_an_object)
{
    setup();
    add_epoch(0);
    expect(LINE("0"));
    lmb_epoch e = { .epoch = 1, .loss = 1.0 / 0.0, .valid_loss = -1, .valid_accuracy = -1 };
    ck_ok(lmb_history_cut(path, "epoch", 0, &err));
    ck_ok(lmb_history_add(path, &e, &err)); /* JSON has no infinity, and there was no validation */
    expect("{\"epoch\": 1, \"loss\": null, \"accuracy\": 0, \"valid_loss\": null, \"valid_accuracy\": null, \"lr\": 0, "
           "\"seconds\": 0, \"images_per_second\": 0, \"waited\": 0}\n");
    teardown();
}
END_TEST

START_TEST(later_epochs_are_cut)
{
    setup();
    ck_ok(lmb_history_cut(path, "epoch", 3, &err));
    ck_assert(!lmb_file_exists(path));
    for (int i = 8; i < 12; i++)
        add_epoch(i);
    ck_ok(lmb_history_cut(path, "epoch", 12, &err));
    expect(LINE("8") LINE("9") LINE("10") LINE("11"));
    ck_ok(lmb_history_cut(path, "epoch", 10, &err));
    expect(LINE("8") LINE("9"));
    add_epoch(10); /* and the run goes on */
    expect(LINE("8") LINE("9") LINE("10"));
    ck_ok(lmb_history_cut(path, "epoch", 1, &err)); /* by epoch, not by count of lines */
    expect("");
    teardown();
}
END_TEST

START_TEST(torn_and_foreign_lines_are_cut)
{
    static const char *const torn[] = { "{\"epoch\": 1, \"loss\": 0.5",
                                        "{\"epo",
                                        "{",
                                        "\n",
                                        "{\"epoch\": \n",
                                        "{\"epoch\": , 1}\n",
                                        "{\"epoch\": 1",
                                        "{\"epoch\": 1}\n",
                                        "{\"epoch\": -1, \"loss\": 1}\n",
                                        "{\"epoch\": 99999999999999999999999999, \"loss\": 1}\n",
                                        "epoch 1\n" };
    for (size_t i = 0; i < sizeof torn / sizeof torn[0]; i++) {
        setup();
        add_epoch(0);
        ck_ok(lmb_file_append(path, torn[i], strlen(torn[i]), &err));
        ck_ok(lmb_history_cut(path, "epoch", 100, &err));
        expect(LINE("0"));
        teardown();
    }
}
END_TEST

START_TEST(failures_are_said)
{
    lmb_epoch e = { .epoch = 0 };
    setup();
    ck_assert_int_eq(lmb_history_add("/nowhere/at/all", &e, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nowhere/at/all"));
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_history_cut(dir, "epoch", 1, &err), LMB_E_IO); /* a folder */
    ck_assert_ptr_nonnull(strstr(err.msg, "not a regular file"));
    teardown();
}
END_TEST

LMB_TEST_MAIN("train/history", add(a_line_is_an_object); add(later_epochs_are_cut); add(torn_and_foreign_lines_are_cut);
              add(failures_are_said);)
