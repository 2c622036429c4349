/* core/base/trace.c - see trace.h. */
#include "core/base/trace.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/threads.h"

enum { TEXT = 40 };

typedef struct span {
    double from, to; /* seconds of the monotonic clock */
    const char *category;
    int lane;
    char name[TEXT], detail[TEXT];
} span;

struct lmb_trace {
    size_t room;
    atomic_size_t n; /* left, kept or not */
    _Atomic int64_t fine_steps;
    double origin;
    span *spans;
};

lmb_status lmb_trace_create(size_t spans, int64_t fine_steps, lmb_trace **out, lmb_error *err)
{
    lmb_trace *t = calloc(1, sizeof *t);

    if (t)
        t->spans = calloc(spans + 1, sizeof *t->spans);
    if (!t || !t->spans) {
        free(t);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to trace %zu spans", spans);
    }
    t->room = spans;
    atomic_init(&t->n, 0);
    atomic_init(&t->fine_steps, fine_steps);
    lmb_trace_begin(t, lmb_seconds());
    *out = t;
    return LMB_OK;
}

void lmb_trace_destroy(lmb_trace *t)
{
    if (!t)
        return;
    free(t->spans);
    free(t);
}

void lmb_trace_begin(lmb_trace *t, double origin) { t->origin = origin; }
double lmb_trace_origin(const lmb_trace *t) { return t->origin; }
double lmb_trace_now(const lmb_trace *t) { return t ? lmb_seconds() : 0; }

/* At most TEXT - 1 bytes, not cut inside a character of several. */
static void copy(char *to, const char *from)
{
    size_t n = from ? strnlen(from, TEXT) : 0;

    if (n == TEXT)
        for (n = TEXT - 1; n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80;)
            n--;
    if (n)
        memcpy(to, from, n);
    to[n] = '\0';
}

void lmb_trace_span(lmb_trace *t, int lane, const char *category, const char *name, const char *detail, double from)
{
    if (!t)
        return;
    size_t i = atomic_fetch_add_explicit(&t->n, 1, memory_order_relaxed);
    if (i >= t->room)
        return;
    span *s = &t->spans[i];
    s->from = from;
    s->to = lmb_seconds();
    s->category = category;
    s->lane = lane;
    copy(s->name, name);
    copy(s->detail, detail);
}

bool lmb_trace_fine(const lmb_trace *t) { return t && atomic_load_explicit(&t->fine_steps, memory_order_relaxed) > 0; }

void lmb_trace_step(lmb_trace *t)
{
    if (lmb_trace_fine(t))
        atomic_fetch_sub_explicit(&t->fine_steps, 1, memory_order_relaxed);
}

/* ---- JSON ---- */

static void add_metadata(lmb_str *out, const char *what, int process, int lane, const char *key, const char *text,
                         int number)
{
    lmb_str_addf(out, "%s{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"args\":{\"%s\":", out->n ? ",\n" : "",
                 process, lane, what, key);
    if (text)
        lmb_str_add_json(out, text);
    else
        lmb_str_addf(out, "%d", number);
    lmb_str_add(out, "}}");
}

static void add_lane(lmb_str *out, int process, int lane)
{
    char name[32];

    if (lane == LMB_LANE_TRAINING)
        snprintf(name, sizeof name, "training");
    else if (lane < LMB_LANE_SUMS)
        snprintf(name, sizeof name, "worker %d", lane);
    else if (lane == LMB_LANE_SUMS)
        snprintf(name, sizeof name, "sums");
    else
        snprintf(name, sizeof name, "loader %d", lane - LMB_LANE_LOADER);
    add_metadata(out, "thread_name", process, lane, "name", name, 0);
    add_metadata(out, "thread_sort_index", process, lane, "sort_index", NULL, lane);
}

void lmb_trace_json(const lmb_trace *t, int process, const char *name, lmb_str *out)
{
    size_t left = atomic_load(&t->n), n = left < t->room ? left : t->room;
    bool seen[LMB_LANES] = { false };
    char title[120];

    if (left > n)
        snprintf(title, sizeof title, "%.60s (%zu later spans did not fit)", name, left - n);
    else
        snprintf(title, sizeof title, "%.60s", name);
    add_metadata(out, "process_name", process, 0, "name", title, 0);
    add_metadata(out, "process_sort_index", process, 0, "sort_index", NULL, process);
    for (size_t i = 0; i < n; i++) {
        const span *s = &t->spans[i];
        if (!seen[s->lane])
            add_lane(out, process, s->lane);
        seen[s->lane] = true;
        lmb_str_addf(out, ",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"cat\":\"%s\",\"name\":",
                     process, s->lane, (s->from - t->origin) * 1e6, (s->to - s->from) * 1e6, s->category);
        lmb_str_add_json(out, s->name);
        if (*s->detail) {
            lmb_str_add(out, ",\"args\":{\"of\":");
            lmb_str_add_json(out, s->detail);
            lmb_str_add(out, "}");
        }
        lmb_str_add(out, "}");
    }
}
