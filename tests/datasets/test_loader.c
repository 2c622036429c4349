/* Mirrors datasets/loader.c and datasets/augment.c. */
#include "datasets/loader.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"

static lmb_error err;
static lmb_dataset *data;

static void open_data(void)
{
    lmb_config *c;
    const char *text = "{name: synthetic, train: 103, height: 6, width: 5}";
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "t", &c, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &data, &err));
    lmb_config_destroy(c);
}

START_TEST(each_sample_once_an_epoch_and_resumable)
{
    lmb_loader *l;
    const lmb_batch *b;
    lmb_augment a = { .crop = 2, .flip = true, .cutout = 2 };
    lmb_loader_options o = { .data = data, .batch = 10, .seed = 4, .shuffle = true, .augment = &a };
    int seen[103] = { 0 };
    static float first[110][30];

    open_data();
    o.data = data;
    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_assert_int_eq(lmb_loader_batches(l), 11);
    ck_ok(lmb_loader_begin(l, 3, 0, &err));
    for (int64_t k = 0;; k++) {
        ck_ok(lmb_loader_next(l, &b, &err));
        if (!b)
            break;
        ck_assert_int_eq(b->index, k);
        ck_assert_int_eq(b->n, k == 10 ? 3 : 10);
        for (int i = 0; i < b->n; i++) {
            seen[b->sample[i]]++;
            memcpy(first[k * 10 + i], b->x + i * 30, sizeof first[0]);
        }
    }
    for (int i = 0; i < 103; i++)
        ck_assert_int_eq(seen[i], 1);
    ck_ok(lmb_loader_begin(l, 3, 7, &err)); /* stop in the middle and start again elsewhere */
    ck_ok(lmb_loader_next(l, &b, &err));
    ck_assert_mem_eq(b->x, first[70], 10 * sizeof first[0]);
    ck_ok(lmb_loader_begin(l, 4, 0, &err)); /* another epoch, other images */
    ck_ok(lmb_loader_next(l, &b, &err));
    ck_assert(memcmp(b->x, first[0], sizeof first[0]) != 0);
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
}
END_TEST

static void half(void *ctx, int64_t n, int64_t *lo, int64_t *hi)
{
    int rank = *(int *)ctx;
    *lo = rank ? n / 2 : 0;
    *hi = rank ? n : n / 2;
}

START_TEST(two_ranks_see_the_batch_of_one)
{
    lmb_loader *l[3];
    const lmb_batch *b[3];
    int rank[2] = { 0, 1 };

    open_data();
    for (int i = 0; i < 3; i++) {
        lmb_loader_options o = { .data = data, .batch = 16, .seed = 4, .shuffle = true };
        if (i < 2)
            o.range = half, o.range_ctx = &rank[i];
        ck_ok(lmb_loader_create(&o, &l[i], &err));
        ck_ok(lmb_loader_begin(l[i], 0, 0, &err));
    }
    for (int k = 0; k < 7; k++) {
        for (int i = 0; i < 3; i++)
            ck_ok(lmb_loader_next(l[i], &b[i], &err));
        ck_assert_int_eq(b[0]->n + b[1]->n, b[2]->n);
        ck_assert_mem_eq(b[0]->x, b[2]->x, sizeof(float) * 30 * (size_t)b[0]->n);
        ck_assert_mem_eq(b[1]->x, b[2]->x + 30 * b[0]->n, sizeof(float) * 30 * (size_t)b[1]->n);
    }
    for (int i = 0; i < 3; i++)
        lmb_loader_destroy(l[i]);
    lmb_dataset_destroy(data);
}
END_TEST

static lmb_status bad_read(const lmb_dataset *d, int64_t i, void *x, int32_t *y, lmb_error *e)
{
    (void)d;
    if (i == 57)
        return LMB_FAIL(e, LMB_E_IO, "sample 57 is gone");
    memset(x, 0, 30);
    *y = 0;
    return LMB_OK;
}

START_TEST(an_error_in_the_thread_reaches_the_caller)
{
    lmb_loader *l;
    const lmb_batch *b;
    lmb_status st;
    open_data();
    lmb_dataset broken = *data;
    broken.read = bad_read;
    lmb_loader_options o = { .data = &broken, .batch = 10, .seed = 1 };
    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_ok(lmb_loader_begin(l, 0, 0, &err));
    do
        st = lmb_loader_next(l, &b, &err);
    while (st == LMB_OK && b);
    ck_assert_int_eq(st, LMB_E_IO);
    ck_assert_str_eq(err.msg, "sample 57 is gone");
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(changes_by_hand)
{
    uint8_t scratch[6], image[6];
    lmb_shape s = LMB_SHAPE(1, 2, 3);
    const uint8_t in[6] = { 1, 2, 3, 4, 5, 6 }, flipped[6] = { 3, 2, 1, 6, 5, 4 };
    int flips = 0, same = 0;
    lmb_augment a = { .flip = true };
    for (uint64_t i = 0; i < 200; i++) {
        memcpy(image, in, 6);
        lmb_augment_apply(&a, image, &s, 1, 0, i, scratch);
        flips += memcmp(image, flipped, 6) == 0;
        same += memcmp(image, in, 6) == 0;
    }
    ck_assert_int_eq(flips + same, 200);
    ck_assert(flips > 70 && flips < 130);
    a = (lmb_augment){ .crop = 1 };
    int zeros = 0;
    for (uint64_t i = 0; i < 200; i++) {
        memcpy(image, in, 6);
        lmb_augment_apply(&a, image, &s, 1, 0, i, scratch);
        for (int k = 0; k < 6; k++)
            zeros += image[k] == 0;
    }
    ck_assert(zeros > 200); /* a shift by one pixel loses a row or a column two times in three */
    a = (lmb_augment){ .cutout = 9 };
    lmb_augment_apply(&a, image, &s, 1, 0, 1, scratch);
    for (int k = 0; k < 6; k++)
        ck_assert_int_eq(image[k], 0);
}
END_TEST

LMB_TEST_MAIN("datasets/loader", add(each_sample_once_an_epoch_and_resumable); add(two_ranks_see_the_batch_of_one);
              add(an_error_in_the_thread_reaches_the_caller); add(changes_by_hand);)
