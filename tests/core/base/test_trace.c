/* Mirrors core/base/trace.c. */
#include "core/base/trace.h"

#include <pthread.h>
#include <string.h>

#include "core/base/str.h"
#include "tests/check_main.h"

static lmb_error err;

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

START_TEST(spans_become_events)
{
    lmb_trace *t;
    lmb_str s = LMB_STR_INIT;
    char name[60];

    ck_ok(lmb_trace_create(10, 1, &t, &err));
    double from = lmb_trace_now(t);
    strcpy(name, "conv \"a\"");
    lmb_trace_span(t, 1, "op", name, "block/1", from);
    memset(name, 'x', 59), name[59] = '\0'; /* the trace has its own copy; a long one is cut */
    memcpy(name + 38, "\xc3\xa9", 2);         /* not inside a character */
    lmb_trace_span(t, LMB_LANE_TRAINING, "step", name, NULL, from);
    lmb_trace_json(t, 3, "rank 3", &s);
    ck_ok(lmb_str_check(&s, &err));
    ck_assert_int_eq(s.text[0], '{');
    ck_assert_ptr_nonnull(strstr(s.text, "\"name\":\"rank 3\""));
    ck_assert_ptr_nonnull(strstr(s.text, "\"name\":\"worker 1\""));
    ck_assert_ptr_nonnull(strstr(s.text, "\"cat\":\"op\",\"name\":\"conv \\\"a\\\"\",\"args\":{\"of\":\"block/1\"}}"));
    ck_assert_ptr_nonnull(strstr(s.text, "xx\"}"));
    ck_assert_ptr_null(strstr(s.text, "ufffd"));
    ck_assert_int_eq(count(s.text, "\"pid\":3"), count(s.text, "\"pid\""));
    ck_assert_int_eq(count(s.text, "\"ph\":\"X\""), 2);
    lmb_str_free(&s);
    lmb_trace_destroy(t);
}
END_TEST

static void *leave_spans(void *t)
{
    for (int i = 0; i < 1000; i++)
        lmb_trace_span(t, i % 5, "op", "work", NULL, lmb_trace_now(t));
    return NULL;
}

START_TEST(room_is_bounded)
{
    lmb_trace *t;
    lmb_str s = LMB_STR_INIT;
    pthread_t thread[4];

    ck_ok(lmb_trace_create(1500, 0, &t, &err));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, leave_spans, t), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    lmb_trace_json(t, 0, "rank 0", &s);
    ck_assert_int_eq(count(s.text, "\"ph\":\"X\""), 1500);
    ck_assert_ptr_nonnull(strstr(s.text, "2500 later spans did not fit"));
    lmb_str_free(&s);
    lmb_trace_destroy(t);
}
END_TEST

START_TEST(fine_spans_end)
{
    lmb_trace *t;

    ck_ok(lmb_trace_create(1, 2, &t, &err));
    for (int step = 0; step < 4; step++) {
        ck_assert(lmb_trace_fine(t) == (step < 2));
        lmb_trace_step(t);
    }
    lmb_trace_destroy(t);
    ck_assert(!lmb_trace_fine(NULL) && lmb_trace_now(NULL) == 0);
    lmb_trace_span(NULL, 0, "op", "work", NULL, 0);
    lmb_trace_step(NULL);
}
END_TEST

LMB_TEST_MAIN("core/base/trace", add(spans_become_events); add(room_is_bounded); add(fine_spans_end);)
