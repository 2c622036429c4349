/* federated/server_round.c - the life of a round: gather, select, collect, average, evaluate, commit.
 *
 * Idea: time and messages only mark members (selected, delivered, out); a tick looks at the marks and moves the phase
 * on. So there is one place where a round ends, whatever ended it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "federated/server_parts.h"

static void on_tick(uv_timer_t *t)
{
    lmbi_round_tick(t->data);
}

void lmbi_round_look(lmb_server *s)
{
    uv_timer_start(&s->tick, on_tick, 0, 50);
}

void lmbi_round_enter(lmb_server *s, server_phase phase)
{
    s->phase = phase;
    s->phase_since = lmbi_now(s);
    lmbi_round_look(s);
}

/* ---- begin ---- */

bool lmbi_round_spent(lmb_server *s, double share)
{
    if (!s->privacy.on || lmb_privacy_allows(&s->privacy, share))
        return false;
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "the privacy budget is spent: epsilon is %.4g after %" PRIu64 " rounds, one more would make it "
               "%.4g of %g (privacy.epsilon_budget); the federation ends here", lmb_privacy_epsilon(&s->privacy), s->privacy.ledger.rounds,
               lmb_privacy_after(&s->privacy, share, 1), s->privacy.c.epsilon_budget);
    return true;
}

void lmbi_round_report_begin(lmb_server *s)
{
    uint64_t in = s->report.bytes_in, out = s->report.bytes_out; /* moved while gathering: they count */

    s->report = (lmb_round_report){ .round = s->state.round + 1, .rounds = (uint64_t)s->cfg.rounds, .bytes_in = in,
                                    .bytes_out = out };
    memset(s->metric_weight, 0, sizeof s->metric_weight);
    lmbi_fares_begin(s);
    s->aggregator->begin(s->sum);
    s->within = 0;
}

static void gather(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    size_t n;

    if (!lmbi_select_ready(s))
        return;
    lmbi_round_report_begin(s);
    if (lmbi_select_ask(s, lmbi_server_width(s), &n, &err) != LMB_OK) {
        lmbi_server_fail(s, &err);
    } else if (n == SIZE_MAX) {
        lmbi_round_enter(s, PHASE_FAREWELL);
    } else {
        s->report.selected = n;
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "round %" PRIu64 " begins with %" PRIu64 " clients", s->report.round, s->report.selected);
        lmbi_round_enter(s, PHASE_ROUND);
    }
}

static bool has_turn(void *ctx, uint64_t turn, int64_t client)
{
    for (const member *m = ((const lmb_server *)ctx)->members; m; m = m->next)
        if (m->id == client && m->status == MEMBER_SELECTED && m->at.turn == turn)
            return true;
    return false;
}

lmb_status lmbi_round_resume(lmb_server *s, lmb_error *err)
{
    size_t n;

    LMB_TRY(lmbi_select_resume(s, &n, err));
    if (lmbi_is_async(s))
        return lmbi_async_resume(s, err);
    lmb_upload_sweep(s->spool, has_turn, s);
    lmbi_round_enter(s, n ? PHASE_ROUND : PHASE_GATHER);
    if (!n)
        return LMB_OK;
    lmbi_round_report_begin(s);
    s->report.selected = n;
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "round %" PRIu64 " goes on with %zu clients", s->report.round, n);
    return lmbi_secure_begin(s, err); /* of the session before nothing is left */
}

/* ---- finish ---- */

static lmb_status apply(lmb_server *s, lmb_error *err)
{
    s->report.clip = s->privacy.ledger.clip;
    if (lmbi_secure_noisy(s)) {
        lmb_privacy_account(&s->privacy, s->aggregator->exact(s->sum), s->state.share);
    } else if (s->privacy.on) {
        LMB_TRY(lmb_privacy_add_noise(&s->privacy, s->aggregator->exact(s->sum), s->report.round, s->state.share, s->report.updates, s->within, err));
    }
    LMB_TRY(s->aggregator->needs_all ? lmbi_round_all(s, err) : s->aggregator->finish(s->sum, s->delta, err));
    if (s->job.refine)
        LMB_TRY(lmbi_model_given(s, s->before, err));
    LMB_TRY(lmb_change_apply(s->model, s->delta, s->job.n, s->job.segments, s->job.n_segments, s->cfg.server_lr, err));
    return s->job.refine ? lmbi_round_refine(s, err) : LMB_OK;
}

static lmb_status evaluate(lmb_server *s, lmb_error *err)
{
    lmb_round_report *r = &s->report;
    r->score = NAN;
    if (!s->job.evaluate)
        return LMB_OK;
    LMB_TRY(s->job.evaluate(s->job.ctx, r->round, s->model, s->job.n, &r->score, &r->metrics, err));
    r->scored = isfinite(r->score);
    r->best = r->scored && (!s->state.has_best || r->score > s->state.best_score);
    return LMB_OK;
}

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
    lmb_journal_state next = s->state;
    lmb_journal_known *known = NULL;
    lmb_journal_round over = { .turns = !lmbi_is_async(s), .buffer = true, .committed = s->report.committed };
    const void *kept = NULL;

    next.round = s->report.round;
    next.has_ledger = s->privacy.on;
    next.ledger = s->privacy.ledger;
    if (s->report.committed) {
        size_t bytes = 0;
        next.model_round = next.round;
        if (s->aggregator->save && next.round)
            kept = s->aggregator->save(s->sum, &bytes);
        next.state_bytes = bytes;
    }
    if (s->report.best) {
        next.has_best = true;
        next.best_round = next.round;
        next.best_score = s->report.score;
    }
    LMB_TRY(learnt(s, &known, &over.n_known, err));
    over.known = known;
    lmb_status st = lmb_journal_commit(s->journal, &next, s->report.committed ? s->model : NULL, kept, &over, err);
    free(known);
    LMB_TRY(st);
    s->state = next;
    return lmbi_model_publish(s, err);
}

lmb_status lmbi_round_zero(lmb_server *s, lmb_error *err)
{
    s->report = (lmb_round_report){ .rounds = (uint64_t)s->cfg.rounds, .committed = true };
    LMB_TRY(evaluate(s, err));
    s->state.first_score = s->report.scored ? s->report.score : NAN;
    LMB_TRY(commit(s, err));
    if (s->job.on_round)
        s->job.on_round(s->job.ctx, &s->report);
    lmbi_board_round(s, &s->report);
    s->report = (lmb_round_report){ 0 };
    return LMB_OK;
}

/* Evaluation and disks take their time; nobody is to be blamed for it. */
static void excuse_silence(lmb_server *s)
{
    uv_update_time(&s->loop);
    for (peer *p = s->peers; p; p = p->next)
        p->heard = p->since = lmbi_now(s);
}

/* Nobody works on the round any more. */
static void release_all(lmb_server *s)
{
    for (member *m = s->members; m; m = m->next) {
        if (m->status == MEMBER_SELECTED && !lmbi_is_async(s))
            lmbi_member_spare(s, m, "the round has all it needs; thank you");
        if (m->status == MEMBER_SELECTED)
            continue;
        if (m->peer)
            m->peer->sending = NULL; /* the model is about to change */
    }
}

static lmb_status apply_and_commit(lmb_server *s, lmb_error *err)
{
    lmb_status st = LMB_OK;
    if (s->report.committed) {
        st = apply(s, err);
        if (st == LMB_OK)
            st = evaluate(s, err);
        if (st == LMB_OK)
            lmb_crash_at(&s->crash, LMB_CRASH_APPLIED);
    }
    for (member *m = s->members; m; m = m->next)
        if (m->status != MEMBER_SELECTED)
            lmb_upload_end(&m->upload);
    return st == LMB_OK ? commit(s, err) : st;
}

void lmbi_round_finish(lmb_server *s)
{
    lmb_round_report *r = &s->report;
    lmb_error err = LMB_ERROR_INIT;

    lmb_crash_at(&s->crash, LMB_CRASH_CLOSED);
    release_all(s);
    lmbi_secure_finish(s);
    for (uint32_t k = 0; k < r->clients.n; k++)
        r->clients.row[k].value /= s->metric_weight[k];
    lmbi_fares_end(s);
    r->committed = lmbi_is_async(s) || r->updates >= (uint64_t)s->cfg.minimum;
    if (apply_and_commit(s, &err) != LMB_OK) {
        lmbi_server_fail(s, &err);
        return;
    }
    for (member *m = s->members; m; m = m->next)
        if (m->status != MEMBER_SELECTED)
            m->status = MEMBER_IDLE;
    r->is_private = s->privacy.on;
    r->delta = s->privacy.c.delta;
    r->epsilon = s->privacy.on ? lmb_privacy_epsilon(&s->privacy) : 0;
    excuse_silence(s);
    r->seconds = s->round_seconds = lmbi_now(s) - s->phase_since;
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
    bool over = s->state.round >= (uint64_t)s->cfg.rounds || lmbi_round_spent(s, lmb_privacy_share(&s->privacy));
    lmbi_round_enter(s, over ? PHASE_FAREWELL : lmbi_is_async(s) ? PHASE_ASYNC : PHASE_GATHER);
}

/* ---- collect ---- */

bool lmbi_round_expire(lmb_server *s)
{
    double now = lmbi_now(s);
    bool waiting = false, over = !lmbi_is_async(s) && now - s->phase_since > s->cfg.round_limit_s;
    char text[160];

    for (member *m = s->members; m; m = m->next) {
        if (m->status != MEMBER_SELECTED || !lmbi_secure_owes(s, m))
            continue;
        text[0] = 0;
        if (over || now - m->asked > s->cfg.round_limit_s)
            snprintf(text, sizeof text, "the round took %g s (round_limit_s)", s->cfg.round_limit_s);
        else if (!m->peer && now - m->gone > s->cfg.reconnect_s)
            snprintf(text, sizeof text, "it has been gone for %g s (reconnect_s)", s->cfg.reconnect_s);
        else if (now - m->progress > s->cfg.deadline_s)
            snprintf(text, sizeof text, "it showed no progress for %g s (deadline_s)", s->cfg.deadline_s);
        if (text[0])
            lmbi_member_out(s, m, text);
        else
            waiting = true;
    }
    return waiting;
}

static void collect(lmb_server *s)
{
    /* A private round waits for all that were drawn: who is in its sum must not depend on who was fast. */
    bool enough = !s->privacy.on && !lmbi_secure_hides(s) && s->report.updates >= lmbi_server_need(s);
    if (lmbi_round_expire(s) && !enough)
        lmbi_select_pace(s);
    else if (!lmbi_secure_advance(s))
        lmbi_round_finish(s);
}

void lmbi_round_tick(lmb_server *s)
{
    if (s->outcome != LMB_OK) /* the loop is about to end; nothing may be committed any more */
        return;
    lmbi_peers_check(s);
    switch (s->phase) {
    case PHASE_GATHER:
        if (!s->draining)
            gather(s);
        break;
    case PHASE_ROUND: collect(s); break;
    case PHASE_ASYNC: lmbi_async_tick(s); break;
    case PHASE_FAREWELL: lmbi_end_farewell(s); break;
    case PHASE_PART: lmbi_end_part(s); break;
    }
    if (s->draining && s->outcome == LMB_OK)
        lmbi_end_drain(s);
}
