/* federated/server_async.c - versions instead of rounds: buffered asynchronous aggregation (FedBuff).
 *
 * Idea: up to `concurrency` clients are at work at any time, each on the model that was current when its task was
 * given, its version v_c. An update goes into the buffer whenever it comes, scaled by s = 1/sqrt(1 + tau), tau = v -
 * v_c, the versions that have passed since; one that is older than tau_max is not used. When the buffer holds K updates
 *
 *     model <- model + server_lr * aggregator(sum over the buffer of examples_i * s_i * delta_i / sum examples_i)
 *
 * and the version is v + 1. With equal numbers of examples that is the paper's sum over K. Stale updates are made
 * smaller, not the others greater.
 *
 * Memory is that of rounds. An update says what has changed, so the server keeps no old model; a client that has not
 * got its model whole when the version moves on is given the current one, as another task. The numbers of tasks
 * ("turns") are what clients take for rounds: no two tasks share one.
 *
 * Killed, the server loses nothing: an update is synced in the spool and its row in the journal before its client is
 * told, and the next process adds what waits once more. Sums are integers, so it arrives at the same bits. Draws depend
 * on seed, turn and what is known of clients: the same arrivals give the same model. While a version is finished,
 * beside the loop, clients go on with their work and uploads wait, those with the smallest turns before others; new
 * tasks are of the next version.
 *
 *   source   Nguyen et al.: Federated learning with buffered asynchronous aggregation. AISTATS 2022, arXiv:2106.06639
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "federated/server_parts.h"

/* What comes while a version is finished is of use to the next one alone. */
static uint64_t age(const lmb_server *s, const lmb_journal_turn *t)
{
    return s->state.round + s->worker.finishing - t->version;
}
double lmbi_async_weight(const lmb_server *s, const lmb_journal_turn *t) { return 1 / sqrt(1 + (double)age(s, t)); }

/* ---- updates ---- */

static void forget(lmb_server *s, const member *m)
{
    lmb_error err = LMB_ERROR_INIT;
    if (lmb_journal_release(s->journal, m->id, &err) != LMB_OK)
        lmbi_server_fail(s, &err);
}

bool lmbi_async_too_old(lmb_server *s, member *m)
{
    char text[120];

    if (age(s, &m->at) <= (uint64_t)s->cfg.async.tau_max)
        return false;
    snprintf(text, sizeof text, "its model is %" PRIu64 " versions old, %lld are used (async.tau_max)", age(s, &m->at),
             (long long)s->cfg.async.tau_max);
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "the update of client %" PRId64 " (%s) is not used: %s", m->id,
               m->name, text);
    forget(s, m);
    lmbi_member_spare(s, m, text);
    return true;
}

/* Without memory for it a file stays until the next start, which sweeps. */
static void remember(lmb_server *s, const lmb_journal_turn *t, const lmb_update_message *head)
{
    if (s->buffered.n == s->buffered.cap) {
        size_t cap = s->buffered.cap ? 2 * s->buffered.cap : 16;
        lmbi_buffered *more = realloc(s->buffered.v, cap * sizeof *more);
        if (!more)
            return;
        s->buffered.v = more;
        s->buffered.cap = cap;
    }
    s->buffered.v[s->buffered.n++] = (lmbi_buffered){ t->turn, t->client, head->blob.hash };
}

void lmbi_async_consumed(lmb_server *s)
{
    for (size_t i = 0; i < s->buffered.n; i++)
        lmb_upload_drop(s->spool, s->buffered.v[i].turn, s->buffered.v[i].client, &s->buffered.v[i].content);
    s->buffered.n = 0;
}

lmb_status lmbi_async_took(lmb_server *s, member *m, lmb_error *err)
{
    uint8_t head[2048];
    size_t bytes;

    LMB_TRY(lmb_wire_write("UPDATE", lmb_update_rows, &m->upload.head, head, sizeof head, &bytes, err));
    lmbi_update_learn(s, m, &m->upload.head);
    LMB_TRY(lmb_journal_buffer(s->journal, &m->at, head, bytes, &m->known, err));
    lmb_crash_at(&s->crash, LMB_CRASH_BUFFERED);
    lmbi_update_count(s, &m->upload.head);
    remember(s, &m->at, &m->upload.head);
    lmb_upload_leave(&m->upload);
    m->status = MEMBER_IDLE;
    return LMB_OK;
}

/* ---- tasks ---- */

void lmbi_async_renew(lmb_server *s, member *m)
{
    lmb_error err = LMB_ERROR_INIT;

    m->stale = m->upload.fd >= 0;
    lmb_upload_end(&m->upload);
    if (lmbi_select_again(s, m, &err) != LMB_OK)
        lmbi_server_fail(s, &err);
}

/* The version has moved on: who was on the way to get the old model gets the new one. */
static void renew_all(lmb_server *s)
{
    for (member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_SELECTED && m->peer && m->peer->sending == &s->blobs[BLOB_MODEL])
            lmbi_async_renew(s, m);
}

static void refill(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    size_t busy = 0, idle = 0, width = lmbi_server_width(s), n;

    for (member *m = s->members; m; m = m->next) {
        if (m->status == MEMBER_OUT && lmbi_now(s) - m->asked > s->cfg.deadline_s)
            m->status = MEMBER_IDLE; /* no round ends that would give it another chance */
        busy += lmbi_at_work(m);
        idle += m->status == MEMBER_IDLE && m->peer && !m->peer->told;
    }
    if (!s->warm && !lmbi_select_ready(s))
        return;
    s->warm = true;
    if (idle && busy < width && lmbi_select_ask(s, width - busy, &n, &err) != LMB_OK)
        lmbi_server_fail(s, &err);
    else
        lmbi_select_pace(s);
}

void lmbi_async_next(lmb_server *s)
{
    lmbi_round_report_begin(s);
    renew_all(s);
    lmbi_worker_next(s);
}

void lmbi_async_tick(lmb_server *s)
{
    bool full = s->report.updates >= lmbi_server_need(s);

    lmbi_round_expire(s);
    if (s->worker.finishing)
        return;
    if (full) {
        s->report.selected = s->report.updates;
        lmbi_round_finish(s);
    } else if (!s->draining) {
        refill(s);
    }
}

/* ---- after a restart ---- */

static lmb_status take_waiting(void *ctx, const lmb_journal_turn *t, const void *head, size_t bytes, lmb_error *err)
{
    lmb_server *s = ctx;
    lmb_upload_rules rules = lmbi_update_rules(s, t);
    lmb_update_message m;
    lmb_upload u;
    lmb_status st;

    lmb_upload_init(&u);
    rules.factor = lmbi_async_weight(s, t);
    rules.crash = NULL;
    LMB_TRY(lmb_wire_read("UPDATE", lmb_update_rows, head, bytes, &m, err));
    LMB_TRY(lmb_upload_begin(&u, s->spool, t->client, &rules, &m, err));
    st = lmb_upload_complete(&u)
             ? lmb_upload_absorb(&u, s->aggregator, s->sum, err)
             : LMB_FAIL(err, LMB_E_FORMAT,
                        "the file is gone or cut, the journal needs it; restore it from a backup or begin in a "
                        "new state_dir");
    if (st == LMB_OK)
        lmbi_update_count(s, &m);
    remember(s, t, &m);
    lmb_upload_leave(&u);
    return st == LMB_OK ? LMB_OK : lmb_error_context(err, "%s", u.path);
}

typedef struct known_turn { uint64_t turn; int64_t client; bool found; } known_turn;
static lmb_status compare(void *ctx, const lmb_journal_turn *t, const void *head, size_t bytes, lmb_error *err)
{
    known_turn *k = ctx;
    (void)head, (void)bytes, (void)err;
    k->found |= t->turn == k->turn && t->client == k->client;
    return LMB_OK;
}

static bool is_wanted(void *ctx, uint64_t turn, int64_t client)
{
    lmb_server *s = ctx;
    known_turn k = { turn, client, false };

    for (const member *m = s->members; m; m = m->next)
        if (m->id == client && m->status == MEMBER_SELECTED && m->at.turn == turn)
            return true;
    return lmb_journal_buffered(s->journal, compare, &k, NULL) != LMB_OK || k.found;
}

lmb_status lmbi_async_resume(lmb_server *s, lmb_error *err)
{
    lmb_upload_sweep(s->spool, is_wanted, s);
    lmbi_round_report_begin(s);
    LMB_TRY(lmb_journal_buffered(s->journal, take_waiting, s, err));
    if (s->report.updates)
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated",
                   "version %" PRIu64 " goes on with %" PRIu64 " updates in the buffer", s->state.round,
                   s->report.updates);
    lmbi_round_enter(s, PHASE_ASYNC);
    return LMB_OK;
}
