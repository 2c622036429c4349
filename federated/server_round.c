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

#include "core/base/random.h"
#include "federated/server_parts.h"

static const double farewell_s = 10;

static void on_soon(uv_timer_t *t)
{
    lmbi_round_tick(t->data);
}

/* Look at the marks in the next turn of the loop instead of waiting for the tick. */
static void look_soon(lmb_server *s)
{
    uv_timer_start(&s->tick, on_soon, 0, 50);
}

static void enter(lmb_server *s, server_phase phase)
{
    s->phase = phase;
    s->phase_since = lmbi_now(s);
    look_soon(s);
}

/* ---- gather and select ---- */

static int by_id(const void *a, const void *b)
{
    const member *x = *(member *const *)a, *y = *(member *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

static uint64_t connected(const lmb_server *s)
{
    uint64_t n = 0;
    for (const member *m = s->members; m; m = m->next)
        n += m->peer != NULL;
    return n;
}

/* order[n] becomes who takes part, in the first places; how many. Without privacy the first `target` of a permutation that
 * depends on seed, round and who is there, not on who came first. */
static uint32_t draw(lmb_server *s, uint32_t *order, uint32_t n)
{
    lmb_rand r = lmb_rand_at((uint64_t)s->cfg.seed, LMB_RAND_SELECT, 0, s->state.round + 1);

    s->share = 1;
    if (s->privacy.on && s->privacy.c.sampling != LMB_SAMPLING_ALL)
        return (uint32_t)lmb_privacy_draw(&s->privacy, s->state.round + 1, n, n, order, &s->share);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    lmb_rand_shuffle(&r, order, n);
    return n < (uint64_t)s->cfg.target ? n : (uint32_t)s->cfg.target;
}

static lmb_status select_members(lmb_server *s, lmb_error *err)
{
    uint32_t n = (uint32_t)connected(s), i = 0;
    member **there = calloc(n, sizeof *there);
    uint32_t *order = calloc(n, sizeof *order);

    if (!there || !order) {
        free(there);
        free(order);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to select among %u clients", n);
    }
    for (member *m = s->members; m; m = m->next)
        if (m->peer)
            there[i++] = m;
    qsort(there, n, sizeof *there, by_id);
    uint32_t take = draw(s, order, n);
    for (i = 0; i < take; i++) {
        member *m = there[order[i]];
        m->status = MEMBER_SELECTED;
        m->steps = m->gave = 0;
        m->progress = lmbi_now(s);
    }
    s->report.selected = take;
    free(there);
    free(order);
    return LMB_OK;
}

bool lmbi_round_spent(lmb_server *s, double share)
{
    if (!s->privacy.on || lmb_privacy_allows(&s->privacy, share))
        return false;
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "the privacy budget is spent: epsilon is %.4g after %" PRIu64 " rounds, one more would make it "
               "%.4g of %g (privacy.epsilon_budget); the federation ends here", lmb_privacy_epsilon(&s->privacy), s->privacy.ledger.rounds,
               lmb_privacy_after(&s->privacy, share, 1), s->privacy.c.epsilon_budget);
    return true;
}

static void start_round(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    uint64_t in = s->report.bytes_in, out = s->report.bytes_out; /* moved while gathering: they count */

    s->report = (lmb_round_report){ .round = s->state.round + 1, .rounds = (uint64_t)s->cfg.rounds, .bytes_in = in,
                                    .bytes_out = out };
    memset(s->metric_weight, 0, sizeof s->metric_weight);
    lmbi_fares_begin(s);
    s->aggregator->begin(s->sum);
    s->within = 0;
    if (select_members(s, &err) != LMB_OK) {
        lmbi_server_fail(s, &err);
        return;
    }
    if (lmbi_round_spent(s, s->share)) { /* more than was configured, because fewer are there */
        for (member *m = s->members; m; m = m->next)
            m->status = MEMBER_IDLE;
        enter(s, PHASE_FAREWELL);
        return;
    }
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "round %" PRIu64 " begins with %" PRIu64 " clients",
               s->report.round, s->report.selected);
    enter(s, PHASE_ROUND);
    for (member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_SELECTED && m->peer)
            lmbi_peer_task(m->peer);
}

static void gather(lmb_server *s)
{
    uint64_t n = connected(s);
    if (n >= (uint64_t)s->cfg.target ||
        (n >= (uint64_t)s->cfg.minimum && lmbi_now(s) - s->phase_since >= s->cfg.gather_s))
        start_round(s);
}

/* ---- collect ---- */

static void note_to(member *m, lmb_message_type type, uint64_t round, const char *sentence)
{
    lmb_round_note note = { .round = round };
    if (!m->peer || m->peer->told)
        return;
    snprintf(note.sentence, sizeof note.sentence, "%s", sentence);
    if (lmb_message_send(m->peer->channel, type, &note, NULL) != LMB_OK)
        lmbi_peer_close(m->peer);
    else
        lmbi_peer_flush(m->peer);
}

void lmbi_member_out(lmb_server *s, member *m, const char *sentence)
{
    lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "round %" PRIu64 " goes on without client %" PRId64 " (%s): %s",
               s->report.round, m->id, m->name, sentence);
    m->status = MEMBER_OUT;
    lmb_upload_end(&m->upload);
    note_to(m, LMB_MSG_REFUSED, s->report.round, sentence);
    look_soon(s);
}

static void average_metrics(lmb_server *s, const lmb_update_message *u)
{
    lmb_figures *sum = &s->report.clients;
    for (uint32_t i = 0; i < u->metrics.n; i++) {
        uint32_t k = 0;
        while (k < sum->n && strcmp(sum->row[k].name, u->metrics.row[i].name) != 0)
            k++;
        if (k == sum->n) {
            lmb_figures_add(sum, u->metrics.row[i].name, 0);
            if (k == sum->n)
                return; /* full */
        }
        sum->row[k].value += (double)u->examples * u->metrics.row[i].value;
        s->metric_weight[k] += (double)u->examples;
    }
}

/* All bytes are here: absorb, and say so. */
static void deliver(lmb_server *s, member *m)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_update_message head = m->upload.head;
    lmb_status st = lmbi_round_take(s, m, &err);

    if (st == LMB_E_IO || st == LMB_E_NOMEM) { /* part of it may be in the sum already: the round cannot be trusted */
        lmbi_server_fail(s, &err);
    } else if (st != LMB_OK) {
        lmbi_member_out(s, m, err.msg);
    } else {
        m->status = MEMBER_DELIVERED;
        m->gave = head.examples;
        s->report.updates++;
        s->report.examples += head.examples;
        s->report.payload += head.blob.bytes;
        s->report.plain += head.n * sizeof(float);
        if (!s->privacy.on) { /* nothing is known of a private federation's clients but the noisy sum */
            average_metrics(s, &head);
            lmbi_fares_add(s, &head.metrics);
        }
        s->within += head.within == 1;
        note_to(m, LMB_MSG_ACCEPTED, s->report.round, "");
        look_soon(s);
    }
}

void lmbi_round_update(lmb_server *s, member *m, const lmb_update_message *head)
{
    lmb_upload_rules rules = { .round = s->state.round + 1,
                               .n = s->job.n,
                               .max_examples = (uint64_t)s->cfg.max_examples,
                               .layout = s->job.layout,
                               .model = s->blobs[BLOB_MODEL].id.hash,
                               .max_abs = s->cfg.max_abs,
                               .codec = &s->codec,
                               .seed = lmb_codec_seed((uint64_t)s->cfg.seed, s->state.round + 1, m->id),
                               .norm_clip = s->cfg.clip_norm,
                               .keep = lmbi_round_keeps(s) };
    if (s->privacy.on) {
        rules.max_examples = 1;
        rules.norm_clip = s->privacy.ledger.clip;
        rules.norm_limit = rules.norm_clip * (1 + s->codec.codec->slack); /* what its rounding may add; scaled down again */
    }
    lmb_error err = LMB_ERROR_INIT;
    lmb_want have = { .blob = head->blob };

    if (s->phase != PHASE_ROUND || m->status != MEMBER_SELECTED) {
        note_to(m, LMB_MSG_REFUSED, head->round, "the round is over, or goes on without this client");
        return;
    }
    if (lmb_upload_begin(&m->upload, s->spool, m->id, &rules, head, &err) != LMB_OK) {
        lmbi_member_out(s, m, err.msg);
        return;
    }
    m->progress = lmbi_now(s);
    if (lmb_upload_complete(&m->upload)) { /* the answer to the first time was lost */
        deliver(s, m);
        return;
    }
    have.offset = m->upload.have;
    if (lmb_message_send(m->peer->channel, LMB_MSG_HAVE, &have, NULL) != LMB_OK)
        lmbi_peer_close(m->peer);
}

void lmbi_round_chunk(lmb_server *s, member *m, const lmb_record *r)
{
    lmb_error err = LMB_ERROR_INIT;
    if (m->status != MEMBER_SELECTED)
        return; /* on its way while we refused the rest */
    if (lmb_upload_chunk(&m->upload, r, &err) != LMB_OK) {
        lmbi_member_out(s, m, err.msg);
        return;
    }
    m->progress = lmbi_now(s);
    if (lmb_upload_complete(&m->upload))
        deliver(s, m);
}

/* ---- finish ---- */

static lmb_status apply(lmb_server *s, lmb_error *err)
{
    if (s->privacy.on) {
        s->report.clip = s->privacy.ledger.clip;
        LMB_TRY(lmb_privacy_add_noise(&s->privacy, s->aggregator->exact(s->sum), s->report.round, s->share, s->report.updates, s->within, err));
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

static lmb_status commit(lmb_server *s, lmb_error *err)
{
    lmb_journal_state next = s->state;
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
    LMB_TRY(lmb_journal_commit(s->journal, &next, s->report.committed ? s->model : NULL, kept, err));
    s->state = next;
    return lmbi_model_publish(s, err);
}

lmb_status lmbi_round_zero(lmb_server *s, lmb_error *err)
{
    s->report = (lmb_round_report){ .rounds = (uint64_t)s->cfg.rounds, .committed = true };
    LMB_TRY(evaluate(s, err));
    s->state.first_score = s->report.scored ? s->report.score : NAN;
    LMB_TRY(commit(s, err));
    lmbi_board_round(s, &s->report);
    if (s->job.on_round)
        s->job.on_round(s->job.ctx, &s->report);
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

static void finish_round(lmb_server *s)
{
    lmb_round_report *r = &s->report;
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st = LMB_OK;

    for (peer *p = s->peers; p; p = p->next)
        p->sending = NULL; /* the model is about to change */
    for (member *m = s->members; m; m = m->next)
        m->status = MEMBER_IDLE;
    for (uint32_t k = 0; k < r->clients.n; k++)
        r->clients.row[k].value /= s->metric_weight[k];
    r->committed = r->updates >= (uint64_t)s->cfg.minimum;
    lmbi_fares_end(s);
    if (r->committed) {
        st = apply(s, &err);
        if (st == LMB_OK)
            st = evaluate(s, &err);
    }
    for (member *m = s->members; m; m = m->next)
        lmb_upload_end(&m->upload);
    if (st == LMB_OK)
        st = commit(s, &err);
    if (st != LMB_OK) {
        lmbi_server_fail(s, &err);
        return;
    }
    if (r->committed)
        lmbi_people_credit(s);
    r->is_private = s->privacy.on;
    r->delta = s->privacy.c.delta;
    r->epsilon = s->privacy.on ? lmb_privacy_epsilon(&s->privacy) : 0;
    excuse_silence(s);
    r->seconds = lmbi_now(s) - s->phase_since;
    if (!r->committed)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated",
                   "round %" PRIu64 " is abandoned: %" PRIu64 " updates arrived, %lld are needed "
                   "(minimum); the model stays as it was",
                   r->round, r->updates, (long long)s->cfg.minimum);
    lmbi_board_round(s, r);
    if (s->job.on_round)
        s->job.on_round(s->job.ctx, r);
    r->bytes_in = r->bytes_out = 0;
    bool over = s->state.round >= (uint64_t)s->cfg.rounds || lmbi_round_spent(s, lmb_privacy_share(&s->privacy));
    enter(s, over ? PHASE_FAREWELL : PHASE_GATHER);
}

static void collect(lmb_server *s)
{
    double now = lmbi_now(s);
    bool waiting = false, over = now - s->phase_since > s->cfg.round_limit_s;
    char text[160];

    for (member *m = s->members; m; m = m->next) {
        if (m->status != MEMBER_SELECTED)
            continue;
        text[0] = 0;
        if (over)
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
    if (!waiting)
        finish_round(s);
}

/* ---- the end ---- */

static void farewell(lmb_server *s)
{
    bool untold = false;
    for (member *m = s->members; m; m = m->next) {
        if (m->peer && !m->told) {
            lmb_round_note note = { .round = s->state.round, .sentence = "all rounds are over; thank you" };
            m->told = true;
            lmbi_peer_farewell(m->peer, LMB_MSG_DONE, &note);
        }
        /* wait for words to leave, and for those who were here a moment ago */
        untold |= m->peer || (!m->told && lmbi_now(s) - m->gone < s->cfg.reconnect_s);
    }
    if (!untold || lmbi_now(s) - s->phase_since > farewell_s)
        uv_stop(&s->loop);
}

void lmbi_round_tick(lmb_server *s)
{
    if (s->outcome != LMB_OK) /* the loop is about to end; nothing may be committed any more */
        return;
    lmbi_peers_check(s);
    switch (s->phase) {
    case PHASE_GATHER: gather(s); break;
    case PHASE_ROUND: collect(s); break;
    case PHASE_FAREWELL: farewell(s); break;
    }
}
