/* launch/device.c - see device.h. */
#include "launch/device.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/text.h"
#include "core/base/threads.h"
#include "distill/search/deployed.h"
#include "launch/child.h"
#include "launch/signals.h"

static const double SLOW_LINE = 1e5; /* bytes a second that are counted on */
enum { TRY_AGAIN_MS = 1000 };

struct lmb_device {
    const lmb_device_config *c;
    void (*say)(void *ctx, const char *line);
    void *ctx;
    char title[LMB_TIMER_DEVICE + 16]; /* "the device pi" */
    lmb_child child;
    bool up, known; /* up: it is started and has said hello; known: it was so once */
    bool given;     /* it has a model: */
    lmb_hash model;
    lmb_frame_hello hello;
    lmb_timer timer;
};

typedef struct reply {
    size_t n;
    uint8_t body[LMB_FRAME_BODY];
} reply;

/* ---- the line ---- */

static void drop(lmb_device *d)
{
    if (d->child.running || d->up)
        lmb_children_end(&d->child, 1, 0.5, lmb_interruptions());
    d->up = d->given = false;
}

/* Why nobody answers any more, in the words of whoever was started. */
static lmb_status ended(lmb_device *d, lmb_error *err)
{
    lmb_child *c = &d->child;
    char said[LMB_CHILD_LINE];

    for (double until = lmb_seconds() + 1; lmb_seconds() < until && lmb_children_tend(c, 1, 50);) /* it says why */
        ;
    lmb_children_end(c, 1, 0.5, lmb_interruptions());
    snprintf(said, sizeof said, "%.200s", c->said);
    lmb_text_clean(said);
    d->up = d->given = false;
    return LMB_FAIL(err, c->exit_code == 126 || c->exit_code == 127 ? LMB_E_ARG : LMB_E_IO,
                    "%s: `%.100s` has ended with exit code %d%s%s; the same command goes on when it is back", d->title,
                    d->c->command, c->exit_code, *said ? ": " : "", said);
}

static lmb_status nonsense(lmb_device *d, const char *what, const void *bytes, size_t n, lmb_error *err)
{
    char text[41];

    snprintf(text, sizeof text, "%.*s", (int)(n < 40 ? n : 40), (const char *)bytes);
    lmb_text_clean(text);
    drop(d);
    return LMB_FAIL(
        err, LMB_E_FORMAT,
        "%s: what came %s (%zu bytes, '%s'); compress.device.command must start limbeck-time and nothing that "
        "prints, with no terminal between (ssh -T, docker exec -i)",
        d->title, what, n, text);
}

/* Something came, and no beginning of a frame. */
static bool is_chatter(const void *head, size_t n) { return head && n && *(const uint8_t *)head != LMB_FRAME_FIRST; }

/* Until a descriptor is ready. n: bytes of an answer's head so far. */
static lmb_status await(lmb_device *d, int fd, short events, double until, const void *head, size_t n, lmb_error *err)
{
    for (;;) {
        struct pollfd p[2] = { { fd, events, 0 }, { d->child.err.fd, POLLIN, 0 } };
        if (lmb_interrupted())
            return LMB_FAIL(err, LMB_E_STOPPED, "stopped on request");
        if (lmb_seconds() > until) {
            if (is_chatter(head, n))
                return nonsense(d, "is no answer", head, n, err);
            drop(d);
            return LMB_FAIL(
                err, LMB_E_TIMEOUT,
                "%s has not answered in time; compress.device.timeout_s (%g) says how long it may take beside what "
                "it measures. The same command goes on when it is back",
                d->title, d->c->timeout_s);
        }
        (void)poll(p, 2, 100);
        (void)lmb_children_tend(&d->child, 1, 0); /* what it says on stderr */
        if (p[0].revents)
            return LMB_OK;
    }
}

static lmb_status send_all(lmb_device *d, const void *bytes, size_t n, double until, lmb_error *err)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = send(d->child.to, (const char *)bytes + at, n - at, MSG_NOSIGNAL);
        if (k > 0)
            at += (size_t)k;
        else if (k < 0 && (errno == EAGAIN || errno == EINTR))
            LMB_TRY(await(d, d->child.to, POLLOUT, until, NULL, 0, err));
        else
            return ended(d, err);
    }
    return LMB_OK;
}

/* head: what comes begins a frame. */
static lmb_status receive(lmb_device *d, void *bytes, size_t n, bool head, double until, lmb_error *err)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = read(d->child.from, (char *)bytes + at, n - at);
        if (k > 0)
            at += (size_t)k;
        else if (k < 0 && (errno == EAGAIN || errno == EINTR))
            LMB_TRY(await(d, d->child.from, POLLIN, until, head ? bytes : NULL, at, err));
        else if (head && is_chatter(bytes, at))
            return nonsense(d, "is no answer", bytes, at, err);
        else
            return ended(d, err);
    }
    return LMB_OK;
}

/* ---- questions ---- */

/* One question to a device that is up. E_DEVICE: it can not, and says why. */
static lmb_status exchange(lmb_device *d, lmb_frame_kind kind, const void *body, size_t n, double limit_s, reply *out,
                           lmb_error *err)
{
    uint8_t head[LMB_FRAME_HEAD];
    lmb_frame_kind came = kind;
    double until = lmb_seconds() + limit_s;

    lmb_frame_seal(head, kind, body, n);
    LMB_TRY(send_all(d, head, sizeof head, until, err));
    LMB_TRY(send_all(d, body, n, until, err));
    LMB_TRY(receive(d, head, sizeof head, true, until, err));
    const char *wrong = lmb_frame_open(head, &came, &out->n);
    if (!wrong && out->n > sizeof out->body)
        wrong = "is a frame that is too long";
    if (wrong)
        return nonsense(d, wrong, head, sizeof head, err);
    LMB_TRY(receive(d, out->body, out->n, false, until, err));
    if (!lmb_frame_intact(head, out->body, out->n))
        return nonsense(d, "is not what was sent", out->body, out->n, err);
    if (came == LMB_FRAME_SORRY) {
        char why[240];
        snprintf(why, sizeof why, "%.*s", (int)out->n, (const char *)out->body);
        lmb_text_clean(why);
        return LMB_FAIL(err, LMB_E_DEVICE, "%s: %s", d->title, why);
    }
    return came == kind ? LMB_OK : nonsense(d, "answers another question", out->body, out->n, err);
}

static lmb_status check_version(lmb_device *d, const lmb_frame_hello *h, lmb_error *err)
{
    if (h->version == LMB_FRAME_VERSION)
        return LMB_OK;
    drop(d);
    return LMB_FAIL(
        err, LMB_E_ARG,
        "%s has limbeck-time of version %u, and this program asks as version %d: build it from the same sources",
        d->title, h->version, LMB_FRAME_VERSION);
}

/* A device that comes back must be the one that it was: its times stand in one table. */
static lmb_status check_same(lmb_device *d, const lmb_frame_hello *h, lmb_error *err)
{
    if (!d->known || (!strcmp(h->kernels, d->hello.kernels) && !strcmp(h->processor, d->hello.processor)))
        return LMB_OK;
    drop(d);
    return LMB_FAIL(err, LMB_E_ARG, "%s was %.95s with the kernels %.30s, and is now %.95s with %.30s", d->title,
                    d->hello.processor, d->hello.kernels, h->processor, h->kernels);
}

static lmb_status say_hello(lmb_device *d, lmb_error *err)
{
    const lmb_frame_hello mine = { LMB_FRAME_VERSION, "", "", "" };
    uint8_t body[LMB_FRAME_BODY];
    lmb_frame_hello h;
    reply r;

    lmb_frame_put_hello(body, &mine);
    LMB_TRY(exchange(d, LMB_FRAME_HELLO, body, 6, d->c->timeout_s, &r, err));
    if (!lmb_frame_get_hello(r.body, r.n, false, &h))
        return nonsense(d, "is no hello", r.body, r.n, err);
    LMB_TRY(check_version(d, &h, err));
    lmb_text_clean(h.kernels);
    lmb_text_clean(h.processor);
    lmb_text_clean(h.no_energy);
    LMB_TRY(check_same(d, &h, err));
    if (!d->known && d->say) {
        char line[400];
        snprintf(line, sizeof line, "%s is %s; models run with the kernels %s", d->title, h.processor, h.kernels);
        d->say(d->ctx, line);
    }
    d->hello = h;
    d->known = true;
    return LMB_OK;
}

static lmb_status reach(lmb_device *d, lmb_error *err)
{
    char *argv[] = { "/bin/sh", "-c", (char *)(size_t)d->c->command, NULL };

    if (d->up)
        return LMB_OK;
    d->child = (lmb_child){ .name = d->title, .log = -1, .talks = true };
    LMB_TRY(lmb_child_start(&d->child, argv, NULL, err));
    d->up = true;
    d->given = false;
    lmb_status st = say_hello(d, err);
    if (st != LMB_OK) /* who it is has to be known before it is asked anything */
        drop(d);
    return st;
}

static lmb_status give(lmb_device *d, const lmb_deployed *model, lmb_error *err)
{
    lmb_hash hash = lmb_hash_of(model->file.text, model->file.n);
    reply r;

    if (d->given && memcmp(&hash, &d->model, sizeof hash) == 0)
        return LMB_OK;
    if (model->file.n > LMB_FRAME_MODEL_BODY)
        return LMB_FAIL(err, LMB_E_DEVICE, "%s takes models of at most %d bytes; this one has %zu", d->title,
                        LMB_FRAME_MODEL_BODY, model->file.n);
    d->given = false;
    LMB_TRY(exchange(d, LMB_FRAME_MODEL, model->file.text, model->file.n,
                     d->c->timeout_s + (double)model->file.n / SLOW_LINE, &r, err));
    d->model = hash;
    d->given = true;
    return LMB_OK;
}

/* A device that is gone may come back; one that answers, but wrongly, is not waited for. */
static bool worth_waiting(const lmb_device *d, lmb_status st, double until)
{
    return (st == LMB_E_IO || st == LMB_E_TIMEOUT) && d->known && lmb_seconds() < until;
}

static lmb_status rest(lmb_device *d, int tries, double until, lmb_error *err)
{
    char line[600];

    if (tries == 0 && d->say) {
        snprintf(line, sizeof line, "%s; it is tried again for %.0f s", err->msg, until - lmb_seconds());
        d->say(d->ctx, line);
    }
    for (int ms = 0; ms < TRY_AGAIN_MS && !lmb_interrupted(); ms += 50)
        nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    lmb_error_clear(err);
    return lmb_interrupted() ? LMB_FAIL(err, LMB_E_STOPPED, "stopped on request") : LMB_OK;
}

/* A question, about a model or (NULL) about none. Patience begins with the first failure: a silent device is one only
 * after its own time is over. */
static lmb_status ask(lmb_device *d, const lmb_deployed *model, lmb_frame_kind kind, const void *body, size_t n,
                      double limit_s, reply *out, lmb_error *err)
{
    double until = 0;
    lmb_error local = LMB_ERROR_INIT;
    lmb_status st;

    for (int tries = 0;; tries++) {
        st = reach(d, &local);
        if (st == LMB_OK && model)
            st = give(d, model, &local);
        if (st == LMB_OK)
            st = kind == LMB_FRAME_HELLO ? say_hello(d, &local) : exchange(d, kind, body, n, limit_s, out, &local);
        if (st != LMB_OK && tries == 0)
            until = lmb_seconds() + d->c->patience_s;
        if (!worth_waiting(d, st, until) || (st = rest(d, tries, until, &local)) != LMB_OK)
            break;
    }
    return st == LMB_OK ? st : LMB_FAIL(err, st, "%s", local.msg);
}

/* ---- as a timer ---- */

static lmb_status ready(void *ctx, lmb_timer_about *out, lmb_error *err)
{
    lmb_device *d = ctx;

    LMB_TRY(ask(d, NULL, LMB_FRAME_HELLO, NULL, 0, 0, NULL, err));
    memset(out, 0, sizeof *out);
    snprintf(out->device, sizeof out->device, "%s", d->c->name);
    snprintf(out->kernels, sizeof out->kernels, "%s", d->hello.kernels);
    snprintf(out->processor, sizeof out->processor, "%s", d->hello.processor);
    snprintf(out->no_energy, sizeof out->no_energy, "%s", d->hello.no_energy);
    return LMB_OK;
}

/* It travels with the first question about it. */
static lmb_status begin(void *ctx, const struct lmb_deployed *model, void **bench, lmb_error *err)
{
    (void)ctx;
    (void)err;
    *bench = (void *)(size_t)model;
    return LMB_OK;
}

/* `count` numbers in answer; the first is positive where it must be. */
static lmb_status ask_number(lmb_device *d, void *bench, lmb_frame_kind kind, const uint8_t *body, size_t n,
                             bool positive, double *out, lmb_error *err)
{
    reply r;

    LMB_TRY(ask(d, bench, kind, body, n, d->c->timeout_s, &r, err));
    if (!lmb_frame_get_numbers(r.body, r.n, out, 1) || (positive && !(*out > 0)) || *out >= 1e12)
        return nonsense(d, "is no number of microseconds or microjoules", r.body, r.n, err);
    return LMB_OK;
}

static lmb_status op(void *ctx, void *bench, uint32_t i, double *us, lmb_error *err)
{
    uint8_t body[LMB_FRAME_BODY];
    size_t n = lmb_frame_put_op(body, i);

    return ask_number(ctx, bench, LMB_FRAME_OP, body, n, true, us, err);
}

static lmb_status whole(void *ctx, void *bench, double sum, double deadline, lmb_timing *out, lmb_error *err)
{
    lmb_device *d = ctx;
    uint8_t body[LMB_FRAME_BODY];
    const double v[2] = { sum, deadline };
    reply r;

    size_t n = lmb_frame_put_numbers(body, v, 2);
    LMB_TRY(ask(d, bench, LMB_FRAME_WHOLE, body, n, d->c->timeout_s + 3 * lmbi_measure_whole_s(sum), &r, err));
    return lmb_frame_get_timing(r.body, r.n, out) ? LMB_OK : nonsense(d, "is no timing", r.body, r.n, err);
}

static lmb_status energy(void *ctx, void *bench, lmb_timing *out, lmb_error *err)
{
    return ask_number(ctx, bench, LMB_FRAME_ENERGY, NULL, 0, false, &out->energy, err);
}

static void end(void *ctx, void *bench)
{
    (void)ctx;
    (void)bench;
}

/* ---- the whole ---- */

lmb_status lmb_device_open(const lmb_device_config *c, void (*say)(void *ctx, const char *line), void *ctx,
                           lmb_device **out, lmb_error *err)
{
    LMB_TRY(lmb_device_check(c, err));
    lmb_device *d = calloc(1, sizeof *d);
    if (!d)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a device");
    d->c = c;
    d->say = say;
    d->ctx = ctx;
    snprintf(d->title, sizeof d->title, "the device %s", c->name);
    d->timer = (lmb_timer){ c->name, ready, begin, op, whole, energy, end, d };
    *out = d;
    return LMB_OK;
}

void lmb_device_close(lmb_device *d)
{
    if (!d)
        return;
    drop(d);
    free(d);
}

const lmb_timer *lmb_device_timer(const lmb_device *d) { return d ? &d->timer : NULL; }
