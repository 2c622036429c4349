/* Mirrors train/events.c: event files are parsed back by code of this test alone. */
#include "train/events.h"

#include <dirent.h>
#include <math.h>
#include <string.h>

#include "core/base/file.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[256];

/* Bit by bit, from the polynomial: 0x1EDC6F41 reflected. */
static uint32_t crc32c(const unsigned char *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

/* RFC 3720, B.4: CRC examples. */
START_TEST(the_test_itself_knows_crc32c)
{
    unsigned char b[32];
    memset(b, 0, sizeof b);
    ck_assert_uint_eq(crc32c(b, 32), 0x8a9136aau);
    memset(b, 0xff, sizeof b);
    ck_assert_uint_eq(crc32c(b, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        b[i] = (unsigned char)i;
    ck_assert_uint_eq(crc32c(b, 32), 0x46dd794eu);
}
END_TEST

static uint64_t le(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* The record at *at: checks its frame, returns its message and moves on. */
static const unsigned char *record(const unsigned char *file, size_t n, size_t *at, size_t *bytes)
{
    const unsigned char *p = file + *at;
    ck_assert_uint_le(*at + 16, n);
    *bytes = (size_t)le(p, 8);
    ck_assert_uint_le(*at + 16 + *bytes, n);
    ck_assert_uint_eq(le(p + 8, 4), masked(crc32c(p, 8)));
    ck_assert_uint_eq(le(p + 12 + *bytes, 4), masked(crc32c(p + 12, *bytes)));
    *at += 16 + *bytes;
    return p + 12;
}

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
}

START_TEST(files_begin_as_tensorflow_writes_them)
{
    /* The bytes with which every TensorFlow event file begins: a length of 24 and its masked CRC. */
    static const unsigned char head[] = { 0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22, 0x09 };
    static const unsigned char version[] = "\x1a\x0d" "brain.Event:2";
    lmb_events e;
    void *data;
    size_t n, at = 0, bytes;

    setup();
    ck_ok(lmb_events_begin(&e, dir, 1.5, &err));
    ck_assert_ptr_nonnull(strstr(e.path, "events.out.tfevents.0000000001."));
    ck_ok(lmb_file_read(e.path, 1000, &data, &n, &err));
    ck_assert_mem_eq(data, head, sizeof head);
    ck_assert_mem_eq(record(data, n, &at, &bytes) + 9, version, 15);
    ck_assert_uint_eq(at, n);
    free(data);
    temp_remove(dir);
}
END_TEST

/* Worked by hand from the wire format: keys are field * 8 + type, 300 is the varint ac 02. */
START_TEST(a_scalar_to_the_byte)
{
    static const unsigned char want[] = {
        0x09, 0, 0, 0, 0, 0, 0, 0, 0x40,       /* 1: double 2.0          */
        0x10, 0xac, 0x02,                      /* 2: varint 300          */
        0x2a, 0x0d, 0x0a, 0x0b,                /* 5: 13 bytes, 1: 11 bytes */
        0x0a, 0x04, 'l', 'o', 's', 's',        /* 1: "loss"              */
        0x15, 0, 0, 0xc0, 0x3f,                /* 2: float 1.5           */
    };
    lmb_events e;
    void *data;
    size_t n, at = 0, bytes;

    setup();
    ck_ok(lmb_events_begin(&e, dir, 0, &err));
    ck_ok(lmb_events_scalar(&e, "loss", 300, 2.0, 1.5, &err));
    ck_ok(lmb_file_read(e.path, 1000, &data, &n, &err));
    record(data, n, &at, &bytes);
    const unsigned char *m = record(data, n, &at, &bytes);
    ck_assert_uint_eq(bytes, sizeof want);
    ck_assert_mem_eq(m, want, sizeof want);
    ck_assert_uint_eq(at, n);
    free(data);
    temp_remove(dir);
}
END_TEST

START_TEST(extremes_fit_and_nonsense_is_refused)
{
    char tag[LMB_EVENTS_TAG + 2];
    lmb_events e;
    void *data;
    size_t n, at = 0, bytes;
    int records = 0;

    setup();
    memset(tag, 't', sizeof tag);
    tag[LMB_EVENTS_TAG + 1] = '\0';
    ck_ok(lmb_events_begin(&e, dir, 0, &err));
    ck_assert_int_eq(lmb_events_scalar(&e, tag, 1, 0, 0, NULL), LMB_E_ARG);
    ck_assert_int_eq(lmb_events_scalar(&e, "", 1, 0, 0, NULL), LMB_E_ARG);
    ck_assert_int_eq(lmb_events_scalar(&e, "loss", -1, 0, 0, &err), LMB_E_ARG);
    lmb_error_clear(&err);
    tag[LMB_EVENTS_TAG] = '\0';
    ck_ok(lmb_events_scalar(&e, tag, INT64_MAX, 0, NAN, &err));
    ck_ok(lmb_file_read(e.path, 10000, &data, &n, &err));
    for (; at < n; records++)
        record(data, n, &at, &bytes);
    ck_assert_int_eq(records, 2);
    free(data);
    temp_remove(dir);
}
END_TEST

START_TEST(a_resumed_run_has_its_own_file)
{
    lmb_events a, b;
    setup();
    ck_ok(lmb_events_begin(&a, dir, 7, &err));
    ck_ok(lmb_events_begin(&b, dir, 7, &err));
    ck_assert_str_ne(a.path, b.path);
    temp_remove(dir);
}
END_TEST

/* ---- epochs, and a run that goes on ---- */

typedef struct point { int64_t step; char tag[40]; float value; } point;

static uint64_t varint(const unsigned char **p)
{
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        v |= (uint64_t)(**p & 0x7f) << shift;
        if (*(*p)++ < 0x80)
            return v;
    }
}

/* Event { 1: double, 2: step, 5: Summary { 1: Value { 1: tag, 2: float } } } */
static point parse(const unsigned char *m, size_t n)
{
    point out = { 0 };
    const unsigned char *p = m + 9, *end = m + n;
    uint32_t bits;

    ck_assert(m[0] == 0x09 && *p++ == 0x10);
    out.step = (int64_t)varint(&p);
    for (int level = 0; level < 2; level++) {
        ck_assert_int_eq(*p++, level ? 0x0a : 0x2a);
        ck_assert_uint_eq(varint(&p), (uint64_t)(end - p));
    }
    ck_assert_int_eq(*p++, 0x0a);
    size_t tag = varint(&p);
    ck_assert_uint_lt(tag, sizeof out.tag);
    memcpy(out.tag, p, tag);
    p += tag;
    ck_assert(*p == 0x15 && p + 5 == end);
    bits = (uint32_t)le(p + 1, 4);
    memcpy(&out.value, &bits, 4);
    return out;
}

/* All points of all event files in `dir`, file by file; *files: how many. */
static int read_all(point *out, int cap, int *files)
{
    int n = 0;
    DIR *d = opendir(dir);

    *files = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        void *data;
        size_t bytes, at = 0, size;
        if (!strstr(e->d_name, "tfevents"))
            continue;
        (*files)++;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        ck_ok(lmb_file_read(path, 1 << 20, &data, &bytes, &err));
        record(data, bytes, &at, &size);
        while (at < bytes) {
            ck_assert_int_lt(n, cap);
            const unsigned char *m = record(data, bytes, &at, &size);
            out[n++] = parse(m, size);
        }
        free(data);
    }
    closedir(d);
    return n;
}

static void tell(const lmb_events *e, int64_t epoch, bool valid)
{
    lmb_epoch x = { .epoch = epoch, .loss = 10 + (double)epoch, .accuracy = 0.5, .lr = 0.25, .images_per_second = 100,
                    .valid_loss = valid ? 2 : -1, .valid_accuracy = valid ? 0.75 : -1 };
    ck_ok(lmb_events_epoch(e, 1e9, &x, &err));
}

START_TEST(an_epoch_is_six_points)
{
    static const point want[] = { { 4, "train/loss", 13 }, { 4, "train/accuracy", 0.5f }, { 4, "train/lr", 0.25f },
                                  { 4, "train/images_per_second", 100 }, { 4, "valid/loss", 2 }, { 4, "valid/accuracy",
                                    0.75f } };
    point p[20];
    lmb_events e;
    int files;

    setup();
    ck_ok(lmb_events_begin(&e, dir, 7, &err));
    tell(&e, 3, true);
    tell(&e, 4, false);
    ck_assert_int_eq(read_all(p, 20, &files), 6 + 4);
    for (int i = 0; i < 6; i++)
        ck_assert(p[i].step == want[i].step && strcmp(p[i].tag, want[i].tag) == 0 && p[i].value == want[i].value);
    temp_remove(dir);
}
END_TEST

START_TEST(a_run_that_goes_on_tells_nothing_twice)
{
    point p[100];
    int files, seen[400] = { 0 };
    lmb_events e;
    size_t n;
    void *data;

    setup();
    for (int64_t turn = 0, done = 0; turn < 3; turn++, done += 100) {
        ck_ok(lmb_events_cut(dir, done, &err)); /* the checkpoint is of this many epochs */
        ck_ok(lmb_events_begin(&e, dir, 7, &err));
        for (int64_t k = 0; k < 3; k++) /* 300 needs two bytes */
            tell(&e, done + 50 * k, false);
    }
    ck_ok(lmb_file_read(e.path, 1 << 20, &data, &n, &err)); /* a record torn by a crash */
    ck_ok(lmb_file_write(e.path, data, n - 3, &err));
    free(data);
    ck_ok(lmb_events_begin(&e, dir, 8, &err)); /* a start that came to nothing */
    ck_ok(lmb_events_cut(dir, 301, &err));
    int all = read_all(p, 100, &files);
    ck_assert_int_eq(files, 3);
    for (int i = 0; i < all; i++)
        seen[p[i].step] += strcmp(p[i].tag, "train/loss") == 0;
    for (int s = 0; s < 400; s++)
        ck_assert_int_eq(seen[s], s % 50 == 1 && s <= 301);
    ck_assert_int_eq(all, 7 * 4 - 1);
    ck_ok(lmb_events_cut(dir, 0, &err)); /* a fresh start */
    ck_assert_int_eq(read_all(p, 100, &files), 0);
    ck_assert_int_eq(files, 0);
    ck_ok(lmb_events_cut("/nowhere/at/all", 0, &err));
    temp_remove(dir);
}
END_TEST

LMB_TEST_MAIN("train/events", add(the_test_itself_knows_crc32c); add(files_begin_as_tensorflow_writes_them);
              add(a_scalar_to_the_byte); add(extremes_fit_and_nonsense_is_refused);
              add(a_resumed_run_has_its_own_file); add(an_epoch_is_six_points);
              add(a_run_that_goes_on_tells_nothing_twice);)
