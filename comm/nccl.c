/* comm/nccl.c - see nccl.h. All of NCCL that needs no NCCL: bootstrap, waiting, giving up, naming. */
#include "comm/nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/nccl_abort.h"
#include "comm/nccl_log.h"
#include "core/base/threads.h"

struct lmb_nccl {
    lmb_comm *c;
    const lmb_nccl_api *api;
    lmb_nccl_options o;
    void *comm, *stream;
    int version;
    bool broken;    /* aborted: nothing of NCCL's may be called any more */
    bool recording; /* work is written down, not done */
    char doing[64]; /* "all-reduce of bucket 3" */
    int64_t step;
    lmbi_nccl_log log;
    lmbi_nccl_abort *ending; /* the abort that goes on */
    char host[64];
};

void lmb_nccl_abort(lmb_nccl *n)
{
    if (n->comm)
        n->ending = lmbi_nccl_abort_begin(n->api, n->comm);
    n->comm = NULL;
    n->broken = true;
}

/* End it, once, and say who, where, what, and who is behind. `cause` is NCCL's own word, or ours. What nothing comes
 * of is not what was put on a stream last, but the first that no stream has passed. */
static lmb_status give_up(lmb_nccl *n, const char *cause, lmb_error *err)
{
    char behind[200] = "";

    if (n->recording)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "NCCL let %s not be recorded: %s", n->doing, cause);
    const lmbi_nccl_work *w = lmbi_nccl_log_under_way(&n->log);
    if (w)
        snprintf(n->doing, sizeof n->doing, "%s", w->doing), n->step = w->step;
    lmb_watch_behind(n->o.watch, behind, sizeof behind);
    lmb_nccl_abort(n);
    return LMB_FAIL(err, LMB_E_PEER,
                    "rank %d on %s, %s of step %lld: %s%s%s; start again to go on from the last checkpoint", n->c->rank,
                    n->host, n->doing, (long long)n->step, cause, behind[0] ? "; " : "", behind);
}

/* Look until neither the communicator nor `at`, a stream or an event as `look` has it (or NULL), is busy. Naps grow
 * with the time waited, and cost an eighth of it at most: a processor belongs to those who prepare the next batch. */
static lmb_status settle(lmb_nccl *n, int (*look)(void *at), void *at, lmb_error *err)
{
    const double spin = 50e-6, shortest = 20e-6, longest = 1e-3;
    double start = lmb_seconds();
    char cause[96];

    for (;;) {
        int code = n->api->state(n->comm), work = look ? look(at) : LMB_NCCL_OK;
        if (code == LMB_NCCL_OK)
            code = work;
        if (code == LMB_NCCL_OK)
            return LMB_OK;
        if (code != LMB_NCCL_BUSY)
            return give_up(n, n->api->text(code), err);
        double waited = lmb_seconds() - start, nap = waited / 8;
        if (waited > n->o.limit_s) {
            snprintf(cause, sizeof cause, "nothing came of it for %.3g s", n->o.limit_s);
            return give_up(n, cause, err);
        }
        if (waited < spin)
            continue;
        nap = nap < shortest ? shortest : nap > longest ? longest : nap;
        nanosleep(&(struct timespec){ 0, (long)(nap * 1e9) }, NULL);
    }
}

/* What a call returned: done, or under way and then waited for, or an error. */
static lmb_status follow(lmb_nccl *n, int code, lmb_error *err)
{
    if (code == LMB_NCCL_OK)
        return LMB_OK;
    return code == LMB_NCCL_BUSY ? settle(n, NULL, NULL, err) : give_up(n, n->api->text(code), err);
}

/* ---- bootstrap ---- */

/* Not to be had: of ourselves, before anybody else is involved. */
static lmb_status check(const lmb_nccl_api *api, int code, const char *what, lmb_error *err)
{
    return code == LMB_NCCL_OK ? LMB_OK : LMB_FAIL(err, LMB_E_DEVICE, "%s: %s", what, api->text(code));
}

static void fix_order(void)
{
    /* NVLS adds in the switch, in an order that changes between calls; trees and protocols change with the size. */
    static const char *const set[][2] = { { "NCCL_ALGO", "Ring" },         { "NCCL_PROTO", "Simple" },
                                          { "NCCL_NVLS_ENABLE", "0" },     { "NCCL_MIN_NCHANNELS", "8" },
                                          { "NCCL_MAX_NCHANNELS", "8" } };
    for (int i = 0; i < 5; i++)
        setenv(set[i][0], set[i][1], 1);
}

/* What each rank shows the others before NCCL is asked for anything. */
typedef struct card {
    int32_t ready, version;
    unsigned char gpu[LMB_NCCL_DEVICE_ID];
} card;

static lmb_status compare(lmb_nccl *n, const card *mine, lmb_error *err)
{
    card *all = calloc((size_t)n->c->size, sizeof *all);
    lmb_status st =
        all ? n->c->gather_all(n->c, mine, all, sizeof *mine, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for ranks");

    for (int r = 0; r < n->c->size && st == LMB_OK; r++) {
        if (!all[r].ready)
            st = LMB_FAIL(err, LMB_E_PEER, "rank %d can not use its GPU, so nobody starts; its own sentence says why",
                          r);
        else if (all[r].version != all[0].version)
            st = LMB_FAIL(err, LMB_E_PEER, "rank %d has NCCL %d, rank 0 has NCCL %d; install the same on all machines",
                          r, (int)all[r].version, (int)all[0].version);
        for (int q = 0; q < r && st == LMB_OK; q++)
            if (memcmp(all[q].gpu, all[r].gpu, sizeof all[r].gpu) == 0)
                st = LMB_FAIL(err, LMB_E_PEER,
                              "ranks %d and %d are on the same GPU; start one rank a GPU, and see CUDA_VISIBLE_DEVICES",
                              q, r);
    }
    free(all);
    return st;
}

static lmb_status prepare(lmb_nccl *n, card *mine, lmb_error *err)
{
    int version = 0;

    LMB_TRY(check(n->api, n->api->device_select(n->o.device), "selecting a GPU", err));
    LMB_TRY(check(n->api, n->api->device_id(mine->gpu), "asking for a GPU's name", err));
    LMB_TRY(check(n->api, n->api->library(&version), "asking for NCCL's version", err));
    LMB_TRY(check(n->api, n->api->stream_create(&n->stream), "creating a stream", err));
    LMB_TRY(check(n->api, lmbi_nccl_log_open(&n->log, n->api), "counting what streams have passed", err));
    mine->version = n->version = version;
    mine->ready = 1;
    return LMB_OK;
}

/* Rank 0 makes the name of the job; whether it could, travels with it. */
static lmb_status share_id(lmb_nccl *n, unsigned char id[LMB_NCCL_ID], lmb_error *err)
{
    struct { int32_t code; unsigned char id[LMB_NCCL_ID]; } letter = { 0 };

    if (n->c->rank == 0)
        letter.code = n->api->unique_id(letter.id);
    LMB_TRY(n->c->broadcast(n->c, &letter, sizeof letter, 0, err));
    if (letter.code != LMB_NCCL_OK)
        return LMB_FAIL(err, LMB_E_PEER, "rank 0 could not name the job to NCCL: %s; NCCL_DEBUG=INFO tells more",
                        n->api->text(letter.code));
    memcpy(id, letter.id, LMB_NCCL_ID);
    return LMB_OK;
}

static lmb_status bootstrap(lmb_nccl *n, lmb_error *err)
{
    card mine = { 0 };
    unsigned char id[LMB_NCCL_ID];
    lmb_error own = LMB_ERROR_INIT;

    if (n->o.fixed_order)
        fix_order();
    lmb_status st = prepare(n, &mine, &own);
    lmb_status met = compare(n, &mine, err); /* also when we failed: the others must not wait for us */
    if (st != LMB_OK)
        return lmb_error_clear(err), LMB_FAIL(err, own.status, "%s", own.msg);
    LMB_TRY(met);
    LMB_TRY(share_id(n, id, err));
    lmb_watch_doing(n->o.watch, 0, n->doing, true);
    int code = n->api->init(&n->comm, n->c->size, id, n->c->rank);
    LMB_TRY(follow(n, code, err));
    return settle(n, NULL, NULL, err);
}

lmb_status lmb_nccl_open(lmb_comm *c, const lmb_nccl_api *api, const lmb_nccl_options *o, lmb_nccl **out,
                         lmb_error *err)
{
    lmb_nccl *n = calloc(1, sizeof *n);

    if (!n)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a communicator");
    *n = (lmb_nccl){ .c = c, .api = api, .o = *o, .doing = "meeting of the GPUs" };
    gethostname(n->host, sizeof n->host - 1);
    lmb_status st = bootstrap(n, err);
    if (st != LMB_OK) {
        lmb_nccl_close(n);
        return st;
    }
    *out = n;
    return LMB_OK;
}

void lmb_nccl_close(lmb_nccl *n)
{
    lmb_error quiet = LMB_ERROR_INIT;

    if (!n)
        return;
    if (n->comm) { /* a meeting of all ranks: those that do not come are not waited for longer than for anything else */
        snprintf(n->doing, sizeof n->doing, "end of the GPUs' meeting");
        if (follow(n, n->api->finalize(n->comm), &quiet) == LMB_OK && settle(n, NULL, NULL, &quiet) == LMB_OK)
            n->api->destroy(n->comm);
    }
    lmbi_nccl_log_close(&n->log, n->ending && !lmbi_nccl_abort_end(n->ending, n->o.limit_s));
    if (n->stream)
        n->api->stream_destroy(n->stream);
    free(n);
}

void *lmb_nccl_stream(const lmb_nccl *n) { return n->stream; }

/* ---- work ---- */

static lmb_status begin(lmb_nccl *n, lmb_nccl_label l, const char *what, void *after, lmb_error *err)
{
    if (n->broken)
        return LMB_FAIL(err, LMB_E_PEER, "rank %d: the GPUs' communicator was given up at %s of step %lld", n->c->rank,
                        n->doing, (long long)n->step);
    if (l.bucket >= 0)
        snprintf(n->doing, sizeof n->doing, "%s of bucket %d", what, l.bucket);
    else
        snprintf(n->doing, sizeof n->doing, "%s", what);
    n->step = l.step;
    /* Waiting, as from now on the host may be held up by what is on a stream, in calls that nobody can end: then it is
     * the noticeboard's thread that speaks. */
    lmb_watch_doing(n->o.watch, l.step, n->doing, true);
    return after ? follow(n, n->api->stream_after(n->stream, after), err) : LMB_OK;
}

/* A piece of work was asked for, with this answer, of what begin() has told. */
static lmb_status end(lmb_nccl *n, int code, void *stream, lmb_error *err)
{
    LMB_TRY(follow(n, code, err));
    return follow(n, lmbi_nccl_log_put(&n->log, stream, n->step, n->doing, n->recording), err);
}

/* A group ends also after an error, as groups nest; it is the first error that counts. */
static lmb_status end_group(lmb_nccl *n, int code, lmb_error *err)
{
    int ended = n->api->group_end();
    return end(n, code == LMB_NCCL_OK || code == LMB_NCCL_BUSY ? ended : code, n->stream, err);
}

lmb_status lmb_nccl_sum(lmb_nccl *n, lmb_nccl_label l, const void *from, void *to, size_t count, lmb_nccl_type t,
                        void *after, lmb_error *err)
{
    LMB_TRY(begin(n, l, "all-reduce", after, err));
    return end(n, n->api->reduce(from, to, count, t, LMB_NCCL_ADD, n->comm, n->stream), n->stream, err);
}

lmb_status lmb_nccl_sum_scatter(lmb_nccl *n, lmb_nccl_label l, const void *from, void *to, size_t n_each,
                                lmb_nccl_type t, void *after, lmb_error *err)
{
    LMB_TRY(begin(n, l, "reduce-scatter", after, err));
    return end(n, n->api->sum_scatter(from, to, n_each, t, n->comm, n->stream), n->stream, err);
}

lmb_status lmb_nccl_gather(lmb_nccl *n, lmb_nccl_label l, const void *from, void *to, size_t n_each, lmb_nccl_type t,
                           void *after, lmb_error *err)
{
    LMB_TRY(begin(n, l, "all-gather", after, err));
    return end(n, n->api->gather(from, to, n_each, t, n->comm, n->stream), n->stream, err);
}

lmb_status lmb_nccl_exchange(lmb_nccl *n, lmb_nccl_label l, const void *from, int peer_to, void *to, int peer_from,
                             size_t count, lmb_nccl_type t, void *after, lmb_error *err)
{
    LMB_TRY(begin(n, l, "send and receive", after, err));
    return end(n, n->api->exchange(from, peer_to, to, peer_from, count, t, n->comm, n->stream), n->stream, err);
}

lmb_status lmb_nccl_sum_on(lmb_nccl *n, lmb_nccl_label l, const char *what, void *v, size_t count, lmb_nccl_type t,
                           void *stream, lmb_error *err)
{
    LMB_TRY(begin(n, l, what, NULL, err));
    return end(n, n->api->reduce(v, v, count, t, LMB_NCCL_ADD, n->comm, stream), stream, err);
}

lmb_status lmb_nccl_swap(lmb_nccl *n, lmb_nccl_label l, const char *what, const lmb_nccl_letter *letter, int letters,
                         void *after, lmb_error *err)
{
    LMB_TRY(begin(n, l, what, after, err));
    LMB_TRY(follow(n, n->api->stream_after(after, n->stream), err));
    int code = n->api->group_begin();
    for (int i = 0; i < letters && (code == LMB_NCCL_OK || code == LMB_NCCL_BUSY); i++) {
        const lmb_nccl_letter *x = &letter[i];
        code = n->api->exchange(x->give, x->give ? x->peer : -1, x->get, x->get ? x->peer : -1, x->n, LMB_NCCL_F32,
                                n->comm, n->stream);
    }
    return end_group(n, code, err);
}

static lmb_status in_group(lmb_nccl *n, const lmb_nccl_piece *p, int pieces, bool spread, lmb_error *err)
{
    int code = n->api->group_begin();

    for (int i = 0; i < pieces && (code == LMB_NCCL_OK || code == LMB_NCCL_BUSY); i++)
        code = spread           ? n->api->spread(p[i].at, p[i].n, p[i].type, p[i].root, n->comm, n->stream)
               : p[i].root >= 0 ? n->api->reduce_to(p[i].at, p[i].n, p[i].type, p[i].op, p[i].root, n->comm, n->stream)
                                : n->api->reduce(p[i].at, p[i].at, p[i].n, p[i].type, p[i].op, n->comm, n->stream);
    return end_group(n, code, err);
}

lmb_status lmb_nccl_reduce(lmb_nccl *n, lmb_nccl_label l, const lmb_nccl_piece *p, int pieces, void *after,
                           lmb_error *err)
{
    LMB_TRY(begin(n, l, pieces && p[pieces - 1].root >= 0 ? "reduce-scatter" : "all-reduce", after, err));
    return in_group(n, p, pieces, false, err);
}

lmb_status lmb_nccl_spread(lmb_nccl *n, lmb_nccl_label l, const lmb_nccl_piece *p, int pieces, void *after,
                           lmb_error *err)
{
    LMB_TRY(begin(n, l, "all-gather", after, err));
    return in_group(n, p, pieces, true, err);
}

/* Of the same step and bucket as the work before. */
static lmb_status convert(lmb_nccl *n, void *after, lmb_error *err)
{
    if (n->broken)
        return begin(n, (lmb_nccl_label){ 0, -1 }, "", NULL, err);
    return after ? follow(n, n->api->stream_after(n->stream, after), err) : LMB_OK;
}

lmb_status lmb_nccl_narrow(lmb_nccl *n, const float *from, uint16_t *to, size_t count, void *after, lmb_error *err)
{
    LMB_TRY(convert(n, after, err));
    return follow(n, n->api->narrow(from, to, count, n->stream), err);
}

lmb_status lmb_nccl_widen(lmb_nccl *n, const uint16_t *from, float *to, size_t count, lmb_error *err)
{
    LMB_TRY(convert(n, NULL, err));
    return follow(n, n->api->widen(from, to, count, n->stream), err);
}

lmb_status lmb_nccl_release(lmb_nccl *n, void *stream, lmb_error *err)
{
    LMB_TRY(convert(n, NULL, err));
    return follow(n, n->api->stream_after(stream, n->stream), err);
}

void lmb_nccl_watch(lmb_nccl *n, lmb_watch *w) { n->o.watch = w; }

/* ---- recordings ---- */

enum { FIRST_TO_RECORD = 20900 };
bool lmb_nccl_records(const lmb_nccl *n) { return n->version >= FIRST_TO_RECORD; }

void lmb_nccl_record(lmb_nccl *n, bool on)
{
    n->recording = on;
    lmbi_nccl_log_record(&n->log, on);
}

void lmb_nccl_replayed(lmb_nccl *n, int64_t step)
{
    snprintf(n->doing, sizeof n->doing, "the recorded sums");
    n->step = step;
    lmbi_nccl_log_replayed(&n->log, step);
    lmb_watch_doing(n->o.watch, step, n->doing, true);
}

/* ---- waiting ---- */

static lmb_status wait_until(lmb_nccl *n, int (*look)(void *at), void *at, int64_t step, lmb_error *err)
{
    LMB_TRY(convert(n, NULL, err));
    n->step = step < 0 ? n->step : step;
    lmb_watch_doing(n->o.watch, n->step, n->doing, true);
    lmb_status st = settle(n, look, at, err);
    if (st == LMB_OK)
        lmb_watch_doing(n->o.watch, n->step, "after a collective", false);
    return st;
}

lmb_status lmb_nccl_wait(lmb_nccl *n, lmb_error *err) { return lmb_nccl_wait_for(n, n->stream, -1, err); }

lmb_status lmb_nccl_wait_for(lmb_nccl *n, void *stream, int64_t step, lmb_error *err)
{
    return wait_until(n, n->api->stream_state, stream, step, err);
}

lmb_status lmb_nccl_wait_event(lmb_nccl *n, void *event, int64_t step, lmb_error *err)
{
    return wait_until(n, n->api->event_state, event, step, err);
}
