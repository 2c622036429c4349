/* federated/server_board.c - the server's part of the status: what goes on now, published when it changes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "federated/server_parts.h"
#include "federated/board.h"

static const double least_s = 1, most_s = 5; /* between two snapshots: with news, and without */

static const char *doing(const member *m)
{
    if (m->waiting)
        return "waiting";
    if (m->status == MEMBER_SELECTED)
        return m->peer ? "works" : "away";
    if (m->status == MEMBER_HANDED || m->status == MEMBER_DELIVERED)
        return "delivered";
    return m->status == MEMBER_OUT ? "out" : m->peer ? "idle" : "away";
}

static int by_id(const void *a, const void *b)
{
    const lmb_board_client *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void add_now(const lmb_server *s, lmb_board *out)
{
    static const char *const phases[] = { [PHASE_GATHER] = "gathering clients",
                                          [PHASE_ROUND] = "in a round",
                                          [PHASE_ASYNC] = "taking updates",
                                          [PHASE_FAREWELL] = "ending",
                                          [PHASE_PART] = "stopping" };
    out->live = true;
    out->phase = s->worker.finishing ? "making the next model" : phases[s->phase];
    out->phase_s = lmbi_now(s) - s->phase_since;
    out->rounds = (uint64_t)s->cfg.rounds;
    out->selected = s->phase == PHASE_ROUND ? s->report.selected : 0;
    out->delivered = s->phase == PHASE_ROUND ? s->report.updates : 0;
    if (s->privacy.on) {
        out->epsilon = lmb_privacy_epsilon(&s->privacy);
        out->delta = s->privacy.c.delta;
        out->budget = s->privacy.c.epsilon_budget > 0 ? s->privacy.c.epsilon_budget : NAN;
    }
    for (const member *m = s->members; m; m = m->next) {
        lmb_board_client want = { .id = m->id };
        lmb_board_client *c = bsearch(&want, out->clients, out->n_clients, sizeof *out->clients, by_id);
        if (c)
            c->now = doing(m);
        out->connected += m->peer || m->waiting;
    }
}

static lmb_status publish(lmb_server *s, lmb_error *err)
{
    lmb_str text[LMB_BOARD_TEXTS] = { LMB_STR_INIT, LMB_STR_INIT, LMB_STR_INIT, LMB_STR_INIT };
    lmb_board now;
    lmb_status st = LMB_OK;

    LMB_TRY(lmb_board_load(s->journal, &now, err));
    add_now(s, &now);
    lmb_board_page(&now, &text[LMB_BOARD_PAGE]);
    lmb_board_json(&now, &text[LMB_BOARD_JSON]);
    lmb_board_text(&now, &text[LMB_BOARD_TEXT]);
    lmb_board_metrics(&now, &text[LMB_BOARD_METRICS]);
    lmb_board_free(&now);
    for (int i = 0; i < LMB_BOARD_TEXTS && st == LMB_OK; i++)
        st = lmb_str_check(&text[i], err);
    if (st == LMB_OK)
        lmb_board_http_publish(s->board, text);
    else
        for (int i = 0; i < LMB_BOARD_TEXTS; i++)
            lmb_str_free(&text[i]);
    return st;
}

/* Differs when there is something to tell. */
static uint64_t news(const lmb_server *s)
{
    uint64_t h = s->state.round * 31 + s->phase * 2 + s->worker.finishing;
    for (const member *m = s->members; m; m = m->next)
        h = h * 31 + (uint64_t)m->status * 16 + (uint64_t)m->state * 4 + (m->peer ? 2 : 0) + (m->waiting ? 1 : 0);
    return h;
}

void lmbi_board_check(lmb_server *s)
{
    double age = lmbi_now(s) - s->board_at;
    lmb_error err = LMB_ERROR_INIT;

    if (!s->board || (s->board_news && age < least_s))
        return;
    uint64_t h = news(s) | 1;
    if (h == s->board_news && age < most_s)
        return;
    s->board_at = lmbi_now(s);
    s->board_news = h;
    if (publish(s, &err) != LMB_OK)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "status: %s", err.msg);
}

void lmbi_board_round(lmb_server *s, const lmb_round_report *r)
{
    lmb_error err = LMB_ERROR_INIT;
    if (lmb_journal_report(s->journal, r, &err) != LMB_OK)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "status: %s", err.msg);
}

lmb_status lmbi_board_open(lmb_server *s, lmb_error *err)
{
    lmb_board_config c;
    if (!s->cfg.status)
        return LMB_OK;
    LMB_TRY(lmb_board_config_of(s->cfg.status, &c, err));
    LMB_TRY(lmb_board_http_start(&c, &s->board, err));
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "status: http://%s%s%s:%d/", strchr(c.address, ':') ? "[" : "",
               c.address, strchr(c.address, ':') ? "]" : "", lmb_board_http_port(s->board));
    if (strncmp(c.address, "127.", 4) != 0 && strcmp(c.address, "::1") != 0)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated",
                   "the status can be read by all who reach %s; status.address: 127.0.0.1 is this machine alone",
                   c.address);
    return LMB_OK;
}

int lmb_server_status_port(const lmb_server *s) { return s->board ? lmb_board_http_port(s->board) : 0; }
