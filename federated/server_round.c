/* federated/server_round.c - the life of a round: gather, select, collect; then server_finish.c.
 *
 * Idea: time and messages only mark members (selected, delivered, out); a tick looks at the marks and moves the phase
 * on. So there is one place where a round ends, whatever ended it. No stage ends while uploads that are whole wait for
 * the worker.
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
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated",
               "the privacy budget is spent: epsilon is %.4g after %" PRIu64 " rounds, one more would make it "
               "%.4g of %g (privacy.epsilon_budget); the federation ends here",
               lmb_privacy_epsilon(&s->privacy), s->privacy.ledger.rounds, lmb_privacy_after(&s->privacy, share, 1),
               s->privacy.c.epsilon_budget);
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
    s->own_fault = (lmb_error)LMB_ERROR_INIT;
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
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "round %" PRIu64 " begins with %" PRIu64 " clients",
                   s->report.round, s->report.selected);
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
        if (m->peer && m->peer->held) /* we do not listen */
            m->progress = now;
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
    bool waiting = lmbi_round_expire(s) && !lmbi_update_full(s);

    if (s->worker.finishing)
        return;
    if (waiting || lmbi_worker_absorbs(s))
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
