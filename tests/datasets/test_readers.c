/* Mirrors datasets/dataset.c, datasets/table.c and the readers that need no library: idx, cifar, synthetic. */
#include <zlib.h>

#include "tests/datasets/temp_data.h"

static const uint8_t images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                  11, 12 };
static const uint8_t labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 3, 1 };

static void check_idx(lmb_dataset *d)
{
    uint8_t x[6];
    int32_t y;
    ck_assert_int_eq(d->n, 2);
    ck_assert_int_eq(d->shape.n, 3);
    ck_assert_int_eq(d->shape.d[1], 2);
    ck_assert_int_eq(d->shape.d[2], 3);
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_int_eq(y, 1);
    ck_assert_int_eq(d->label(d, 0), 3);
    ck_assert_mem_eq(x, images + 22, 6);
    ck_assert_int_eq(d->read(d, 2, x, &y, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "sample 2 was asked for; the data set has samples 0 to 1");
}

START_TEST(idx_is_read)
{
    lmb_dataset *d;
    begin();
    put("train-images-idx3-ubyte", images, sizeof images);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    ck_ok(open_from("{name: idx, path: %s}", LMB_PART_TRAIN, &d));
    check_idx(d);
    lmb_dataset_destroy(d);
    end();
}
END_TEST

static void put_gz(const char *name, const void *bytes, unsigned n)
{
    gzFile f = gzopen(in_dir(name), "wb");
    ck_assert_int_eq(gzwrite(f, bytes, n), (int)n);
    ck_assert_int_eq(gzclose(f), Z_OK);
}

START_TEST(idx_is_read_compressed)
{
    lmb_dataset *d;
    begin();
    put_gz("t10k-images-idx3-ubyte.gz", images, sizeof images);
    put_gz("t10k-labels-idx1-ubyte.gz", labels, sizeof labels);
    ck_ok(open_from("{name: idx, path: %s}", LMB_PART_TEST, &d));
    check_idx(d);
    lmb_dataset_destroy(d);
    ck_assert_int_eq(truncate(in_dir("t10k-images-idx3-ubyte.gz"), 20), 0);
    refused("{name: idx, path: %s}", LMB_PART_TEST, LMB_E_FORMAT, "t10k-images-idx3-ubyte.gz: ");
    end();
}
END_TEST

/* Each row damages the image file in one way. */
static const struct { size_t n, at; uint8_t value; const char *says; } damage[] = {
    { sizeof images - 1, 0, 0, "its header promises 12" }, { 10, 0, 0, "not an IDX file" },
    { 0, 0, 0, "not an IDX file" },
    { sizeof images, 3, 1, "not an IDX file" }, { sizeof images, 7, 3, "its header promises 18" },
    { sizeof images, 4, 255, "its header says 4278190082" }, { sizeof images, 11, 0, "its header says 0" },
};

START_TEST(damaged_idx_is_refused)
{
    uint8_t copy[sizeof images];
    begin();
    memcpy(copy, images, sizeof copy);
    if (damage[_i].at)
        copy[damage[_i].at] = damage[_i].value;
    put("train-images-idx3-ubyte", copy, damage[_i].n);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    refused("{name: idx, path: %s}", LMB_PART_TRAIN, LMB_E_FORMAT, damage[_i].says);
    end();
}
END_TEST

START_TEST(idx_files_must_agree)
{
    const uint8_t one[] = { 0, 0, 8, 1, 0, 0, 0, 1, 3 };
    begin();
    refused("{name: idx, path: %s}", LMB_PART_TRAIN, LMB_E_IO, "dataset-fashion-mnist");
    put("train-images-idx3-ubyte", images, sizeof images);
    refused("{name: idx, path: %s}", LMB_PART_TRAIN, LMB_E_IO, "there is no train-labels-idx1-ubyte");
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    refused("{name: idx, path: %s, classes: 3}", LMB_PART_TRAIN, LMB_E_FORMAT,
            "train-labels-idx1-ubyte: sample 0 has label 3, but there are 3 classes (labels 0 to 2)");
    put("train-labels-idx1-ubyte", one, sizeof one);
    refused("{name: idx, path: %s}", LMB_PART_TRAIN, LMB_E_FORMAT, "has 1 labels");
    end();
}
END_TEST

/* A batch file is zeros (a hole) but for what the test writes into it. */
static void put_batch(const char *name, long size, long at, int value)
{
    FILE *f = fopen(in_dir(name), "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(ftruncate(fileno(f), size), 0);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    ck_assert_int_ne(fputc(value, f), EOF);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(cifar_is_read)
{
    enum { RECORD = 3073, FILE_BYTES = 10000 * RECORD };
    uint8_t x[3072];
    lmb_dataset *d;
    int32_t y;
    begin();
    refused("{name: cifar, path: %s}", LMB_PART_TEST, LMB_E_IO, "there is no test_batch.bin");
    put_batch("test_batch.bin", FILE_BYTES, 7 * RECORD + 1 + 1024 + 33, 200); /* sample 7: green, row 1, column 1 */
    ck_ok(open_from("{name: cifar, path: %s}", LMB_PART_TEST, &d));
    ck_assert_int_eq(d->n, 10000);
    ck_ok(d->read(d, 7, x, &y, &err));
    ck_assert_int_eq(x[1024 + 33], 200);
    ck_assert_str_eq(d->class_names[y], "airplane");
    check_hashes(d, d, true);
    ck_assert_int_eq(truncate(in_dir("test_batch.bin"), 8 * RECORD), 0); /* while it is open */
    ck_ok(d->read(d, 7, x, &y, &err));
    ck_assert_int_eq(d->read(d, 8, x, &y, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "test_batch.bin: it has become shorter"));
    lmb_dataset_destroy(d);
    put_batch("test_batch.bin", FILE_BYTES, 9999 * RECORD, 10);
    refused("{name: cifar, path: %s}", LMB_PART_TEST, LMB_E_FORMAT, "sample 9999 has label 10");
    put_batch("test_batch.bin", FILE_BYTES - RECORD, 0, 0);
    refused("{name: cifar, path: %s}", LMB_PART_TEST, LMB_E_FORMAT, "a batch of CIFAR-10 has 30730000");
    put_batch("data_batch_1.bin", FILE_BYTES, 0, 0);
    refused("{name: cifar, path: %s}", LMB_PART_TRAIN, LMB_E_IO, "there is no data_batch_2.bin");
    end();
}
END_TEST

START_TEST(synthetic_is_a_function_of_its_seed)
{
    lmb_dataset *a, *b, *c, *test;
    uint8_t x[784], y[784];
    int32_t lx, ly, seen[10] = { 0 };
    begin();
    ck_ok(open_from("synthetic", LMB_PART_TRAIN, &a));
    ck_ok(open_from("{name: synthetic}", LMB_PART_TRAIN, &b));
    ck_ok(open_from("{name: synthetic, seed: 2}", LMB_PART_TRAIN, &c));
    ck_ok(open_from("{name: synthetic}", LMB_PART_TEST, &test));
    check_hashes(a, b, true);
    check_hashes(a, c, false);
    check_hashes(a, test, false);
    for (int i = 0; i < 200; i++) {
        ck_ok(a->read(a, i, x, &lx, &err));
        ck_ok(b->read(b, i, y, &ly, &err));
        ck_assert_mem_eq(x, y, sizeof x);
        ck_assert_int_eq(lx, ly);
        ck_ok(c->read(c, i, y, &ly, &err));
        ck_assert_mem_ne(x, y, sizeof x);
        ck_ok(test->read(test, i, y, &ly, &err));
        ck_assert_mem_ne(x, y, sizeof x);
        seen[lx]++;
    }
    for (int k = 0; k < 10; k++)
        ck_assert_int_eq(seen[k], 20);
    lmb_dataset_destroy(a);
    lmb_dataset_destroy(b);
    lmb_dataset_destroy(c);
    lmb_dataset_destroy(test);
    end();
}
END_TEST

/* Without noise, samples of a class are one pattern shifted by up to two pixels: nine pictures. */
START_TEST(synthetic_classes_can_be_told_apart)
{
    enum { CLASSES = 3, N = 600, BYTES = 2 * 9 * 7 };
    static uint8_t distinct[CLASSES][9][BYTES];
    uint8_t x[BYTES];
    int n[CLASSES] = { 0 };
    lmb_dataset *d;
    int32_t y;
    begin();
    ck_ok(open_from("{name: synthetic, classes: 3, channels: 2, height: 9, width: 7, noise: 0, train: 600}",
                    LMB_PART_TRAIN, &d));
    for (int i = 0; i < N; i++) {
        int k = 0;
        ck_ok(d->read(d, i, x, &y, &err));
        while (k < n[y] && memcmp(distinct[y][k], x, BYTES) != 0)
            k++;
        ck_assert_int_lt(k, 9);
        if (k == n[y])
            memcpy(distinct[y][n[y]++], x, BYTES);
    }
    for (int i = 0; i < CLASSES; i++)
        ck_assert_int_eq(n[i], 9);
    lmb_dataset_destroy(d);
    end();
}
END_TEST

START_TEST(subsets_look_at_the_same_samples)
{
    const uint32_t index[] = { 5, 0, 5 }, beyond[] = { 0, 20 };
    lmb_dataset *d, *s, *other;
    uint8_t x[16], y[16];
    int32_t lx, ly;
    begin();
    ck_ok(open_from("{name: synthetic, height: 4, width: 4, train: 20}", LMB_PART_TRAIN, &d));
    ck_ok(lmb_dataset_subset(d, index, 3, &s, &err));
    ck_ok(lmb_dataset_subset(d, index + 1, 2, &other, &err));
    ck_assert_int_eq(s->n, 3);
    check_hashes(s, other, false);
    for (int i = 0; i < 3; i++) {
        ck_ok(s->read(s, i, x, &lx, &err));
        ck_ok(d->read(d, index[i], y, &ly, &err));
        ck_assert_mem_eq(x, y, sizeof x);
        ck_assert_int_eq(lx, ly);
        ck_assert_int_eq(s->label(s, i), ly);
    }
    ck_assert_int_eq(s->read(s, 3, x, &lx, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_dataset_subset(d, beyond, 2, &other, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_dataset_subset(d, beyond, 0, &other, &err), LMB_E_ARG);
    lmb_dataset_destroy(other);
    lmb_dataset_destroy(s);
    lmb_dataset_destroy(d);
    lmb_dataset_destroy(NULL);
    end();
}
END_TEST

START_TEST(unknown_names_get_a_suggestion)
{
    begin();
    refused("{name: idy, path: %s}", LMB_PART_TRAIN, LMB_E_ARG, "did you mean idx");
    refused("{name: idx, paht: %s}", LMB_PART_TRAIN, LMB_E_ARG, "path");
    end();
}
END_TEST

LMB_TEST_MAIN("datasets/readers", add(idx_is_read); add(idx_is_read_compressed); add_loop(damaged_idx_is_refused, 7);
              add(idx_files_must_agree); add(cifar_is_read); add(synthetic_is_a_function_of_its_seed);
              add(synthetic_classes_can_be_told_apart); add(subsets_look_at_the_same_samples);
              add(unknown_names_get_a_suggestion);)
