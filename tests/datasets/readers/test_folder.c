/* Mirrors datasets/readers/folder.c. */
#include "tests/datasets/pictures.h"

static const uint8_t red[12] = { 255, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0 };
static const uint8_t blue[12] = { 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 255 };
static const char *const yaml = "{name: folder, path: %s, height: 2, width: 2}";

static void put_set(void)
{
    put_png("train/b/1.png", 2, 2, blue);
    put_png("train/a/2.png", 2, 2, red);
    put_jpeg("train/a/10.JPG", 2, 2, red);
    put("train/a/notes.txt", "not a picture", 13);
    put("train/a/.hidden.png", "left by a file manager", 22);
    put_png("test/b/x.png", 2, 2, blue);
}

START_TEST(folders_are_classes_in_order)
{
    lmb_dataset *d, *test;
    uint8_t x[12];
    int32_t y;
    begin();
    put_set();
    ck_ok(open_from(yaml, LMB_PART_TRAIN, &d));
    ck_ok(open_from(yaml, LMB_PART_TEST, &test));
    ck_assert_int_eq(d->n, 3); /* a/10.JPG, a/2.png, b/1.png */
    ck_assert_int_eq(d->classes, 2);
    ck_assert_str_eq(d->class_names[1], "b");
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_int_eq(y, 0);
    ck_assert_int_eq(x[0], 255);
    ck_assert_int_eq(x[8], 0);
    ck_ok(d->read(d, 2, x, &y, &err));
    ck_assert_int_eq(y, 1);
    ck_assert_int_eq(d->label(d, 2), 1);
    ck_assert_int_eq(x[8], 255);
    ck_assert_int_eq(test->n, 1);
    ck_ok(test->read(test, 0, x, &y, &err));
    ck_assert_int_eq(y, 1);
    check_hashes(d, test, false);
    lmb_dataset_destroy(d);
    lmb_dataset_destroy(test);
    end();
}
END_TEST

START_TEST(grey_is_one_channel)
{
    lmb_dataset *d;
    uint8_t x[4];
    int32_t y;
    begin();
    put_set();
    ck_ok(open_from("{name: folder, path: %s, height: 2, width: 2, channels: 1}", LMB_PART_TRAIN, &d));
    ck_ok(d->read(d, 2, x, &y, &err));
    ck_assert_int_eq(x[0], x[3]);
    ck_assert_int_lt(x[0], 128);
    lmb_dataset_destroy(d);
    end();
}
END_TEST

/* Without labels: the pictures of a folder, then of its sub-folders, whatever these are called. */
START_TEST(pictures_without_labels)
{
    static const char *const bare = "{name: folder, path: %s, height: 2, width: 2, labels: false}";
    lmb_dataset *d;
    uint8_t x[12];
    int32_t y;
    begin();
    put_png("z.png", 2, 2, blue);
    put_png("a/2.png", 2, 2, red);
    put_png("a/1.png", 2, 2, blue);
    put("a/notes.txt", "not a picture", 13);
    ck_ok(open_from(bare, LMB_PART_TRAIN, &d));
    ck_assert(d->n == 3 && d->classes == 1 && !d->class_names);
    for (int i = 0; i < 3; i++) {
        ck_ok(d->read(d, i, x, &y, &err));
        ck_assert_int_eq(y, 0);
        ck_assert_int_eq(d->label(d, i), 0);
        ck_assert_int_eq(x[0], i == 2 ? 255 : 0); /* z.png, a/1.png, a/2.png */
    }
    lmb_dataset_destroy(d);
    refused(bare, LMB_PART_TEST, LMB_E_IO, "cannot be read");
    put_set(); /* with a folder train, that is it */
    ck_ok(open_from(bare, LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->n, 3);
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_int_eq(x[0], 255); /* train/a/2.png */
    lmb_dataset_destroy(d);
    end();
}
END_TEST

START_TEST(no_pictures_without_labels)
{
    begin();
    put("notes.txt", "not a picture", 13);
    refused("{name: folder, path: %s, height: 2, width: 2, labels: false}", LMB_PART_TRAIN, LMB_E_FORMAT,
            "0 .png, .jpg or .jpeg files");
    end();
}
END_TEST

/* Files as long as before with other bytes in them: anywhere in a small one, near the end of a large one. */
START_TEST(changed_pictures_have_another_hash)
{
    static const struct {
        const char *name;
        size_t bytes, at;
    } file[] = { { "train/a/small.png", 300, 5 }, { "train/b/large.png", 20000, 20000 - 4000 } };
    lmb_dataset *before, *changed;
    char bytes[20000] = { 0 };
    begin();
    put_set();
    for (int k = 0; k < 2; k++)
        put(file[k].name, bytes, file[k].bytes);
    ck_ok(open_from(yaml, LMB_PART_TRAIN, &before));
    ck_ok(open_from(yaml, LMB_PART_TRAIN, &changed));
    check_hashes(before, changed, true);
    lmb_dataset_destroy(changed);
    for (int k = 0; k < 2; k++) {
        bytes[file[k].at] = 1;
        put(file[k].name, bytes, file[k].bytes);
        ck_ok(open_from(yaml, LMB_PART_TRAIN, &changed));
        check_hashes(before, changed, false);
        lmb_dataset_destroy(changed);
        bytes[file[k].at] = 0;
        put(file[k].name, bytes, file[k].bytes);
    }
    lmb_dataset_destroy(before);
    end();
}
END_TEST

START_TEST(bad_folders_are_refused)
{
    lmb_dataset *d;
    uint8_t x[12];
    int32_t y;
    begin();
    refused("{name: folder} # %s", LMB_PART_TRAIN, LMB_E_ARG, "needs its path");
    refused(yaml, LMB_PART_TRAIN, LMB_E_IO, "/train: the folder cannot be read");
    ck_ok(lmb_file_make_dirs(in_dir("train/a"), &err));
    refused(yaml, LMB_PART_TRAIN, LMB_E_FORMAT, "/train: 1 sub-folders");
    ck_ok(lmb_file_make_dirs(in_dir("train/b"), &err));
    refused(yaml, LMB_PART_TRAIN, LMB_E_FORMAT, "/train: no .png, .jpg or .jpeg files");
    refused("{name: folder, path: %s, channels: 2}", LMB_PART_TRAIN, LMB_E_ARG, "2 channels");
    put_set();
    put_png("test/c/x.png", 2, 2, red);
    refused(yaml, LMB_PART_TEST, LMB_E_FORMAT, "/test: class 'c' is not in the train folder");
    put("train/a/1.png", "broken", 6);
    ck_ok(open_from(yaml, LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->read(d, 0, x, &y, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "train/a/1.png: neither a PNG"));
    lmb_dataset_destroy(d);
    end();
}
END_TEST

LMB_TEST_MAIN("datasets/readers/folder", add(folders_are_classes_in_order); add(grey_is_one_channel);
              add(pictures_without_labels); add(no_pictures_without_labels);
              add(changed_pictures_have_another_hash); add(bad_folders_are_refused);)
