/* Mirrors core/base/str.c. */
#include "core/base/str.h"

#include <math.h>
#include <string.h>

#include "tests/check_main.h"

static lmb_error err;

START_TEST(appends_grow)
{
    lmb_str s = LMB_STR_INIT;
    err = (lmb_error)LMB_ERROR_INIT;
    for (int i = 0; i < 1000; i++)
        lmb_str_addf(&s, "%d,", i % 10);
    ck_ok(lmb_str_check(&s, &err));
    ck_assert_uint_eq(s.n, 2000);
    ck_assert_uint_eq(strlen(s.text), 2000);
    lmb_str_clear(&s);
    lmb_str_add(&s, "");
    ck_assert_str_eq(s.text, "");
    lmb_str_add_n(&s, "a\0b", 3);
    ck_assert_mem_eq(s.text, "a\0b", 4);
    lmb_str_free(&s);
    ck_assert_ptr_null(s.text);
}
END_TEST

START_TEST(failure_sticks)
{
    lmb_str s = LMB_STR_INIT;
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_str_add(&s, "kept");
    lmb_str_add_n(&s, "x", (size_t)-1 / 2 + 1);
    lmb_str_add(&s, "not added");
    ck_assert_str_eq(s.text, "kept");
    ck_assert_int_eq(lmb_str_check(&s, &err), LMB_E_NOMEM);
    lmb_str_free(&s);
}
END_TEST

/* Ill-formed sequences are those of the Unicode standard, table 3-7: overlong, surrogate, too large, cut. */
static const struct { const char *in, *out; } json[] = {
    { "plain", "\"plain\"" },
    { "a\"b\\c\n\t\x01\x7f", "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\"" },
    { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
    { "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
    { "\xf4\x90\x80\x80z", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"" },
    { "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
};
START_TEST(json_text)
{
    lmb_str s = LMB_STR_INIT;
    lmb_str_add_json(&s, json[_i].in);
    ck_assert_str_eq(s.text, json[_i].out);
    lmb_str_free(&s);
}
END_TEST

static const struct { double in; const char *out; } numbers[] = {
    { 0, "0" },         { -0.0, "-0" },       { 0.1, "0.1" },     { 100000, "100000" },
    { 1e300, "1e+300" }, { 5e-324, "5e-324" }, { NAN, "null" },    { -INFINITY, "null" },
    { 1.0 / 3, "0.3333333333333333" },        { 0.1 + 0.2, "0.30000000000000004" },
};
START_TEST(json_numbers)
{
    lmb_str s = LMB_STR_INIT;
    lmb_str_add_number(&s, numbers[_i].in);
    ck_assert_str_eq(s.text, numbers[_i].out);
    if (isfinite(numbers[_i].in))
        ck_assert(strtod(s.text, NULL) == numbers[_i].in);
    lmb_str_free(&s);
}
END_TEST

START_TEST(json_members)
{
    lmb_str s = LMB_STR_INIT;
    lmb_str_add(&s, "{\"a\": 1");
    lmb_str_add_member(&s, "b \"c\"", 0.25);
    lmb_str_add_member(&s, "d", NAN);
    ck_assert_str_eq(s.text, "{\"a\": 1, \"b \\\"c\\\"\": 0.25, \"d\": null");
    lmb_str_free(&s);
}
END_TEST

START_TEST(html_text)
{
    lmb_str s = LMB_STR_INIT;
    lmb_str_add_html(&s, "<b a=\"1\">&'");
    ck_assert_str_eq(s.text, "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
    lmb_str_free(&s);
}
END_TEST

LMB_TEST_MAIN("core/base/str", add(appends_grow); add(failure_sticks);
              add_loop(json_text, sizeof json / sizeof json[0]);
              add_loop(json_numbers, sizeof numbers / sizeof numbers[0]); add(json_members); add(html_text);)
