/* Mirrors core/base/text.c. */
#include "core/base/text.h"

#include <string.h>

#include "core/base/log.h"
#include "tests/check_main.h"

/* Well-formed UTF-8 by table 3-7 of the Unicode standard: the first and last of each row, and what lies beside them. */
START_TEST(well_formed)
{
    static const char *const good[] = { "a",
                                        "\x7f",
                                        "\xc2\x80",
                                        "\xdf\xbf",
                                        "\xe0\xa0\x80",
                                        "\xec\xbf\xbf",
                                        "\xed\x9f\xbf",
                                        "\xef\xbf\xbf",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf" },
                             *const bad[] = { "\x80",
                                              "\xbf",
                                              "\xc0\xaf",
                                              "\xc1\xbf",
                                              "\xc2",
                                              "\xc2"
                                              "a",
                                              "\xe0\x9f\xbf",
                                              "\xed\xa0\x80",
                                              "\xe2\x82",
                                              "\xf0\x8f\xbf\xbf",
                                              "\xf4\x90\x80\x80",
                                              "\xf5\x80\x80\x80",
                                              "\xff" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_uint_eq(lmb_utf8_length(good[i]), strlen(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_uint_eq(lmb_utf8_length(bad[i]), 0);
}
END_TEST

/* What a terminal obeys is not shown; letters of all scripts are. */
START_TEST(shown)
{
    static const char *const steering[] = { "\x1b",
                                            "\n",
                                            "\x7f",
                                            "\xc2\x85",
                                            "\xc2\x9b" /* CSI */,
                                            "\xe2\x80\xa8",
                                            "\xe2\x80\xae" /* backwards */,
                                            "\xe2\x81\xa6",
                                            "\xd8\x9c",
                                            "\x9b",
                                            "" };
    char text[] = "J\xc3\xbcrgen \xe7\x8e\x8b\xf0\x9f\x8c\xb3 \xc2\x9b" "31m \x1b[1m\r\xe2\x80\xae" "abc\xff";

    for (size_t i = 0; i < sizeof steering / sizeof *steering; i++)
        ck_assert_uint_eq(lmb_text_length(steering[i]), 0);
    lmb_text_clean(text);
    ck_assert_str_eq(text, "J\xc3\xbcrgen \xe7\x8e\x8b\xf0\x9f\x8c\xb3 ??31m ?[1m????abc?");
}
END_TEST

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)level, (void)subsystem;
    snprintf(ctx, 100, "%s", text);
}

START_TEST(logs_and_errors_are_clean)
{
    char said[100];
    lmb_log log = { on_line, said, LMB_LOG_INFO };
    lmb_error err = LMB_ERROR_INIT;

    lmb_log_at(&log, LMB_LOG_INFO, "test", "client %s", "x\xc2\x9b" "2J\n");
    ck_assert_str_eq(said, "client x??2J?");
    ck_assert_int_eq(LMB_FAIL(&err, LMB_E_ARG, "layer '%s'", "a\xe2\x80\xae" "b"), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "layer 'a???b'");
}
END_TEST

LMB_TEST_MAIN("core/base/text", add(well_formed); add(shown); add(logs_and_errors_are_clean);)
