/* Mirrors core/edge/time/frames.c and serve.c: a device in this process, asked through memory. What is no question is
 * told so and ends it; what can not be done is told so and does not. */
#include "core/edge/time/serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/edge/internal.h"
#include "tests/check_main.h"
#include "tests/core/edge/network.h"

enum { CAP = 1 << 17 };

typedef struct tape {
    uint8_t in[CAP], out[CAP];
    size_t n_in, at, n_out, most; /* most: answers beyond that nobody takes; 0: all are taken */
} tape;
static tape t;
static char why[200];

static size_t tape_read(void *ctx, void *to, size_t n)
{
    tape *x = ctx;
    size_t k = x->n_in - x->at < n ? x->n_in - x->at : n;

    memcpy(to, x->in + x->at, k);
    x->at += k;
    return k;
}

static bool tape_write(void *ctx, const void *from, size_t n)
{
    tape *x = ctx;
    if (n > CAP - x->n_out || (x->most && x->n_out + n > x->most))
        return false;
    memcpy(x->out + x->n_out, from, n);
    x->n_out += n;
    return true;
}

static void ask(lmb_frame_kind kind, const void *body, size_t n)
{
    lmb_frame_seal(t.in + t.n_in, kind, body, n);
    if (n)
        memcpy(t.in + t.n_in + LMB_FRAME_HEAD, body, n);
    t.n_in += LMB_FRAME_HEAD + n;
}

static void ask_hello(void)
{
    uint8_t body[LMB_FRAME_BODY];
    lmb_frame_hello h = { LMB_FRAME_VERSION, "", "", "" };
    lmb_frame_put_hello(body, &h);
    ask(LMB_FRAME_HELLO, body, 6);
}

static void ask_op(uint32_t op)
{
    uint8_t body[LMB_FRAME_BODY];
    ask(LMB_FRAME_OP, body, lmb_frame_put_op(body, op));
}

static bool serve(void)
{
    const lmb_edge_line line = { tape_read, tape_write, &t };
    t.at = t.n_out = 0;
    return lmb_edge_serve(&line, why, sizeof why);
}

/* The next answer. */
static const uint8_t *answer(size_t *at, lmb_frame_kind want, size_t *n)
{
    lmb_frame_kind kind;

    ck_assert_uint_le(*at + LMB_FRAME_HEAD, t.n_out);
    const uint8_t *head = t.out + *at;
    ck_assert_ptr_null(lmb_frame_open(head, &kind, n));
    ck_assert_uint_le(*at + LMB_FRAME_HEAD + *n, t.n_out);
    ck_assert(lmb_frame_intact(head, head + LMB_FRAME_HEAD, *n));
    ck_assert_int_eq(kind, want);
    *at += LMB_FRAME_HEAD + *n;
    return head + LMB_FRAME_HEAD;
}

static void says(size_t *at, const char *words)
{
    char text[LMB_FRAME_BODY + 1];
    size_t n;
    const uint8_t *body = answer(at, LMB_FRAME_SORRY, &n);

    snprintf(text, sizeof text, "%.*s", (int)n, (const char *)body);
    ck_assert_msg(strstr(text, words) != NULL, "'%s' has no '%s'", text, words);
}

START_TEST(a_device_says_who_it_is_and_measures)
{
    lmb_edge_buffer file = { NULL, 0, 0 };
    lmb_frame_hello h;
    lmb_timing timing;
    uint8_t body[LMB_FRAME_BODY];
    double us, uj;
    size_t at = 0, n;

    memset(&t, 0, sizeof t);
    ck_assert_int_eq(small_network(&file, NULL, 0), LMB_EDGE_OK);
    ask_hello();
    ask_op(0);
    ask(LMB_FRAME_MODEL, file.data, file.size);
    ask_op(1);
    ask_op(999);
    ask(LMB_FRAME_WHOLE, body, lmb_frame_put_numbers(body, (const double[]){ 1e9, 1e-3 }, 2));
    ask(LMB_FRAME_ENERGY, NULL, 0);
    ask(LMB_FRAME_MODEL, file.data, file.size - 1); /* no model any more */
    ask_op(1);
    ask(LMB_FRAME_MODEL, NULL, 0);
    ck_assert_msg(serve(), "%s", why);
    const uint8_t *p = answer(&at, LMB_FRAME_HELLO, &n);
    ck_assert(lmb_frame_get_hello(p, n, false, &h));
    ck_assert(h.version == LMB_FRAME_VERSION && *h.kernels && *h.processor);
    says(&at, "no model yet");
    answer(&at, LMB_FRAME_MODEL, &n);
    p = answer(&at, LMB_FRAME_OP, &n);
    ck_assert(lmb_frame_get_numbers(p, n, &us, 1) && us > 0);
    says(&at, "no such operator");
    p = answer(&at, LMB_FRAME_WHOLE, &n);
    ck_assert(lmb_frame_get_timing(p, n, &timing) && timing.missed > 1 - 1e-9);
    p = answer(&at, LMB_FRAME_ENERGY, &n);
    ck_assert(lmb_frame_get_numbers(p, n, &uj, 1) && (uj > 0) == !*h.no_energy);
    says(&at, "");
    says(&at, "no model yet");
    says(&at, "");
    ck_assert_uint_eq(at, t.n_out);
    free(file.data);
}
END_TEST

/* Whatever is cut off or changed: told, and over. */
START_TEST(what_is_no_question_ends_it)
{
    size_t at;

    memset(&t, 0, sizeof t);
    ask_hello();
    size_t whole = t.n_in;
    for (size_t n = 1; n < whole; n++) {
        t.n_in = n;
        at = 0;
        ck_assert(!serve());
        says(&at, "ends in the middle");
        ck_assert_uint_eq(at, t.n_out);
    }
    t.n_in = whole;
    for (size_t i = 0; i < whole; i++) {
        t.in[i] ^= 0x40;
        at = 0;
        ck_assert(!serve());
        says(&at, i < 4 ? "no frame" : i < 8 ? "a kind that there is not" : "");
        t.in[i] ^= 0x40;
    }
    memcpy(t.in + 8, "\xff\xff\xff\xff", 4); /* a length beyond all memory is not even tried */
    at = 0;
    ck_assert(!serve());
    says(&at, "too long");
    t.in[4] = LMB_FRAME_MODEL; /* one that is allowed needs its bytes to come, not memory beforehand */
    memcpy(t.in + 8, "\x00\x00\x00\x10", 4);
    at = 0;
    ck_assert(!serve());
    says(&at, "ends in the middle");
}
END_TEST

START_TEST(an_answer_that_nobody_takes_ends_it)
{
    memset(&t, 0, sizeof t);
    ask_hello();
    ask_hello();
    t.most = 20;
    ck_assert(!serve());
    ck_assert_ptr_nonnull(strstr(why, "nobody takes"));
    ck_assert_uint_eq(t.at, t.n_in / 2);
}
END_TEST

/* Each text in its bounds, with its end, and nothing behind the last. */
START_TEST(a_hello_is_looked_at)
{
    lmb_frame_hello h = { LMB_FRAME_VERSION, "neon", "a board", "" }, got;
    uint8_t body[LMB_FRAME_BODY + 1];
    size_t n = lmb_frame_put_hello(body, &h);

    ck_assert(lmb_frame_get_hello(body, n, false, &got));
    ck_assert_str_eq(got.processor, "a board");
    for (size_t k = 0; k < n; k++)
        ck_assert(!lmb_frame_get_hello(body, k, false, &got));
    body[n] = 'x';
    ck_assert(!lmb_frame_get_hello(body, n + 1, false, &got));
    memset(h.processor, 'p', sizeof h.processor); /* without an end of its own: cut */
    n = lmb_frame_put_hello(body, &h);
    ck_assert(lmb_frame_get_hello(body, n, false, &got));
    ck_assert_uint_eq(strlen(got.processor), sizeof got.processor - 1);
    memmove(body + 12, body + 11, n - 11); /* one byte more than fits */
    ck_assert(!lmb_frame_get_hello(body, n + 1, false, &got));
    body[0] = 9; /* another version may look otherwise behind its version */
    ck_assert(lmb_frame_get_hello(body, 6, false, &got) && got.version == 9);
    body[4] = '\n'; /* a terminal */
    ck_assert(!lmb_frame_get_hello(body, n, false, &got));
}
END_TEST

START_TEST(numbers_are_looked_at)
{
    static const lmb_timing good = { 10, 12, 1e5, 0.25, 0 };
    const lmb_timing bad[] = { { 0, 12, 1e5, 0, 0 },    { 10, 9, 1e5, 0, 0 },         { 10, 12, 0, 0, 0 },
                               { 10, 12, 1e5, 1.5, 0 }, { 10, 1.0 / 0.0, 1e5, 0, 0 }, { 0.0 / 0.0, 12, 1e5, 0, 0 },
                               { 10, 12, 1e5, -0.5, 0 } };
    uint8_t body[LMB_FRAME_BODY];
    lmb_timing got;

    size_t n = lmb_frame_put_timing(body, &good);
    ck_assert(lmb_frame_get_timing(body, n, &got) && got.p50 == 10 && got.missed == 0.25);
    ck_assert(!lmb_frame_get_timing(body, n - 1, &got) && !lmb_frame_get_timing(body, n + 1, &got));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        n = lmb_frame_put_timing(body, &bad[i]);
        ck_assert_msg(!lmb_frame_get_timing(body, n, &got), "timing %zu is taken", i);
    }
}
END_TEST

LMB_TEST_MAIN("core/edge/time", add(a_device_says_who_it_is_and_measures); add(what_is_no_question_ends_it);
              add(an_answer_that_nobody_takes_ends_it); add(a_hello_is_looked_at); add(numbers_are_looked_at);)
