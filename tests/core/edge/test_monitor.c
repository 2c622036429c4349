/* tests/core/edge/test_monitor.c - counters against a plain count, the file there and back, hostile files. */
#include "core/edge/monitor.h"

#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "core/edge/internal.h"
#include "core/edge/write.h"
#include "tests/check_main.h"
#include "tests/core/edge/network.h"

static char why[200];

START_TEST(bins_of_time)
{
    for (uint32_t b = 0; b < LMB_MONITOR_TIMES; b++) {
        ck_assert_uint_eq(lmb_monitor_time_bin(lmb_monitor_bin_time(b)), b);
        ck_assert_uint_eq(lmb_monitor_time_bin(lmb_monitor_bin_time(b + 1) - 1), b);
    }
    ck_assert_uint_eq(lmb_monitor_time_bin(0), 0);
    ck_assert_uint_eq(lmb_monitor_time_bin(UINT64_MAX), LMB_MONITOR_TIMES - 1);
}
END_TEST

/* Small images are looked at whole: every counter is what a plain count gives, in either layout. */
START_TEST(counters)
{
    enum { C = 3, PIXELS = 20, CLASSES = 4, N = 500 };
    const lmb_monitor_shape shape = { C, PIXELS, _i, CLASSES, _i ? 0.5f : 0, 0, 0 };
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    uint64_t sum[C] = { 0 }, bins[C][16] = { { 0 } }, answers[CLASSES] = { 0 }, margins[20] = { 0 };
    float least = 1e9f;
    lmb_rand r = lmb_rand_at(1, LMB_RAND_TEST, 0, (uint64_t)_i);
    uint32_t e = 0;
    for (int i = 0; i < N; i++) {
        uint8_t input[C * PIXELS], small[CLASSES];
        float output[CLASSES], best = -1, second = -1;
        int answer = 0;
        for (int c = 0; c < C; c++)
            for (int p = 0; p < PIXELS; p++) {
                uint8_t q = (uint8_t)lmb_rand_u32(&r, e++);
                input[_i ? c * PIXELS + p : p * C + c] = q;
                sum[c] += q;
                bins[c][q / 16]++;
            }
        for (int c = 0; c < CLASSES; c++) {
            small[c] = (uint8_t)(lmb_rand_u32(&r, e++) % 9);
            output[c] = 0.5f * (float)small[c];
            if (output[c] > best) {
                second = best;
                best = output[c];
                answer = c;
            } else if (output[c] > second) {
                second = output[c];
            }
        }
        double p = 1 / (1 + exp(second - best));
        int bin = (int)floor((p - 0.5) * 40 + 1e-9);
        margins[bin > 19 ? 19 : bin]++;
        answers[answer]++;
        least = best - second < least ? best - second : least;
        lmb_monitor_add(k, (uint64_t)i, input, _i ? (const void *)small : (const void *)output, 1000);
    }
    ck_assert_uint_eq(k->predictions, N);
    ck_assert_uint_eq(k->times[lmb_monitor_time_bin(1000)], N);
    for (int c = 0; c < C; c++) {
        ck_assert_uint_eq(k->channel[c].sum, sum[c]);
        ck_assert_mem_eq(k->channel[c].bins, bins[c], sizeof bins[c]);
    }
    for (int c = 0; c < CLASSES; c++)
        ck_assert_uint_eq(k->answers[c], answers[c]);
    for (int b = 0; b < 20; b++)
        ck_assert_uint_eq(k->margins[b], margins[b]);
    ck_assert_uint_eq(k->n_unsure, LMB_MONITOR_KEEP);
    for (uint32_t i = 0; i < k->n_unsure; i++)
        ck_assert(k->unsure[i].score >= least && k->unsure[i].score <= k->unsure[0].score);
    ck_assert_uint_eq(k->n_strange, 0);
    free(k);
}
END_TEST

/* Larger images: no more than 32 pixels at a time, all of them in the end. */
START_TEST(every_pixel_in_the_end)
{
    const lmb_monitor_shape shape = { 1, 1024, 1, 0, 0, 0, 0 };
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    uint8_t *image = calloc(1, 1024);
    for (int p = 0; p < 1024; p++) {
        lmb_monitor_init(k, &shape);
        image[p] = 255;
        for (int i = 0; i < 200 && !k->channel[0].sum; i++)
            lmb_monitor_add(k, 0, image, NULL, 0);
        ck_assert_msg(k->channel[0].sum > 0, "pixel %d is never looked at", p);
        image[p] = 0;
    }
    free(image);
    free(k);
}
END_TEST

/* The samples kept are the 32 extreme ones, whatever their order. */
START_TEST(the_extreme_ones_are_kept)
{
    enum { N = 400 };
    const lmb_monitor_shape shape = { 1, 4, 1, 2, 0, 0, 0 };
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    uint8_t *file = malloc(LMB_MONITOR_MOST);
    for (int i = 0; i < 100; i++) { /* a reference of mean 100, and some deviation */
        uint8_t image[4] = { (uint8_t)(95 + i % 11), 100, 100, 100 };
        lmb_monitor_add(k, 0, image, (float[2]){ 1, 0 }, 0);
    }
    size_t n = lmb_monitor_write(k, file);
    lmb_monitor_init(k, &shape);
    ck_assert_int_eq(lmb_monitor_expect(k, file, n - 1), LMB_EDGE_E_FORMAT);
    ck_assert_int_eq(lmb_monitor_expect(k, NULL, 0), LMB_EDGE_E_FORMAT);
    ck_assert_int_eq(lmb_monitor_expect(k, file, n), LMB_EDGE_OK);
    for (int i = 0; i < N; i++) {
        int j = i * 37 % N;
        uint8_t image[4] = { 100, 100, 100, (uint8_t)(j < 32 ? 150 + j : 100) };
        lmb_monitor_add(k, (uint64_t)j, image, (float[2]){ 0, j >= N - 32 ? 0.001f * (float)j : 9 }, 0);
    }
    ck_assert(k->n_unsure == 32 && k->n_strange == 32);
    uint64_t unsure = 0, strange = 0;
    for (int i = 0; i < 32; i++) {
        unsure |= UINT64_C(1) << (k->unsure[i].number - (N - 32));
        strange |= UINT64_C(1) << k->strange[i].number;
    }
    ck_assert_uint_eq(unsure, 0xffffffff);
    ck_assert_uint_eq(strange, 0xffffffff);
    free(file);
    free(k);
}
END_TEST

static size_t some_file(uint8_t *file)
{
    const lmb_monitor_shape shape = { 3, 50, 1, 5, 0, 0xabcd1234, UINT64_C(1) << 40 };
    uint8_t image[150];
    float scores[5];
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    for (int i = 0; i < 60; i++) {
        for (int p = 0; p < 150; p++)
            image[p] = (uint8_t)(p * i);
        for (int c = 0; c < 5; c++)
            scores[c] = (float)(c * i % 7);
        lmb_monitor_add(k, (uint64_t)i << 40, image, scores, (uint64_t)i * 1000);
    }
    size_t n = lmb_monitor_write(k, file);
    ck_assert_uint_eq(n, lmb_monitor_file_bytes(k));
    free(k);
    return n;
}

static void put(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void seal(uint8_t *file, size_t n) { put(file + 12, lmbi_edge_crc32c(0, file + 16, n - 16), 4); }

/* What was written before files had a model and a release. */
static size_t as_version_1(uint8_t *file, size_t n)
{
    memmove(file + 48, file + 56, n - 56);
    put(file + 8, 1, 4);
    put(file + 36, 0, 4);
    seal(file, n - 8);
    return n - 8;
}

START_TEST(file_there_and_back)
{
    uint8_t *file = malloc(LMB_MONITOR_MOST), *again = malloc(LMB_MONITOR_MOST), *memory = malloc(LMB_MONITOR_MOST);
    size_t n = some_file(file);
    lmb_monitor *k = lmb_monitor_read(file, n, memory, why, sizeof why);
    ck_assert_msg(k != NULL, "%s", why);
    ck_assert_uint_eq(lmb_monitor_write(k, again), n);
    ck_assert_mem_eq(file, again, n);
    ck_assert(k->shape.model == 0xabcd1234 && k->shape.release == UINT64_C(1) << 40);
    n = as_version_1(file, n);
    k = lmb_monitor_read(file, n, memory, why, sizeof why);
    ck_assert_msg(k != NULL, "%s", why);
    ck_assert(k->shape.model == 0 && k->shape.release == 0 && k->predictions == 60);
    ck_assert_int_eq(lmb_monitor_expect(k, again, n + 8), LMB_EDGE_OK); /* who does not say may expect any */
    ck_assert_uint_eq(lmb_monitor_write(k, file), n + 8);
    ck_assert_mem_eq(file + 56, again + 56, n - 48);
    k->shape.model = 7;
    ck_assert_int_eq(lmb_monitor_expect(k, again, n + 8), LMB_EDGE_E_FORMAT);
    free(file);
    free(again);
    free(memory);
}
END_TEST

START_TEST(largest_file_fits)
{
    const lmb_monitor_shape shape = { LMB_MONITOR_CHANNELS, 5000, 0, LMB_MONITOR_CLASSES, 0, 0, 0 };
    ck_assert_uint_le(lmb_monitor_bytes(&shape), LMB_MONITOR_MOST);
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    k->n_unsure = k->n_strange = LMB_MONITOR_KEEP;
    ck_assert_uint_le(lmb_monitor_file_bytes(k), LMB_MONITOR_MOST);
    free(k);
}
END_TEST

START_TEST(hostile_files)
{
    uint8_t *file = malloc(LMB_MONITOR_MOST), *memory = malloc(LMB_MONITOR_MOST);
    size_t n = some_file(file);
    for (size_t i = 0; i < n; i++) {
        uint8_t *copy = malloc(i ? i : 1); /* of that size, so that a sanitizer sees the end */
        memcpy(copy, file, i);
        ck_assert_ptr_null(lmb_monitor_read(copy, i, memory, why, sizeof why));
        free(copy);
        file[i] ^= (uint8_t)(1 << i % 8);
        ck_assert_msg(!lmb_monitor_read(file, n, memory, why, sizeof why), "byte %zu", i);
        file[i] ^= (uint8_t)(1 << i % 8);
    }
    free(file);
    free(memory);
}
END_TEST

/* The checksum is right, and the numbers are not those of any counting: each edit alone is refused, by its sentence. */
START_TEST(contradictions)
{
    enum { CHANNEL = 56 + 720, ANSWERS = CHANNEL + 3 * 152, UNSURE = ANSWERS + 20 };
    static const struct {
        size_t at;
        uint64_t value;
        int bytes;
        const char *says;
    } row[] = {
        { 10, 1, 2, "leaves at zero" },
        { 16, 0, 4, "size" },
        { 24, 0, 4, "no pixels" },
        { 24, 31, 4, "pixels are not of" },
        { 40, 30, 8, "as many predictions" },
        { 40, UINT64_C(1) << 63, 8, "more predictions than" },
        { 40, (UINT64_C(1) << 37) + 1, 8, "more predictions than" },
        { 56, 1000, 4, "times or margins" },
        { 56 + 640, 1000, 4, "times or margins" },
        { CHANNEL, UINT64_MAX, 8, "sums not of" },
        { CHANNEL, 0, 8, "sums not of" },
        { CHANNEL + 8, UINT64_MAX, 8, "sums not of" },
        { CHANNEL + 8, 1, 8, "sums not of" },
        { CHANNEL + 16, UINT64_MAX, 8, "sums not of" },
        { CHANNEL + 16, 1, 8, "sums not of" },
        { CHANNEL + 24, UINT64_MAX, 8, "pixels are not of" },
        { CHANNEL + 2 * 152 + 24, 0, 8, "pixels are not of" },
        { ANSWERS, 0, 4, "answers" },
        { UNSURE + 8, 0x7fc00000, 4, "no number" },
        { UNSURE + 8, 0x7f800000, 4, "no number" },
        { UNSURE + 8, 0xbf800000, 4, "no number" },
        { UNSURE + 12, 77, 4, "no class" },
        { UNSURE + 12, 5, 4, "no class" },
    };
    uint8_t *file = malloc(LMB_MONITOR_MOST), *memory = malloc(LMB_MONITOR_MOST);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        size_t n = some_file(file);
        put(file + row[i].at, row[i].value, row[i].bytes);
        seal(file, n);
        ck_assert_msg(!lmb_monitor_read(file, n, memory, why, sizeof why), "row %zu is taken", i);
        ck_assert_msg(strstr(why, row[i].says), "row %zu: %s", i, why);
        lmb_monitor *k = lmb_monitor_init(memory, &(lmb_monitor_shape){ 3, 50, 1, 5, 0, 0, 0 });
        ck_assert_int_eq(lmb_monitor_expect(k, file, n), LMB_EDGE_E_FORMAT);
    }
    size_t n = as_version_1(file, some_file(file));
    put(file + 36, 1, 4);
    seal(file, n);
    ck_assert_ptr_null(lmb_monitor_read(file, n, memory, why, sizeof why));
    n = some_file(file); /* squares just below those of the bins' lower ends */
    put(file + CHANNEL + 8, lmbi_edge_u64(file + CHANNEL + 8) / 8 * 7, 8);
    seal(file, n);
    ck_assert_ptr_null(lmb_monitor_read(file, n, memory, why, sizeof why));
    lmb_monitor *k = lmb_monitor_read(file, some_file(file), memory, why, sizeof why);
    ck_assert_ptr_nonnull(k);
    k->n_unsure--; /* of 60 predictions the list is full */
    ck_assert_ptr_null(lmb_monitor_read(file, lmb_monitor_write(k, file), memory, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "too many or few"));
    /* a counter that has stopped at its largest value lacks some; sums of as many as can be counted are taken */
    n = some_file(file);
    memset(file + 56, 0, ANSWERS - 56);
    for (int c = 0; c < 3; c++)
        put(file + CHANNEL + 152 * c + 24, UINT64_C(1) << 42, 8);
    put(file + 56 + 40, UINT32_MAX, 4);
    put(file + 56 + 640, UINT32_MAX, 4);
    put(file + ANSWERS, UINT32_MAX, 4);
    put(file + 40, UINT64_C(1) << 37, 8);
    seal(file, n);
    ck_assert_msg(lmb_monitor_read(file, n, memory, why, sizeof why) != NULL, "%s", why);
    free(file);
    free(memory);
}
END_TEST

/* Outputs that are no numbers, as of a device's own scores, are the least certain; what is written is read. */
START_TEST(scores_that_are_no_numbers)
{
    const lmb_monitor_shape shape = { 1, 4, 1, 2, 0, 0, 0 };
    lmb_monitor *k = lmb_monitor_init(malloc(lmb_monitor_bytes(&shape)), &shape);
    uint8_t image[4] = { 0 }, *file = malloc(LMB_MONITOR_MOST), *memory = malloc(LMB_MONITOR_MOST);
    lmb_monitor_add(k, 1, image, (float[2]){ NAN, 1 }, 0);
    lmb_monitor_add(k, 2, image, (float[2]){ INFINITY, 1 }, 0);
    lmb_monitor_add(k, 3, image, (float[2]){ INFINITY, INFINITY }, 0);
    size_t n = lmb_monitor_write(k, file);
    ck_assert_msg(lmb_monitor_read(file, n, memory, why, sizeof why) != NULL, "%s", why);
    ck_assert(k->unsure[0].number == 2 && k->margins[0] == 2 && k->margins[19] == 1);
    k->predictions = (UINT64_C(1) << 37); /* and then nothing is counted any more */
    lmb_monitor_add(k, 4, image, (float[2]){ 1, 0 }, 0);
    ck_assert(k->predictions == UINT64_C(1) << 37 && k->n_unsure == 3);
    free(k);
    free(file);
    free(memory);
}
END_TEST

/* A model carries its reference, beside a release, and a new signature covers both. */
START_TEST(reference_in_the_model)
{
    uint8_t *reference = malloc(LMB_MONITOR_MOST);
    size_t bytes = some_file(reference);
    lmb_edge_buffer file = { NULL, 0, 0 }, a = { NULL, 0, 0 }, b = { NULL, 0, 0 }, c = { NULL, 0, 0 };
    lmb_edge_model m;
    ck_assert_msg(small_network(&file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_write_reference(file.data, file.size, reference, bytes, &a, why, sizeof why),
                     LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_write_release(a.data, a.size, 3, 96, &b, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_write_reference(b.data, b.size, reference, 0, &c, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open(b.data, b.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(m.release == 3 && m.monitor_bytes == bytes);
    ck_assert_mem_eq(m.monitor, reference, bytes);
    ck_assert_int_eq(lmb_edge_open(c.data, c.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(m.release == 3 && m.monitor_bytes == 0 && !m.monitor);
    lmb_monitor_shape shape;
    lmb_monitor_shape_of(&m, &shape);
    ck_assert(shape.channels == 3 && shape.pixels == 30 && shape.planes && shape.classes == NETWORK_OUT &&
              !(shape.scale > 0));
    /* the same network whatever is beside it; another one is another */
    const uint32_t model = lmb_monitor_model(&m);
    ck_assert(shape.model == model && shape.release == 3);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_uint_eq(lmb_monitor_model(&m), model);
    free(file.data);
    file = (lmb_edge_buffer){ NULL, 0, 0 };
    ck_assert_msg(small_network_of(4, 1, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_uint_ne(lmb_monitor_model(&m), model);
    free(file.data);
    free(a.data);
    free(b.data);
    free(c.data);
    free(reference);
}
END_TEST

LMB_TEST_MAIN("core/edge/monitor", add(bins_of_time); add_loop(counters, 2); add(every_pixel_in_the_end);
              add(the_extreme_ones_are_kept); add(file_there_and_back); add(largest_file_fits); add(hostile_files);
              add(contradictions); add(scores_that_are_no_numbers); add(reference_in_the_model);)
