/* Mirrors core/base/scan.c. */
#include "core/base/scan.h"

#include <fnmatch.h>
#include <string.h>

#include "tests/check_main.h"

START_TEST(counts)
{
    uint64_t v = 7;
    const char *at = "0123x";
    ck_assert(!lmb_scan_count(&at, 3, &v) && strcmp(at, "0123x") == 0 && v == 7); /* more digits than allowed */
    ck_assert(lmb_scan_count(&at, 4, &v) && v == 123 && *at == 'x');
    ck_assert(!lmb_scan_count(&at, 4, &v));
    at = "18446744073709551615";
    ck_assert(lmb_scan_count(&at, 20, &v) && v == UINT64_MAX && !*at);
    at = "18446744073709551616";
    ck_assert(!lmb_scan_count(&at, 20, &v));
    const char *none[] = { "", "-1", "+1", " 1" };
    for (int i = 0; i < 4; i++) {
        at = none[i];
        ck_assert(!lmb_scan_count(&at, 20, &v) && at == none[i]);
    }
}
END_TEST

START_TEST(words)
{
    char out[4];
    const char *at = "abc=";
    ck_assert(lmb_scan_word(&at, "abc", out, sizeof out) && strcmp(out, "abc") == 0);
    ck_assert(!lmb_scan_char(&at, ':') && lmb_scan_char(&at, '=') && !*at);
    ck_assert(!lmb_scan_char(&at, 0) && !lmb_scan_word(&at, "abc", out, sizeof out)); /* not past the end */
    at = "abca";
    ck_assert(!lmb_scan_word(&at, "abc", out, sizeof out) && strcmp(at, "abca") == 0);
}
END_TEST

/* What a shell says of the same, for every pattern of up to 5 of these bytes: no sets but by the cases below. */
START_TEST(patterns_as_in_a_shell)
{
    static const char bytes[] = "a*?b", letters[] = "ab";
    char pattern[6], text[6];
    for (int p = 0; p < 4 * 4 * 4 * 4 * 4; p++)
        for (int t = 0; t < 32; t++)
            for (int n = 0; n <= 5; n++) {
                for (int i = 0, v = p, w = t; i < 5; i++, v /= 4, w /= 2) {
                    pattern[i] = bytes[v % 4];
                    text[i] = letters[w % 2];
                }
                pattern[5] = 0;
                text[n] = 0;
                ck_assert_msg(lmb_matches(pattern, text) == (fnmatch(pattern, text, 0) == 0), "%s %s", pattern, text);
            }
}
END_TEST

START_TEST(sets)
{
    static const char *pattern[] = { "[abc]", "[a-c]x", "[!a-c]", "[]a]", "[!]a]", "[a-]", "*[0-9].w*",
        "head.[01].weight", "[a", "[", "[!", "[]", "[!]",
                                     "a[", "*[", "x[!", "[a-c-e]" };
    static const char *text[] = { "a", "b", "ax", "x", "]", "-", "block12.weight", "head.1.weight", "head.2.weight",
        "[a", "[", "[!", "[]", "[!]", "a[", "x[!",
                                  "d", "" };
    for (size_t p = 0; p < sizeof pattern / sizeof *pattern; p++)
        for (size_t t = 0; t < sizeof text / sizeof *text; t++)
            ck_assert_msg(lmb_matches(pattern[p], text[t]) == (fnmatch(pattern[p], text[t], 0) == 0), "%s %s",
                          pattern[p], text[t]);
}
END_TEST

START_TEST(no_pattern_takes_long)
{
    static char text[20001], pattern[2001];
    memset(text, 'a', 20000);
    for (int i = 0; i < 1999; i++)
        pattern[i] = "*a"[i % 2];
    pattern[1999] = 'b';
    ck_assert(!lmb_matches(pattern, text)); /* by trying all ways there would be no end */
}
END_TEST

LMB_TEST_MAIN("core/base/scan", add(counts); add(words); add(patterns_as_in_a_shell); add(sets);
              add(no_pattern_takes_long);)
