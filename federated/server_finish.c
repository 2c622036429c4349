/* federated/server_finish.c - a round is over: what was absorbed becomes the next model.
 *
 * Three steps. On the loop the round is closed: nobody works on it any more. Beside the loop (server_worker.c) masks
 * come off, the aggregator's step is applied to a copy of the model, which may be refined and is evaluated. On the loop
 * again the journal is written, and clients are given the new model. In between the loop serves: clients that ask for
 * the model get the one before.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "federated/server_parts.h"

/* ---- beside the loop ---- */

static lmb_status apply(lmb_server *s, lmb_error *err)
{
    lmbi_next *f = &s->next;

    f->report.clip = f->privacy.ledger.clip;
    if (lmbi_secure_noisy(s)) {
        lmb_privacy_account(&f->privacy, s->aggregator->exact(s->sum), s->state.share);
    } else if (f->privacy.on) {
        LMB_TRY(lmb_privacy_add_noise(&f->privacy, s->aggregator->exact(s->sum), f->report.round, s->state.share,
                                      f->report.updates, s->within, err));
    }
    LMB_TRY(s->aggregator->needs_all ? s->aggregator->all(s->sum, &f->updates, s->delta, err)
                                     : s->aggregator->finish(s->sum, s->delta, err));
    if (s->job.refine)
        LMB_TRY(lmbi_model_given(s, f->before, err));
    LMB_TRY(lmb_change_apply(f->model, s->delta, s->job.n, s->job.segments, s->job.n_segments, s->cfg.server_lr, err));
    return s->job.refine ? s->job.refine(s->job.ctx, f->report.round, f->before, &f->updates, f->model, err) : LMB_OK;
}

static lmb_status evaluate(lmb_server *s, lmb_error *err)
{
    lmb_round_report *r = &s->next.report;
    r->score = NAN;
    if (!s->job.evaluate)
        return LMB_OK;
    LMB_TRY(s->job.evaluate(s->job.ctx, r->round, s->next.model, s->job.n, &r->score, &r->metrics, err));
    r->scored = isfinite(r->score);
    r->best = r->scored && (!s->state.has_best || r->score > s->state.best_score);
    return LMB_OK;
}

static lmb_status make_next(lmb_server *s, lmb_error *err)
{
    lmbi_next *f = &s->next;

    lmbi_secure_finish(s);
    f->report.committed = lmbi_is_async(s) || f->report.updates >= (uint64_t)s->cfg.minimum;
    if (!f->report.committed)
        return LMB_OK;
    memcpy(f->model, s->model, s->job.n * sizeof *f->model);
    LMB_TRY(apply(s, err));
    LMB_TRY(evaluate(s, err));
    return lmbi_model_encode(s, f->model, err);
}

/* ---- in the journal ---- */

/* What was learnt of the clients that delivered; *known is malloc'd. */
static lmb_status learnt(const lmb_server *s, lmb_journal_known **known, size_t *n, lmb_error *err)
{
    *n = 0;
    for (const member *m = s->members; m; m = m->next)
        *n += m->status == MEMBER_DELIVERED;
    *known = calloc(*n + 1, sizeof **known);
    if (!*known)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what is known of %zu clients", *n);
    *n = 0;
    for (const member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_DELIVERED)
            (*known)[(*n)++] = m->known;
    return LMB_OK;
}

static lmb_status commit(lmb_server *s, lmb_error *err)
{
    const lmb_round_report *r = &s->report;
    lmb_journal_state next = s->state;
    lmb_journal_known *known = NULL;
    lmb_journal_round over = { .turns = !lmbi_is_async(s), .buffer = true, .committed = r->committed };
    const void *kept = NULL;

    next.round = r->round;
    next.has_ledger = s->privacy.on;
    next.ledger = s->privacy.ledger;
    if (r->committed) {
        size_t bytes = 0;
        next.model_round = next.round;
        if (s->aggregator->save && next.round)
            kept = s->aggregator->save(s->sum, &bytes);
        next.state_bytes = bytes;
    }
    if (r->best) {
        next.has_best = true;
        next.best_round = next.round;
        next.best_score = r->score;
    }
    LMB_TRY(learnt(s, &known, &over.n_known, err));
    over.known = known;
    lmb_status st = lmb_journal_commit(s->journal, &next, r->committed ? s->next.model : NULL, kept, &over, err);
    free(known);
    LMB_TRY(st);
    s->state = next;
    lmbi_async_consumed(s);
    if (!r->committed)
        return LMB_OK;
    float *old = s->model;
    s->model = s->next.model;
    s->next.model = old;
    return lmbi_model_publish(s, err);
}

lmb_status lmbi_round_zero(lmb_server *s, lmb_error *err)
{
    s->next.report = (lmb_round_report){ .rounds = (uint64_t)s->cfg.rounds, .committed = true };
    memcpy(s->next.model, s->model, s->job.n * sizeof *s->model);
    LMB_TRY(evaluate(s, err));
    s->report = s->next.report;
    s->state.first_score = s->report.scored ? s->report.score : NAN;
    LMB_TRY(commit(s, err));
    if (s->job.on_round)
        s->job.on_round(s->job.ctx, &s->report);
    lmbi_board_round(s, &s->report);
    s->report = (lmb_round_report){ 0 };
    return LMB_OK;
}

/* ---- on the loop ---- */

/* Disks take their time; nobody is to be blamed for it. */
static void excuse_silence(lmb_server *s)
{
    uv_update_time(&s->loop);
    for (peer *p = s->peers; p; p = p->next)
        p->heard = p->since = lmbi_now(s);
}

/* The model is about to change: no one is on the way to get it, but those of mode async that are at work
 * (lmbi_async_next), and at the end nobody. */
static void stop_sending(lmb_server *s, bool all)
{
    for (member *m = s->members; m; m = m->next)
        if ((all || m->status != MEMBER_SELECTED) && m->peer)
            m->peer->sending = NULL;
}

/* Nobody works on the round any more. */
static void release_all(lmb_server *s)
{
    for (member *m = s->members; m && !lmbi_is_async(s); m = m->next)
        if (m->status == MEMBER_SELECTED)
            lmbi_member_spare(s, m, "the round has all it needs; thank you");
}

static lmb_status take_next(lmb_server *s, lmb_status st, lmb_error *err)
{
    lmbi_next *f = &s->next;

    f->report.bytes_in = s->report.bytes_in; /* counted meanwhile */
    f->report.bytes_out = s->report.bytes_out;
    s->report = f->report;
    s->privacy = f->privacy;
    lmbi_secure_leave(s);
    lmbi_round_drop(s);
    if (st == LMB_OK && !s->report.committed && s->own_fault.status != LMB_OK) {
        *err = s->own_fault;
        st = err->status;
    }
    if (st == LMB_OK && s->report.committed)
        lmb_crash_at(&s->crash, LMB_CRASH_APPLIED);
    for (member *m = s->members; m; m = m->next)
        if (!lmbi_at_work(m))
            lmb_upload_end(&m->upload);
    stop_sending(s, false);
    return st == LMB_OK ? commit(s, err) : st;
}

static void tell(lmb_server *s)
{
    lmb_round_report *r = &s->report;

    r->is_private = s->privacy.on;
    r->delta = s->privacy.c.delta;
    r->epsilon = s->privacy.on ? lmb_privacy_epsilon(&s->privacy) : 0;
    excuse_silence(s);
    r->seconds = s->round_seconds = lmbi_now(s) - s->phase_since;
    if (s->next.no_sum.status != LMB_OK)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " ends without a sum: %s", r->round,
                   s->next.no_sum.msg);
    if (!r->committed)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated",
                   "round %" PRIu64 " is abandoned: %" PRIu64 " updates arrived, %lld are needed "
                   "(minimum); the model stays as it was",
                   r->round, r->updates, (long long)s->cfg.minimum);
    if (s->job.on_round)
        s->job.on_round(s->job.ctx, r);
    lmbi_board_round(s, r);
    lmb_crash_at(&s->crash, LMB_CRASH_REPORTED);
    r->bytes_in = r->bytes_out = 0;
}

static void finished(lmb_server *s, lmb_status st, lmb_error *err)
{
    s->worker.finishing = false;
    if (take_next(s, st, err) != LMB_OK) {
        lmbi_server_fail(s, err);
        return;
    }
    for (member *m = s->members; m; m = m->next)
        if (!lmbi_at_work(m))
            m->status = MEMBER_IDLE;
    tell(s);
    bool over = s->state.round >= (uint64_t)s->cfg.rounds || lmbi_round_spent(s, lmb_privacy_share(&s->privacy));
    if (over) {
        stop_sending(s, true);
        lmbi_worker_clear(s);
    }
    lmbi_round_enter(s, over ? PHASE_FAREWELL : lmbi_is_async(s) ? PHASE_ASYNC : PHASE_GATHER);
    if (s->phase == PHASE_ASYNC)
        lmbi_async_next(s);
}

void lmbi_round_finish(lmb_server *s)
{
    lmb_round_report *r = &s->report;
    lmb_error err = LMB_ERROR_INIT;

    lmb_crash_at(&s->crash, LMB_CRASH_CLOSED);
    release_all(s);
    if (s->outcome != LMB_OK)
        return;
    lmbi_secure_close_in(s);
    for (uint32_t k = 0; k < r->clients.n; k++)
        r->clients.row[k].value /= s->metric_weight[k];
    lmbi_fares_end(s);
    s->next.report = *r;
    s->next.privacy = s->privacy;
    s->next.no_sum = (lmb_error)LMB_ERROR_INIT;
    if (lmbi_round_keeps(s) && lmbi_round_gather(s, &err) != LMB_OK) {
        lmbi_server_fail(s, &err);
        return;
    }
    s->worker.finishing = true;
    lmbi_worker_start(s, make_next, finished);
}
