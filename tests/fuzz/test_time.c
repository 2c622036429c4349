/* Mirrors core/edge/time/frames.c and serve.c: a device that is asked by a stranger, and a search that a stranger
 * answers. A device answers each question with one sound frame, whatever model it was given. */
#define FUZZ_SUITE "time"
#include "tests/fuzz/fuzz.h"

#include <sodium.h>

#include "core/edge/time/serve.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

enum { SERVE_ROUNDS = 1500, ANSWER_ROUNDS = 20000, LARGE = 1 << 16, OPS = 3 };

/* ---- questions ---- */

typedef struct talk {
    uint8_t *in;
    size_t n, at, asked, answered;
} talk;

static size_t talk_read(void *ctx, void *to, size_t n)
{
    talk *t = ctx;
    size_t k = t->n - t->at < n ? t->n - t->at : n;

    if (k)
        memcpy(to, t->in + t->at, k);
    t->at += k;
    return k;
}

/* A head, then its body: each answer is two writes or one. */
static bool talk_write(void *ctx, const void *from, size_t n)
{
    static uint8_t head[LMB_FRAME_HEAD];
    static size_t due;
    talk *t = ctx;
    lmb_frame_kind kind;

    if (due == 0) {
        ck_assert_uint_eq(n, LMB_FRAME_HEAD);
        memcpy(head, from, n);
        ck_assert_ptr_null(lmb_frame_open(head, &kind, &due));
        ck_assert_uint_le(due, LMB_FRAME_BODY);
        t->answered += due == 0;
        ck_assert(due || lmb_frame_intact(head, NULL, 0));
    } else {
        ck_assert_uint_eq(n, due);
        ck_assert(lmb_frame_intact(head, from, n));
        t->answered++;
        due = 0;
    }
    return true;
}

/* Checksums made right, so that damage gets past them; no more measuring than a test has time for. */
static void mend(talk *t)
{
    size_t at = 0, n;
    lmb_frame_kind kind;
    lmb_edge_model m;
    int ops = 0;

    for (; t->n - at >= LMB_FRAME_HEAD && !lmb_frame_open(t->in + at, &kind, &n) && n <= t->n - at - LMB_FRAME_HEAD;
         at += LMB_FRAME_HEAD + n) {
        uint8_t *body = t->in + at + LMB_FRAME_HEAD;
        if (kind == LMB_FRAME_MODEL) {
            reseal(body, n);
            if (lmb_edge_open(body, n, &m, NULL, 0) == LMB_EDGE_OK &&
                (lmb_edge_macs(&m) > LARGE || lmb_edge_arena_bytes(&m) > LARGE ||
                 lmb_edge_prepare_bytes(&m) > 16 * LARGE))
                kind = LMB_FRAME_ENERGY; /* a question about the model before, or none */
        }
        if ((kind == LMB_FRAME_WHOLE || kind == LMB_FRAME_ENERGY || kind == LMB_FRAME_OP) && ops++ >= OPS)
            kind = LMB_FRAME_SORRY;
        if (kind == LMB_FRAME_WHOLE || kind == LMB_FRAME_ENERGY)
            kind = LMB_FRAME_OP;
        if (kind != LMB_FRAME_MODEL && n > LMB_FRAME_BODY)
            break;
        lmb_frame_seal(t->in + at, kind, body, n);
        t->asked++;
    }
}

static void serve_target(const uint8_t *data, size_t bytes)
{
    talk t = { .in = malloc(bytes + 1), .n = bytes };
    const lmb_edge_line line = { talk_read, talk_write, &t };
    char why[200];

    ck_assert_ptr_nonnull(t.in);
    memcpy(t.in, data, bytes);
    mend(&t);
    bool good = lmb_edge_serve(&line, why, sizeof why);
    ck_assert_uint_eq(t.answered, t.asked + !good);
    ck_assert(good == !*why);
    free(t.in);
}

static size_t put(uint8_t *at, lmb_frame_kind kind, const void *body, size_t n)
{
    lmb_frame_seal(at, kind, body, n);
    if (n)
        memcpy(at + LMB_FRAME_HEAD, body, n);
    return LMB_FRAME_HEAD + n;
}

START_TEST(questions)
{
    static uint8_t script[2][FUZZ_CAP];
    const lmb_frame_hello h = { LMB_FRAME_VERSION, "", "", "" };
    fuzz_seed seeds[2];

    for (int i = 0; i < 2; i++) {
        lmb_edge_buffer file = { NULL, 0, 0 };
        uint8_t body[LMB_FRAME_BODY], *at = script[i];
        ck_assert_int_eq(small_network_of(i ? 3 : 8, i, &file, NULL, 0), LMB_EDGE_OK);
        lmb_frame_put_hello(body, &h);
        at += put(at, LMB_FRAME_HELLO, body, 6);
        at += put(at, LMB_FRAME_MODEL, file.data, file.size);
        at += put(at, LMB_FRAME_OP, body, lmb_frame_put_op(body, (uint32_t)i));
        at += put(at, LMB_FRAME_WHOLE, body, lmb_frame_put_numbers(body, (const double[]){ 50, 80 }, 2));
        at += put(at, LMB_FRAME_ENERGY, NULL, 0);
        seeds[i] = (fuzz_seed){ script[i], (size_t)(at - script[i]) };
        free(file.data);
    }
    fuzz_run(serve_target, seeds, 2, SERVE_ROUNDS);
}
END_TEST

/* ---- answers: what is taken is what it says ---- */

static bool ended(const char *text, size_t cap) { return memchr(text, 0, cap) != NULL; }

static void answer_target(const uint8_t *data, size_t bytes)
{
    lmb_frame_hello h;
    lmb_timing t;
    double v;

    if (lmb_frame_get_hello(data, bytes, false, &h))
        ck_assert(ended(h.kernels, sizeof h.kernels) && ended(h.processor, sizeof h.processor) &&
                  ended(h.no_energy, sizeof h.no_energy) && (h.version != LMB_FRAME_VERSION || *h.kernels));
    if (lmb_frame_get_timing(data, bytes, &t))
        ck_assert(t.p50 > 0 && t.p99 >= t.p50 && t.p99 < 1e308 && t.throughput > 0 && t.missed >= 0 && t.missed < 1.1);
    if (lmb_frame_get_numbers(data, bytes, &v, 1))
        ck_assert(v >= 0 && v - v == 0);
}

START_TEST(answers)
{
    static uint8_t hello[LMB_FRAME_BODY], timing[LMB_FRAME_BODY], number[LMB_FRAME_BODY];
    const lmb_frame_hello h = { LMB_FRAME_VERSION, "neondot", "Raspberry Pi 5 Model B Rev 1.0",
                                "there is no powercap" };
    const lmb_timing t = { 120, 130, 8000, 0.1, 0 };
    const double us = 3.5;
    const fuzz_seed seeds[] = { { hello, lmb_frame_put_hello(hello, &h) },
                                { timing, lmb_frame_put_timing(timing, &t) },
                                { number, lmb_frame_put_numbers(number, &us, 1) } };

    fuzz_run(answer_target, seeds, 3, ANSWER_ROUNDS);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/time", add(questions); add(answers);)
#endif
