/* Mirrors core/store/: every format of the build must hold the same things, and refuse the same damage. */
#include "core/store/store.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/store/bundle.h"
#include "core/store/format.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[256], path[512];

static int count_formats(void)
{
    int n = 0;
    while (lmbi_store_formats[n])
        n++;
    return n;
}

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    ck_ok(lmb_path_join(path, sizeof path, dir, "a.store", &err));
}

static void teardown(void) { temp_remove(dir); }

static const float weights[6] = { 1, -2, 3.5f, 0, INFINITY, -0.0f };
static unsigned char bytes[48];
static char long_text[200001];

static void fill(lmb_store_writer *w)
{
    lmb_shape s23 = LMB_SHAPE(2, 3), scalar = { 0 }, none = LMB_SHAPE(0, 4), s6 = LMB_SHAPE(6);

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 5 + 1);
    memset(long_text, 'x', sizeof long_text - 1);
    ck_ok(lmb_store_put_tensor(w, "model/conv1/weight", LMB_F32, &s23, weights, &err));
    ck_ok(lmb_store_put_tensor(w, "scalar", LMB_F32, &scalar, weights + 2, &err));
    ck_ok(lmb_store_put_tensor(w, "model/empty", LMB_S64, &none, NULL, &err));
    for (int t = 0; t < LMB_DTYPE_COUNT; t++) {
        char name[32];
        snprintf(name, sizeof name, "types/%s", lmb_dtype_name((lmb_dtype)t));
        ck_ok(lmb_store_put_tensor(w, name, (lmb_dtype)t, &s6, bytes, &err));
    }
    ck_ok(lmb_store_put_text(w, "config", "lr: 0.1 # \xc3\xa9\n", &err));
    ck_ok(lmb_store_put_text(w, "empty text", "", &err));
    ck_ok(lmb_store_put_text(w, "long", long_text, &err));
    ck_ok(lmb_store_put_int(w, "run/step", INT64_MIN, &err));
    ck_ok(lmb_store_put_real(w, "run/loss", 0.1, &err));
    ck_ok(lmb_store_put_real(w, "run/nan", NAN, &err));
}

static void verify(const lmb_store *s)
{
    lmb_shape s23 = LMB_SHAPE(2, 3), scalar = { 0 }, none = LMB_SHAPE(0, 4), s6 = LMB_SHAPE(6);
    const char *text;
    unsigned char got[48];
    int64_t i;
    double r;

    ck_assert_uint_eq(lmb_store_count(s), 9 + LMB_DTYPE_COUNT);
    ck_ok(lmb_store_get_tensor(s, "model/conv1/weight", LMB_F32, &s23, got, &err));
    ck_assert_mem_eq(got, weights, sizeof weights);
    ck_ok(lmb_store_get_tensor(s, "scalar", LMB_F32, &scalar, got, &err));
    ck_assert_mem_eq(got, weights + 2, 4);
    ck_ok(lmb_store_get_tensor(s, "model/empty", LMB_S64, &none, NULL, &err));
    for (int t = 0; t < LMB_DTYPE_COUNT; t++) {
        char name[32];
        snprintf(name, sizeof name, "types/%s", lmb_dtype_name((lmb_dtype)t));
        ck_assert_int_eq(lmb_store_find(s, name)->dtype, t);
        ck_ok(lmb_store_get_tensor(s, name, (lmb_dtype)t, &s6, got, &err));
        ck_assert_mem_eq(got, bytes, 6 * lmb_dtype_bytes((lmb_dtype)t));
    }
    ck_ok(lmb_store_get_text(s, "config", &text, &err));
    ck_assert_str_eq(text, "lr: 0.1 # \xc3\xa9\n");
    ck_ok(lmb_store_get_text(s, "empty text", &text, &err));
    ck_assert_str_eq(text, "");
    ck_ok(lmb_store_get_text(s, "long", &text, &err));
    ck_assert_str_eq(text, long_text);
    ck_ok(lmb_store_get_int(s, "run/step", &i, &err));
    ck_assert(i == INT64_MIN);
    ck_ok(lmb_store_get_real(s, "run/loss", &r, &err));
    ck_assert(r == 0.1);
    ck_ok(lmb_store_get_real(s, "run/nan", &r, &err));
    ck_assert(isnan(r));
}

static void write_full(const char *format)
{
    lmb_store_writer *w = NULL;
    ck_ok(lmb_store_create(path, format, &w, &err));
    fill(w);
    ck_ok(lmb_store_commit(w, &err));
    lmb_store_writer_destroy(w);
}

START_TEST(everything_comes_back)
{
    lmb_store *s = NULL;
    char tmp[600];
    void *first, *second;
    size_t n, m;

    setup();
    write_full(lmbi_store_formats[_i]->name);
    ck_ok(lmb_store_open(path, &s, &err));
    verify(s);
    lmb_store_close(s);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    ck_assert(!lmb_file_exists(tmp));
    ck_ok(lmb_file_read(path, 1 << 24, &first, &n, &err));
    write_full(lmbi_store_formats[_i]->name); /* the same content gives the same bytes */
    ck_ok(lmb_file_read(path, 1 << 24, &second, &m, &err));
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(first, second, n);
    free(first);
    free(second);
    lmb_store_close(NULL);
    lmb_store_writer_destroy(NULL);
    teardown();
}
END_TEST

START_TEST(an_empty_store)
{
    lmb_store_writer *w = NULL;
    lmb_store *s = NULL;
    setup();
    ck_ok(lmb_store_create(path, lmbi_store_formats[_i]->name, &w, &err));
    ck_ok(lmb_store_commit(w, &err));
    lmb_store_writer_destroy(w);
    ck_ok(lmb_store_open(path, &s, &err));
    ck_assert_uint_eq(lmb_store_count(s), 0);
    ck_assert_ptr_null(lmb_store_find(s, "a"));
    lmb_store_close(s);
    teardown();
}
END_TEST

START_TEST(wrong_expectations_are_said)
{
    lmb_shape wrong = LMB_SHAPE(3, 2), right = LMB_SHAPE(2, 3);
    lmb_store *s = NULL;
    float got[6];
    int64_t i;

    setup();
    write_full(lmbi_store_formats[_i]->name);
    ck_ok(lmb_store_open(path, &s, &err));
    ck_assert_int_eq(lmb_store_get_tensor(s, "model/conv1/weight", LMB_F32, &wrong, got, &err), LMB_E_SHAPE);
    ck_assert_str_eq(err.msg, "'model/conv1/weight' is stored as f32 [2, 3], but f32 [3, 2] is wanted");
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_store_get_tensor(s, "model/conv1/weight", LMB_S32, &right, got, &err), LMB_E_SHAPE);
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_store_get_int(s, "run/loss", &i, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "'run/loss' is stored as a real number, not as an integer");
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_store_get_int(s, "run/epoch", &i, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "'run/epoch', an integer, is not stored here");
    lmb_store_close(s);
    teardown();
}
END_TEST

/* A small store, of which no byte may change unnoticed. */
static void write_small(const char *format)
{
    lmb_store_writer *w = NULL;
    lmb_shape s23 = LMB_SHAPE(2, 3);
    ck_ok(lmb_store_create(path, format, &w, &err));
    ck_ok(lmb_store_put_tensor(w, "g/w", LMB_F32, &s23, weights, &err));
    ck_ok(lmb_store_put_text(w, "t", "text", &err));
    ck_ok(lmb_store_put_int(w, "i", 42, &err));
    ck_ok(lmb_store_commit(w, &err));
    lmb_store_writer_destroy(w);
}

static void verify_small(const lmb_store *s)
{
    lmb_shape s23 = LMB_SHAPE(2, 3);
    float got[6];
    const char *text;
    int64_t i;

    ck_assert_uint_eq(lmb_store_count(s), 3);
    ck_ok(lmb_store_get_tensor(s, "g/w", LMB_F32, &s23, got, &err));
    ck_assert_mem_eq(got, weights, sizeof got);
    ck_ok(lmb_store_get_text(s, "t", &text, &err));
    ck_assert_str_eq(text, "text");
    ck_ok(lmb_store_get_int(s, "i", &i, &err));
    ck_assert_int_eq(i, 42);
}

static void write_raw(const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

START_TEST(damage_is_refused)
{
    size_t n, step = _i == 0 ? 1 : 5; /* every byte of the bundle; HDF5 files are larger and sealed as a whole */
    unsigned char *data;
    void *mem;

    setup();
    write_small(lmbi_store_formats[_i]->name);
    ck_ok(lmb_file_read(path, 1 << 24, &mem, &n, &err));
    data = mem;
    for (size_t at = 0; at < n; at += step) {
        lmb_store *s = NULL;
        data[at] ^= (unsigned char)(1 << at % 8);
        write_raw(data, n);
        data[at] ^= (unsigned char)(1 << at % 8);
        lmb_error_clear(&err);
        ck_assert_msg(lmb_store_open(path, &s, &err) == LMB_E_FORMAT, "byte %zu: %s", at, err.msg);
        ck_assert_int_ne(err.msg[0], 0);
    }
    for (size_t cut = 0; cut < n; cut += step) {
        lmb_store *s = NULL;
        write_raw(data, cut);
        ck_assert_msg(lmb_store_open(path, &s, NULL) == LMB_E_FORMAT, "%zu of %zu bytes were accepted", cut, n);
    }
    free(mem);
    teardown();
}
END_TEST

static const char *const bad_names[] = { "", "/a", "a/", "a//b", "a/../b", ".", "tab\there", "limbeck.format" };
START_TEST(bad_names_are_refused)
{
    lmb_store_writer *w = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_bundle_create(&w, &err));
    ck_assert_int_eq(lmb_store_put_int(w, bad_names[_i], 1, &err), LMB_E_ARG);
    lmb_store_writer_destroy(w);
}
END_TEST

static const struct { const char *a, *b, *says; } clashes[] = {
    { "x", "x", "the name 'x' is used for two stored values" },
    { "x/y", "x", "'x' names both a stored value and the folder of 'x/y'" },
};
START_TEST(clashing_names_are_refused)
{
    lmb_store_writer *w = NULL;
    void *data;
    size_t n;
    char name[202];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_bundle_create(&w, &err));
    ck_ok(lmb_store_put_int(w, "x-1", 1, &err)); /* sorts between "x" and "x/y" in plain byte order */
    ck_ok(lmb_store_put_int(w, clashes[_i].a, 1, &err));
    ck_ok(lmb_store_put_int(w, clashes[_i].b, 1, &err));
    ck_assert_int_eq(lmb_bundle_bytes(w, &data, &n, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, clashes[_i].says);
    memset(name, 'n', 201);
    name[201] = '\0';
    ck_assert_int_eq(lmb_store_put_int(w, name, 1, NULL), LMB_E_ARG);
    name[200] = '\0';
    lmb_error_clear(&err);
    ck_ok(lmb_store_put_int(w, name, 1, &err));
    lmb_store_writer_destroy(w);
}
END_TEST

START_TEST(failed_commits_leave_the_old_file)
{
    lmb_store_writer *w = NULL;
    lmb_store *s = NULL;

    setup();
    write_small(lmbi_store_formats[_i]->name);
    ck_ok(lmb_store_create(path, lmbi_store_formats[_i]->name, &w, &err));
    ck_ok(lmb_store_put_int(w, "x", 1, &err));
    ck_ok(lmb_store_put_int(w, "x", 1, &err));
    ck_assert_int_eq(lmb_store_commit(w, &err), LMB_E_ARG);
    lmb_store_writer_destroy(w);
    lmb_error_clear(&err);
    ck_ok(lmb_store_open(path, &s, &err));
    verify_small(s);
    lmb_store_close(s);
    ck_ok(lmb_store_create("/nowhere/at/all", lmbi_store_formats[_i]->name, &w, &err));
    ck_assert_int_eq(lmb_store_commit(w, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strcasestr(err.msg, "no such file"));
    lmb_store_writer_destroy(w);
    teardown();
}
END_TEST

START_TEST(other_files_are_refused)
{
    lmb_store *s = NULL;
    lmb_store_writer *w = NULL;
    setup();
    ck_assert_int_eq(lmb_store_open(path, &s, &err), LMB_E_IO);
    lmb_error_clear(&err);
    write_raw("PK\3\4 something else", 20);
    ck_assert_int_eq(lmb_store_open(path, &s, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "neither a bundle nor an HDF5 file"));
    ck_assert_int_eq(lmb_store_create(path, "zip", &w, NULL), LMB_E_ARG);
    write_raw("\x89HDF\r\n\x1a\n", 8);
    lmb_error_clear(&err);
    if (count_formats() == 1) {
        ck_assert_int_eq(lmb_store_open(path, &s, &err), LMB_E_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.msg, "this build has no HDF5"));
    } else {
        ck_assert_int_eq(lmb_store_open(path, &s, &err), LMB_E_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.msg, "has no end mark"));
    }
    teardown();
}
END_TEST

LMB_TEST_MAIN("core/store/store", int n = count_formats(); add_loop(everything_comes_back, n);
              add_loop(an_empty_store, n); add_loop(wrong_expectations_are_said, n); add_loop(damage_is_refused, n);
              add_loop(failed_commits_leave_the_old_file, n);
              add_loop(bad_names_are_refused, sizeof bad_names / sizeof bad_names[0]);
              add_loop(clashing_names_are_refused, sizeof clashes / sizeof clashes[0]); add(other_files_are_refused);)
