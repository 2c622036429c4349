/* Mirrors comm/invite.c. */
#include "comm/invite.h"

#include <stdio.h>
#include <string.h>

#include "tests/check_main.h"

static lmb_error err;

static lmb_invite example(const char *host)
{
    lmb_invite in = { { 0 }, 7100, { 0 }, { 0 } };
    snprintf(in.host, sizeof in.host, "%s", host);
    for (int i = 0; i < 32; i++)
        in.server_public[i] = (uint8_t)(i * 7 + 1);
    for (int i = 0; i < 16; i++)
        in.token[i] = (uint8_t)(200 + i);
    return in;
}

START_TEST(round_trip)
{
    static const char *const hosts[] = { "fed.example.org", "127.0.0.1", "::1", "fe80::1%eth0" };
    lmb_invite in = example(hosts[_i]), out;
    char text[LMB_INVITE_MAX], line[LMB_INVITE_MAX + 2];
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_invite_format(&in, text, &err));
    snprintf(line, sizeof line, "%s\r\n", text); /* as pasted */
    ck_ok(lmb_invite_parse(line, &out, &err));
    ck_assert_str_eq(out.host, in.host);
    ck_assert_int_eq(out.port, in.port);
    ck_assert_mem_eq(out.server_public, in.server_public, 32);
    ck_assert_mem_eq(out.token, in.token, 16);
}
END_TEST

START_TEST(hosts)
{
    static const char *const good[] = { "fed.example.org", "192.0.2.1", "::1", "2001:db8::7", "fe80::1%eth0" };
    static const char *const bad[] = { "", "a b", "fed.example.org:7100", "[::1]", "::1::", "http://fed.example.org" };
    char line[LMB_INVITE_MAX];
    lmb_invite out;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_invite_check_host(good[i], &err));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_invite_check_host(bad[i], &err), LMB_E_ARG);
    }
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_invite_check_host(line, &err), LMB_E_ARG);
    lmb_invite in = example("::1");
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_invite_format(&in, line, &err));
    memcpy(strstr(line, "::1"), "a:1", 3);
    ck_assert_int_eq(lmb_invite_parse(line, &out, &err), LMB_E_FORMAT);
}
END_TEST

START_TEST(every_cut_is_refused)
{
    lmb_invite in = example("fed.example.org"), out;
    char text[LMB_INVITE_MAX];
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_invite_format(&in, text, &err));
    for (size_t n = strlen(text); n-- > 0;) {
        text[n] = 0;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_invite_parse(text, &out, &err), LMB_E_FORMAT);
        ck_assert(!strstr(err.msg, "yMnKy")); /* the token is never quoted */
    }
}
END_TEST

START_TEST(nonsense_is_refused)
{
    static const char *const bad[] = {
        "", "lmb1", "lmb1:", "lmb2:h:1:a:b", "lmb1:[::1:7100:a:b", "lmb1:[", "lmb1::7100:a:b", "lmb1:h:0:a:b",
        "lmb1:h:65536:a:b", "lmb1:h:123456:a:b", "lmb1:h:-1:a:b", "lmb1:a b:1:a:b", "lmb1:h:1:a:b", "lmb1:h::a:b",
    };
    lmb_invite out;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_invite_parse(bad[_i], &out, &err), LMB_E_FORMAT);
    ck_assert_uint_gt(strlen(err.msg), 20);
}
END_TEST

START_TEST(token_halves_differ_and_are_stable)
{
    uint8_t token[LMB_TOKEN_BYTES] = { 1 };
    lmb_token a = lmb_token_derive(token), b = lmb_token_derive(token);
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_mem_ne(a.id, a.psk, LMB_TOKEN_ID);
    token[15] ^= 1;
    b = lmb_token_derive(token);
    ck_assert_mem_ne(a.id, b.id, LMB_TOKEN_ID);
    ck_assert_mem_ne(a.psk, b.psk, LMB_NOISE_KEY);
}
END_TEST

LMB_TEST_MAIN("comm/invite", add_loop(round_trip, 4); add(hosts); add(every_cut_is_refused);
              add_loop(nonsense_is_refused, 14); add(token_halves_differ_and_are_stable);)
