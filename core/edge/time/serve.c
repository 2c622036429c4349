/* core/edge/time/serve.c - see serve.h. */
#include "core/edge/time/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 20 }; /* a body's memory grows with what has come, not with what was announced */

typedef struct session {
    const lmb_edge_line *line;
    uint8_t *body; /* of the question */
    size_t n, room;
    uint8_t *file; /* of the model */
    void *prepared;
    lmb_edge_model m;
    lmbi_bench bench;
    bool loaded;
    lmb_energy energy;
    lmb_frame_hello me;
} session;

static bool answer(const session *s, lmb_frame_kind kind, const void *body, size_t n)
{
    uint8_t head[LMB_FRAME_HEAD];

    lmb_frame_seal(head, kind, body, n);
    return s->line->write(s->line->ctx, head, sizeof head) && (n == 0 || s->line->write(s->line->ctx, body, n));
}

static bool sorry(const session *s, const char *why) { return answer(s, LMB_FRAME_SORRY, why, strlen(why)); }

/* ---- questions ---- */

static bool read_body(session *s, size_t n)
{
    for (s->n = 0; s->n < n;) {
        size_t more = n - s->n < PIECE ? n - s->n : PIECE;
        if (s->n + more > s->room) {
            size_t room = s->n + more + s->n / 2;
            uint8_t *body = realloc(s->body, room);
            if (!body)
                return false;
            s->body = body;
            s->room = room;
        }
        size_t came = s->line->read(s->line->ctx, s->body + s->n, more);
        s->n += came;
        if (came < more)
            return false;
    }
    return true;
}

static void forget(session *s)
{
    if (s->loaded)
        lmbi_bench_free(&s->bench);
    free(s->prepared);
    free(s->file);
    s->prepared = NULL;
    s->file = NULL;
    s->loaded = false;
}

static bool take_model(session *s)
{
    char why[200] = "";

    forget(s);
    s->file = s->body;
    s->body = NULL;
    s->room = 0;
    if (lmb_edge_open(s->file ? s->file : (const uint8_t *)"", s->n, &s->m, why, sizeof why) != LMB_EDGE_OK)
        return sorry(s, why);
    if (lmb_edge_work(&s->m) > LMB_EDGE_WORK_MOST)
        return sorry(s, "one answer of the model would take hours");
    size_t bytes = lmb_edge_prepare_bytes(&s->m);
    s->prepared = bytes < SIZE_MAX ? malloc(bytes + 1) : NULL;
    if (s->prepared)
        lmb_edge_prepare(&s->m, s->prepared);
    s->loaded = s->prepared && lmbi_bench_make(&s->m, &s->bench);
    if (s->loaded)
        return answer(s, LMB_FRAME_MODEL, NULL, 0);
    snprintf(why, sizeof why, "there is no memory for a model of %zu bytes that works in %zu", s->n,
             lmb_edge_arena_bytes(&s->m));
    return sorry(s, why);
}

static bool take_op(session *s)
{
    uint8_t body[LMB_FRAME_BODY];
    uint32_t op;

    if (!lmb_frame_get_op(s->body, s->n, &op) || op >= s->m.n_ops)
        return sorry(s, "the model has no such operator");
    double us = lmbi_measure_op(&s->m, &s->bench, op);
    return answer(s, LMB_FRAME_OP, body, lmb_frame_put_numbers(body, &us, 1));
}

static bool take_whole(session *s)
{
    uint8_t body[LMB_FRAME_BODY];
    lmb_timing t = { 0, 0, 0, 0, 0 };
    double v[2];

    if (!lmb_frame_get_numbers(s->body, s->n, v, 2))
        return sorry(s, "a sum and a deadline are two numbers of microseconds");
    lmbi_measure_whole(&s->m, &s->bench, v[0], &t);
    lmbi_measure_tail(s->bench.run, s->bench.n_runs, v[1], &t);
    return answer(s, LMB_FRAME_WHOLE, body, lmb_frame_put_timing(body, &t));
}

static bool take_energy(session *s)
{
    uint8_t body[LMB_FRAME_BODY];
    lmb_timing t = { 0, 0, 0, 0, 0 };

    lmbi_measure_energy(&s->energy, &s->m, &s->bench, &t);
    return answer(s, LMB_FRAME_ENERGY, body, lmb_frame_put_numbers(body, &t.energy, 1));
}

static bool take_hello(session *s)
{
    uint8_t body[LMB_FRAME_BODY];
    lmb_frame_hello theirs;

    if (!lmb_frame_get_hello(s->body, s->n, true, &theirs))
        return sorry(s, "this is no hello");
    return answer(s, LMB_FRAME_HELLO, body, lmb_frame_put_hello(body, &s->me)); /* whose version it is they see */
}

static bool take(session *s, lmb_frame_kind kind)
{
    if (kind == LMB_FRAME_HELLO)
        return take_hello(s);
    if (kind == LMB_FRAME_MODEL)
        return take_model(s);
    if (kind == LMB_FRAME_SORRY)
        return sorry(s, "this is no question");
    if (!s->loaded)
        return sorry(s, "there is no model yet");
    return kind == LMB_FRAME_OP ? take_op(s) : kind == LMB_FRAME_WHOLE ? take_whole(s) : take_energy(s);
}

/* ---- the whole ---- */

static void introduce(session *s)
{
    int usable = 0;

    s->me.version = LMB_FRAME_VERSION;
    for (int i = 0; !usable && lmb_edge_kernels(i, &usable); i++) /* the first that runs here is what a model takes */
        snprintf(s->me.kernels, sizeof s->me.kernels, "%s", lmb_edge_kernels(i, &usable));
    lmb_edge_processor(s->me.processor);
    if (!lmb_energy_open(LMB_ENERGY_ROOT, &s->energy, s->me.no_energy, sizeof s->me.no_energy))
        s->energy.n = 0;
}

/* One question and its answer. false: there are no more, for the reason in `why`, or for none. */
static bool step(session *s, char *why, size_t cap)
{
    uint8_t head[LMB_FRAME_HEAD];
    lmb_frame_kind kind = LMB_FRAME_SORRY;
    size_t n = 0, came = s->line->read(s->line->ctx, head, sizeof head);

    if (came == 0)
        return false;
    const char *wrong = came < sizeof head ? "ends in the middle" : lmb_frame_open(head, &kind, &n);
    if (!wrong && !read_body(s, n))
        wrong = s->n < n ? "ends in the middle, or there is no memory for it" : NULL;
    if (!wrong && !lmb_frame_intact(head, s->body, n))
        wrong = "is not what was sent: something on the way changes bytes";
    if (wrong) {
        snprintf(why, cap, "what came %s", wrong);
        (void)sorry(s, why);
        return false;
    }
    if (take(s, kind))
        return true;
    snprintf(why, cap, "nobody takes the answers");
    return false;
}

bool lmb_edge_serve(const lmb_edge_line *line, char *why, size_t cap)
{
    session *s = calloc(1, sizeof *s);

    *why = '\0';
    if (!s) {
        snprintf(why, cap, "there is no memory");
        return false;
    }
    s->line = line;
    introduce(s);
    while (step(s, why, cap))
        ;
    forget(s);
    free(s->body);
    free(s);
    return !*why;
}
