/* Mirrors core/store/bundle.c: bundles in memory, as messages bring them. */
#include "core/store/bundle.h"

#include <string.h>

#include "core/base/hash.h"
#include "tests/check_main.h"

static lmb_error err;

/* One tensor "w" of two floats and one integer "n": the layout of bundle.h, worked by hand. */
static void *two_items(size_t *n)
{
    static const float w2[2] = { 1, 2 };
    lmb_shape two = LMB_SHAPE(2);
    lmb_store_writer *w = NULL;
    void *data = NULL;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_bundle_create(&w, &err));
    ck_ok(lmb_store_put_tensor(w, "w", LMB_F32, &two, w2, &err));
    ck_ok(lmb_store_put_int(w, "n", -2, &err));
    ck_ok(lmb_bundle_bytes(w, &data, n, &err));
    lmb_store_writer_destroy(w);
    return data;
}

START_TEST(layout_is_as_specified)
{
    size_t n;
    unsigned char *b = two_items(&n);
    /* table: 52 + 8 + 1 and 52 + 1 bytes, so it ends at 64 + 114 = 178; the payload lies at 192 */
    static const unsigned char head[] = { 0x89, 'L', 'M', 'B', 13, 10, 0x1a, 10, 1, 0, 0, 0, 2, 0, 0, 0,
                                          114,  0,   0,   0,   0,  0,  0,    0,  200, 0, 0, 0, 0, 0, 0, 0 };
    static const unsigned char first[] = { 1, 1, 1, 1, 192, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0 };
    static const unsigned char second[] = { 3, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    static const unsigned char payload[] = { 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40 };
    lmb_hash h = lmb_hash_of(payload, sizeof payload);

    ck_assert_uint_eq(n, 200);
    ck_assert_mem_eq(b, head, sizeof head);
    ck_assert_mem_eq(b + 64, first, sizeof first);
    ck_assert_mem_eq(b + 84, h.b, 32);
    ck_assert_int_eq(b[116], 2);
    ck_assert_int_eq(b[124], 'w');
    ck_assert_mem_eq(b + 125, second, sizeof second);
    ck_assert_int_eq(b[177], 'n');
    ck_assert_mem_eq(b + 192, payload, sizeof payload);
    free(b);
}
END_TEST

/* The table's own hash can be made right by whoever forges it: what is behind it must be checked as well. */
static void sign(unsigned char *b)
{
    lmb_hasher h;
    lmb_hash got;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, b, 32);
    lmb_hash_add(&h, b + 64, 114);
    got = lmb_hash_end(&h);
    memcpy(b + 32, got.b, 32);
}

/* offset, new value, what is said: each a forged bundle with a right table hash. */
static const struct { int at, value; const char *says; } forged[] = {
    { 12, 3, "its table of contents does not fit" },                /* one entry more than there is      */
    { 12, 1, "bytes that belong to nothing" },                      /* one less                          */
    { 15, 255, "its table of contents does not fit" },              /* 4 billion entries                 */
    { 16, 115, "bytes that belong to nothing" },                    /* see sign(): hashed as 114: refused */
    { 125, 9, "an entry of an unknown kind" },
    { 65, 99, "unknown element type" },
    { 66, 200, "an entry of its table of contents is cut off" },    /* 200 dimensions                    */
    { 67, 255, "an entry of its table of contents is cut off" },    /* a name past the table             */
    { 68, 128, "a value lies outside its place" },                  /* overlaps the table                */
    { 75, 255, "a value lies outside its place" },                  /* offset of 2^63                    */
    { 76, 9, "a value lies outside its place" },                    /* longer than the bundle            */
    { 76, 4, "are damaged" },
    { 116, 3, "whose shape and bytes do not agree" },
    { 123, 255, "an impossible shape" },                            /* negative dimension                */
    { 124, '/', "a name that is not allowed" },
    { 124, 0, "a name with a NUL character" },
    { 124, 'n', "is used for two stored values" },
    { 126, 1, "an entry with a shape that is no tensor" },
    { 140, 1, "a number with a payload" },
    { 180, 1, "the padding between values is not zero" },
    { 199, 1, "are damaged" },
};
START_TEST(forgeries_are_refused)
{
    lmb_store *s = NULL;
    size_t n;
    unsigned char *b = two_items(&n);

    b[forged[_i].at] = (unsigned char)forged[_i].value;
    sign(b);
    ck_assert_int_eq(lmb_bundle_read(b, n, &s, &err), LMB_E_FORMAT);
    if (forged[_i].at != 16)
        ck_assert_msg(strstr(err.msg, forged[_i].says) != NULL, "%s", err.msg);
    free(b);
}
END_TEST

START_TEST(unaligned_buffers_and_exact_lengths)
{
    lmb_store *s = NULL;
    lmb_shape two = LMB_SHAPE(2);
    float got[2];
    size_t n;
    unsigned char *b = two_items(&n), *moved = malloc(n + 1);

    memcpy(moved + 1, b, n);
    ck_ok(lmb_bundle_read(moved + 1, n, &s, &err));
    ck_ok(lmb_store_get_tensor(s, "w", LMB_F32, &two, got, &err));
    ck_assert(got[0] == 1 && got[1] == 2);
    ck_assert_str_eq(lmb_store_at(s, 0)->name, "w");
    ck_assert_str_eq(lmb_store_at(s, 1)->name, "n");
    lmb_store_close(s);
    /* Exact allocations, so that a sanitizer sees the first byte read too many. */
    for (size_t cut = 0; cut < n; cut++) {
        unsigned char *part = malloc(cut ? cut : 1);
        memcpy(part, b, cut);
        ck_assert_int_eq(lmb_bundle_read(part, cut, &s, NULL), LMB_E_FORMAT);
        free(part);
    }
    free(moved);
    free(b);
}
END_TEST

START_TEST(a_newer_version_is_said)
{
    lmb_store *s = NULL;
    size_t n;
    unsigned char *b = two_items(&n);
    b[8] = 2;
    ck_assert_int_eq(lmb_bundle_read(b, n, &s, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "a bundle of version 2; this program reads version 1");
    free(b);
}
END_TEST

LMB_TEST_MAIN("core/store/bundle", add(layout_is_as_specified);
              add_loop(forgeries_are_refused, sizeof forged / sizeof forged[0]);
              add(unaligned_buffers_and_exact_lengths); add(a_newer_version_is_said);)
