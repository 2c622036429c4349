/* Mirrors datasets/loader.c. */
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
    lmb_augment a = { .crop = 2, .flip = true, .cutout = 2, .policy = LMB_POLICY_AUTO };
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
    lmb_loader_options o = { .data = &broken, .batch = 10, .seed = 1, .threads = _i + 1 };
    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_ok(lmb_loader_begin(l, 0, 0, &err));
    int good = 0;
    while ((st = lmb_loader_next(l, &b, &err)) == LMB_OK && b)
        good++;
    ck_assert_int_eq(good, 5); /* what came before it is not lost */
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(st, LMB_E_IO);
        ck_assert_str_eq(err.msg, "sample 57 is gone");
        err = (lmb_error)LMB_ERROR_INIT;
        st = lmb_loader_next(l, &b, &err);
    }
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_loader_begin(l, 0, 6, &err));
    ck_ok(lmb_loader_next(l, &b, &err));
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
}
END_TEST

/* The bytes of a whole epoch, wherever `threads` of them come from. */
static void epoch_of(int threads, lmb_dtype dtype, float *x, int64_t *y, uint32_t *sample)
{
    lmb_loader *l;
    const lmb_batch *b;
    lmb_augment a = { .crop = 2, .flip = true, .policy = LMB_POLICY_TRIVIAL };
    lmb_loader_options o = { .data = data, .batch = 8, .seed = 5, .shuffle = true, .threads = threads, .augment = &a,
                             .dtype = dtype };
    int64_t at = 0;

    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_ok(lmb_loader_begin(l, 2, 0, &err));
    for (;;) {
        ck_ok(lmb_loader_next(l, &b, &err));
        if (!b)
            break;
        ck_assert((b->x == NULL) == (dtype == LMB_U8) && (b->x_u8 == NULL) == (dtype == LMB_F32));
        for (int64_t i = 0; i < b->n * 30; i++)
            x[at * 30 + i] = dtype == LMB_U8 ? (float)b->x_u8[i] : b->x[i];
        memcpy(y + at, b->y, sizeof *y * (size_t)b->n);
        memcpy(sample + at, b->sample, sizeof *sample * (size_t)b->n);
        at += b->n;
    }
    ck_ok(lmb_loader_next(l, &b, &err)); /* the end stays the end */
    ck_assert_ptr_null(b);
    ck_assert_int_eq(at, 103);
    ck_assert_double_ge(lmb_loader_waited(l), 0);
    lmb_loader_destroy(l);
}

START_TEST(threads_and_types_do_not_change_a_number)
{
    static float x[3][103 * 30];
    static int64_t y[3][103];
    static uint32_t sample[3][103];
    open_data();
    epoch_of(1, LMB_F32, x[0], y[0], sample[0]);
    epoch_of(5, LMB_F32, x[1], y[1], sample[1]);
    epoch_of(2, LMB_U8, x[2], y[2], sample[2]);
    for (int i = 1; i < 3; i++) {
        ck_assert_mem_eq(x[0], x[i], sizeof x[0]);
        ck_assert_mem_eq(y[0], y[i], sizeof y[0]);
        ck_assert_mem_eq(sample[0], sample[i], sizeof sample[0]);
    }
    for (int i = 0; i < 103; i++)
        ck_assert_int_eq(y[0][i], data->label(data, sample[0][i]));
    lmb_dataset_destroy(data);
}
END_TEST

/* Without shuffling and augmentation: the raw samples in their order. */
START_TEST(evaluation_is_plain)
{
    lmb_loader *l;
    const lmb_batch *b;
    uint8_t raw[30];
    int32_t label;
    open_data();
    lmb_loader_options o = { .data = data, .batch = 50, .dtype = LMB_U8 };
    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_ok(lmb_loader_begin(l, 0, 2, &err));
    ck_ok(lmb_loader_next(l, &b, &err));
    ck_assert_int_eq(b->n, 3);
    for (int i = 0; i < 3; i++) {
        ck_ok(data->read(data, 100 + i, raw, &label, &err));
        ck_assert_uint_eq(b->sample[i], (uint32_t)(100 + i));
        ck_assert_mem_eq(b->x_u8 + 30 * i, raw, 30);
        ck_assert_int_eq(b->y[i], label);
    }
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
}
END_TEST

/* Begin anywhere, leave anywhere: run under ThreadSanitizer and AddressSanitizer. */
START_TEST(starts_and_stops_at_any_moment)
{
    lmb_loader *l;
    const lmb_batch *b;
    lmb_augment a = { .crop = 1 };
    open_data();
    for (int threads = 1; threads <= 4; threads++) {
        lmb_loader_options o = { .data = data, .batch = 5, .seed = 1, .shuffle = true, .threads = threads,
                                 .augment = &a };
        ck_ok(lmb_loader_create(&o, &l, &err));
        for (uint32_t e = 0; e < 60; e++) {
            ck_ok(lmb_loader_begin(l, e, e % 22, &err));
            for (uint32_t k = 0; k < e % 7; k++)
                ck_ok(lmb_loader_next(l, &b, &err));
        }
        lmb_loader_destroy(l);
    }
    lmb_dataset_destroy(data);
}
END_TEST

static void first_four(void *ctx, int64_t n, int64_t *lo, int64_t *hi)
{
    int rank = *(int *)ctx;
    *lo = rank * 4 < n ? rank * 4 : n;
    *hi = rank * 4 + 4 < n ? rank * 4 + 4 : n;
}

START_TEST(a_rank_may_get_none_of_a_short_batch)
{
    lmb_loader *l;
    const lmb_batch *b;
    int rank = 1;
    open_data();
    lmb_loader_options o = { .data = data, .batch = 10, .range = first_four, .range_ctx = &rank };
    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_ok(lmb_loader_begin(l, 0, 9, &err));
    ck_ok(lmb_loader_next(l, &b, &err));
    ck_assert_int_eq(b->lo, 4);
    ck_assert_int_eq(b->n, 4);
    ck_assert_uint_eq(b->sample[0], 94);
    ck_ok(lmb_loader_next(l, &b, &err));
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(b->n, 0);
    ck_assert_int_eq(b->total, 3);
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
}
END_TEST

/* Bytes and what is to happen to them make the batch that comes changed and widened. */
START_TEST(changes_may_come_later)
{
    lmb_loader *now, *later;
    const lmb_batch *a, *b;
    const lmb_augment augment = { .crop = 2, .flip = true, .cutout = 2, .versions = 2 };

    open_data();
    lmb_loader_options o = { .data = data, .batch = 10, .seed = 4, .shuffle = true, .augment = &augment };
    ck_ok(lmb_loader_create(&o, &now, &err));
    o.change_later = true;
    ck_assert_int_eq(lmb_loader_create(&o, &later, &err), LMB_E_ARG); /* of floats */
    err = (lmb_error)LMB_ERROR_INIT;
    o.dtype = LMB_U8;
    o.threads = 3;
    ck_ok(lmb_loader_create(&o, &later, &err));
    ck_ok(lmb_loader_begin(now, 3, 0, &err));
    ck_ok(lmb_loader_begin(later, 3, 0, &err));
    for (;;) {
        ck_ok(lmb_loader_next(now, &a, &err));
        ck_ok(lmb_loader_next(later, &b, &err));
        ck_assert_int_eq(a == NULL, b == NULL);
        if (!a)
            break;
        ck_assert_int_eq(a->n, b->n);
        ck_assert_mem_eq(a->sample, b->sample, sizeof *a->sample * (size_t)a->n);
        for (int i = 0; i < 30 * a->n; i++)
            ck_assert_float_eq(a->x[i], lmb_picture_at(&b->change[i / 30], b->x_u8 + i / 30 * 30, 6, 5, i / 5 % 6,
                                                       i % 5));
    }
    lmb_loader_destroy(now);
    lmb_loader_destroy(later);
    lmb_dataset_destroy(data);
}
END_TEST

static void beyond(void *ctx, int64_t n, int64_t *lo, int64_t *hi)
{
    (void)ctx;
    *lo = 0;
    *hi = n + 1;
}

START_TEST(impossible_options_are_refused)
{
    lmb_augment jitter = { .jitter = 1 };
    lmb_loader *l;
    const lmb_batch *b;
    open_data();
    const lmb_loader_options bad[] = {
        { .data = data, .batch = 0 }, { .data = data, .batch = 1, .threads = 65 },
        { .data = data, .batch = 1, .threads = -1 },
        { .data = data, .batch = 1, .dtype = LMB_S8 }, { .data = data, .batch = 1, .augment = &jitter },
        { .data = data, .batch = 1, .range = beyond }
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_loader_create(&bad[i], &l, &err), LMB_E_ARG);
    }
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_loader_options o = { .data = data, .batch = 10 };
    ck_ok(lmb_loader_create(&o, &l, &err));
    ck_assert_int_eq(lmb_loader_next(l, &b, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_loader_begin(l, 0, 12, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_loader_begin(l, 0, 11, &err)); /* an epoch that is over */
    ck_ok(lmb_loader_next(l, &b, &err));
    ck_assert_ptr_null(b);
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
}
END_TEST

LMB_TEST_MAIN("datasets/loader", add(each_sample_once_an_epoch_and_resumable); add(two_ranks_see_the_batch_of_one);
              add_loop(an_error_in_the_thread_reaches_the_caller, 3); add(threads_and_types_do_not_change_a_number);
              add(evaluation_is_plain); add(changes_may_come_later); add(starts_and_stops_at_any_moment);
              add(a_rank_may_get_none_of_a_short_batch); add(impossible_options_are_refused);)
