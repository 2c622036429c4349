/* Mirrors datasets/dataset.c and datasets/readers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "datasets/dataset.h"
#include "tests/check_main.h"

static lmb_error err;
static char dir[64];

static void setup_dir(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    snprintf(dir, sizeof dir, "/tmp/lmb_readers_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void put(const char *name, const void *bytes, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_ok(lmb_file_write(path, bytes, n, &err));
}

static lmb_status open_from(const char *yaml, lmb_part part, lmb_dataset **d)
{
    lmb_config *c;
    char text[300];
    snprintf(text, sizeof text, yaml, dir);
    ck_ok(lmb_config_parse(text, strlen(text), "data.yaml", &c, &err));
    lmb_status st = lmb_dataset_open(lmb_config_root(c), part, d, &err);
    lmb_config_destroy(c);
    return st;
}

static const uint8_t images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static const uint8_t labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 3, 1 };

START_TEST(idx_is_read)
{
    lmb_dataset *d;
    uint8_t x[6];
    int32_t y;
    setup_dir();
    put("train-images-idx3-ubyte", images, sizeof images);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    ck_ok(open_from("{name: idx, path: %s}", LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->n, 2);
    ck_assert_int_eq(d->shape.d[2], 3);
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_int_eq(y, 1);
    ck_assert_int_eq(x[5], 12);
    ck_assert_int_eq(d->read(d, 2, x, &y, &err), LMB_E_ARG);
    lmb_dataset_destroy(d);
}
END_TEST

/* Each row damages the image file in one way. */
static const struct { size_t n, at; uint8_t value; const char *says; } damage[] = {
    { sizeof images - 1, 0, 0, "its header promises 12" }, { 10, 0, 0, "not an IDX file" }, { 0, 0, 0, "not an IDX file" },
    { sizeof images, 3, 1, "not an IDX file" }, { sizeof images, 7, 3, "its header promises 18" },
    { sizeof images, 4, 255, "its header promises" },
};

START_TEST(damaged_idx_is_refused)
{
    uint8_t copy[sizeof images];
    lmb_dataset *d;
    setup_dir();
    memcpy(copy, images, sizeof copy);
    if (damage[_i].value)
        copy[damage[_i].at] = damage[_i].value;
    put("train-images-idx3-ubyte", copy, damage[_i].n);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    ck_assert_int_eq(open_from("{name: idx, path: %s}", LMB_PART_TRAIN, &d), LMB_E_FORMAT);
    ck_assert_msg(strstr(err.msg, damage[_i].says) != NULL, "%s", err.msg);
}
END_TEST

START_TEST(missing_and_out_of_range)
{
    lmb_dataset *d;
    setup_dir();
    ck_assert_int_eq(open_from("{name: idx, path: %s}", LMB_PART_TRAIN, &d), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "dataset-fashion-mnist"));
    put("train-images-idx3-ubyte", images, sizeof images);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(open_from("{name: idx, path: %s, classes: 3}", LMB_PART_TRAIN, &d), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "label 3 of sample 0; there are 3 classes");
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(open_from("{name: idy, path: %s}", LMB_PART_TRAIN, &d), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "did you mean idx"));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(open_from("{name: cifar, path: %s}", LMB_PART_TEST, &d), LMB_E_IO);
    put("test_batch.bin", "short", 5);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(open_from("{name: cifar, path: %s}", LMB_PART_TEST, &d), LMB_E_FORMAT);
}
END_TEST

START_TEST(synthetic_is_a_function_of_its_seed)
{
    lmb_dataset *a, *b;
    uint8_t x[784], y[784];
    int32_t lx, ly, seen[10] = { 0 };
    setup_dir();
    ck_ok(open_from("{name: synthetic}", LMB_PART_TRAIN, &a));
    ck_ok(open_from("{name: synthetic}", LMB_PART_TRAIN, &b));
    ck_assert_mem_eq(&a->hash, &b->hash, sizeof a->hash);
    for (int i = 0; i < 200; i++) {
        ck_ok(a->read(a, i, x, &lx, &err));
        ck_ok(b->read(b, i, y, &ly, &err));
        ck_assert_mem_eq(x, y, sizeof x);
        seen[lx]++;
    }
    for (int k = 0; k < 10; k++)
        ck_assert_int_gt(seen[k], 0);
    lmb_dataset_destroy(a);
    lmb_dataset_destroy(b);
}
END_TEST

START_TEST(fashion_mnist_when_installed)
{
    lmb_dataset *d;
    if (!lmb_file_exists("/usr/share/datasets/fashion-mnist"))
        return;
    setup_dir();
    ck_ok(open_from("{name: idx} # %s", LMB_PART_TEST, &d));
    ck_assert_int_eq(d->n, 10000);
    lmb_dataset_destroy(d);
}
END_TEST

LMB_TEST_MAIN("datasets/readers", add(idx_is_read); add_loop(damaged_idx_is_refused, 6); add(missing_and_out_of_range);
              add(synthetic_is_a_function_of_its_seed); add(fashion_mnist_when_installed);)
