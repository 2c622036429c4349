/* federated/board.c - see board.h: taking a snapshot, and saying it to machines and terminals. */
#include "federated/board.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "federated/journal_parts.h"

/* ---- the journal ---- */

static lmb_status report_fare(lmb_journal *j, uint64_t round, int kind, const lmb_spread *f, lmb_error *err)
{
    sqlite3_stmt *q;
    LMB_TRY(
        prepare(j, "INSERT OR REPLACE INTO fares (round, kind, clients, mean, median, worst) VALUES (?, ?, ?, ?, ?, ?)",
                &q, err));
    sqlite3_bind_int64(q, 1, (sqlite3_int64)round);
    sqlite3_bind_int(q, 2, kind);
    sqlite3_bind_int64(q, 3, (sqlite3_int64)f->clients);
    sqlite3_bind_double(q, 4, f->mean);
    sqlite3_bind_double(q, 5, f->median);
    sqlite3_bind_double(q, 6, f->worst);
    return finish_write(j, q, err);
}

lmb_status lmb_journal_report(lmb_journal *j, const lmb_round_report *r, lmb_error *err)
{
    sqlite3_stmt *q;
    for (int k = 0; k < LMB_FARES; k++)
        if (r->fare[k].clients)
            LMB_TRY(report_fare(j, r->round, k, &r->fare[k], err));
    LMB_TRY(prepare(
        j,
        "INSERT OR REPLACE INTO reports (round, selected, updates, bytes_in, bytes_out, committed, seconds, score,"
        " epsilon) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        &q, err));
    sqlite3_bind_int64(q, 1, (sqlite3_int64)r->round);
    sqlite3_bind_int64(q, 2, (sqlite3_int64)r->selected);
    sqlite3_bind_int64(q, 3, (sqlite3_int64)r->updates);
    sqlite3_bind_int64(q, 4, (sqlite3_int64)r->bytes_in);
    sqlite3_bind_int64(q, 5, (sqlite3_int64)r->bytes_out);
    sqlite3_bind_int(q, 6, r->committed);
    sqlite3_bind_double(q, 7, r->seconds);
    if (r->scored)
        sqlite3_bind_double(q, 8, r->score);
    if (r->is_private)
        sqlite3_bind_double(q, 9, r->epsilon);
    return finish_write(j, q, err);
}

static double column_or_nan(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? NAN : sqlite3_column_double(q, column);
}

/* What a page can show and a server should hold: the last ones, in ascending order. */
enum { HISTORY_MAX = 1000 };

static lmb_status load_history(lmb_journal *j, lmb_board *s, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;

    s->history = calloc(HISTORY_MAX, sizeof *s->history);
    if (!s->history)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the rounds of a federation");
    LMB_TRY(prepare(
        j,
        "SELECT * FROM (SELECT round, selected, updates, bytes_in, bytes_out, committed, seconds, score, epsilon"
        " FROM reports ORDER BY round DESC LIMIT 1000) ORDER BY round",
        &q, err));
    while ((st = step(j, q, &row, err)) == LMB_OK && row && s->n_history < HISTORY_MAX)
        s->history[s->n_history++] = (lmb_board_round){
            .round = (uint64_t)sqlite3_column_int64(q, 0), .selected = (uint64_t)sqlite3_column_int64(q, 1),
            .updates = (uint64_t)sqlite3_column_int64(q, 2), .bytes_in = (uint64_t)sqlite3_column_int64(q, 3),
            .bytes_out = (uint64_t)sqlite3_column_int64(q, 4), .committed = sqlite3_column_int(q, 5) != 0,
            .seconds = sqlite3_column_double(q, 6), .score = column_or_nan(q, 7), .epsilon = column_or_nan(q, 8)
        };
    sqlite3_finalize(q);
    return st;
}

static int by_round(const void *a, const void *b)
{
    const lmb_board_round *x = a, *y = b;
    return (x->round > y->round) - (x->round < y->round);
}

static lmb_status load_fares(lmb_journal *j, lmb_board *s, lmb_error *err)
{
    sqlite3_stmt *q;
    lmb_status st;
    bool row;

    LMB_TRY(prepare(j, "SELECT round, kind, clients, mean, median, worst FROM fares WHERE clients > 1"
                       " ORDER BY round DESC LIMIT 2000", &q, err)); /* the mean of one is its own */
    while ((st = step(j, q, &row, err)) == LMB_OK && row) {
        lmb_board_round want = { .round = (uint64_t)sqlite3_column_int64(q, 0) };
        lmb_board_round *r = bsearch(&want, s->history, s->n_history, sizeof *s->history, by_round);
        int kind = sqlite3_column_int(q, 1);
        if (r && kind >= 0 && kind < LMB_FARES)
            r->fare[kind] = (lmb_spread){ (uint64_t)sqlite3_column_int64(q, 2), sqlite3_column_double(q, 3),
                                          sqlite3_column_double(q, 4), sqlite3_column_double(q, 5) };
    }
    sqlite3_finalize(q);
    return st;
}

/* Of all rounds, also those that are shown no more: what machines add up must not go back. */
static lmb_status load_totals(lmb_journal *j, lmb_board *s, lmb_error *err)
{
    sqlite3_stmt *q;
    bool row;

    LMB_TRY(prepare(j, "SELECT total(NOT committed), total(updates), total(bytes_in), total(bytes_out) FROM reports",
                    &q, err));
    lmb_status st = step(j, q, &row, err);
    if (st == LMB_OK && row) {
        s->abandoned = (uint64_t)sqlite3_column_double(q, 0);
        s->updates = (uint64_t)sqlite3_column_double(q, 1);
        s->bytes_in = (uint64_t)sqlite3_column_double(q, 2);
        s->bytes_out = (uint64_t)sqlite3_column_double(q, 3);
    }
    sqlite3_finalize(q);
    return st;
}

static lmb_status load_clients(lmb_journal *j, lmb_board *s, lmb_error *err)
{
    lmb_journal_client *list;
    size_t n;
    LMB_TRY(lmb_journal_clients(j, &list, &n, err));
    s->clients = calloc(n + 1, sizeof *s->clients);
    for (size_t i = 0; s->clients && i < n; i++)
        s->clients[i] = (lmb_board_client){ list[i].id, list[i].seen, list[i].state, list[i].rounds, "away" };
    free(list);
    s->n_clients = s->clients ? n : 0;
    return s->clients ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a list of %zu clients", n);
}

lmb_status lmb_board_load(lmb_journal *j, lmb_board *out, lmb_error *err)
{
    lmb_board s = {
        .phase = "no server", .best_score = NAN, .first_score = NAN, .epsilon = NAN, .budget = NAN, .delta = NAN
    };
    lmb_journal_state state;
    bool found;
    lmb_status st;

    LMB_TRY(lmb_journal_load(j, &state, &found, err));
    if (found) {
        s.round = state.round;
        s.first_score = state.first_score;
        s.has_best = state.has_best;
        s.best_round = state.best_round;
        s.best_score = state.has_best ? state.best_score : NAN;
    }
    st = load_totals(j, &s, err);
    if (st == LMB_OK)
        st = load_history(j, &s, err);
    if (st == LMB_OK)
        st = load_fares(j, &s, err);
    if (st == LMB_OK)
        st = load_clients(j, &s, err);
    if (st != LMB_OK) {
        lmb_board_free(&s);
        return st;
    }
    if (s.n_history)
        s.epsilon = s.history[s.n_history - 1].epsilon;
    *out = s;
    return LMB_OK;
}

void lmb_board_free(lmb_board *s)
{
    free(s->history);
    free(s->clients);
    s->history = NULL;
    s->clients = NULL;
}

const char *const lmb_board_fare_says[LMB_FARES] = {
    [LMB_FARE_VALID] = "with the model as it came", [LMB_FARE_PERSONAL] = "with what they made of it"
};

const lmb_board_round *lmb_board_fares(const lmb_board *s)
{
    for (size_t i = s->n_history; i-- > 0;)
        for (int k = 0; k < LMB_FARES; k++)
            if (s->history[i].fare[k].clients)
                return &s->history[i];
    return NULL;
}

/* ---- JSON ---- */

static void json_real(lmb_str *o, const char *key, double v)
{
    lmb_str_addf(o, ",\"%s\":", key);
    lmb_str_add_number(o, v);
}

void lmb_board_json(const lmb_board *s, lmb_str *o)
{
    lmb_str_addf(o,
                 "{\"live\":%s,\"phase\":\"%s\",\"phase_s\":%.1f,\"round\":%" PRIu64 ",\"rounds\":%" PRIu64
                 ",\"connected\":%" PRIu64 ",\"selected\":%" PRIu64 ",\"delivered\":%" PRIu64,
                 s->live ? "true" : "false", s->phase, s->phase_s, s->round, s->rounds, s->connected, s->selected,
                 s->delivered);
    json_real(o, "first_score", s->first_score);
    json_real(o, "best_score", s->best_score);
    lmb_str_addf(o, ",\"best_round\":%" PRIu64, s->best_round);
    json_real(o, "epsilon", s->epsilon);
    json_real(o, "delta", s->delta);
    json_real(o, "epsilon_budget", s->budget);
    lmb_str_add(o, ",\"history\":[");
    for (size_t i = 0; i < s->n_history; i++) {
        const lmb_board_round *r = &s->history[i];
        lmb_str_addf(o,
                     "%s{\"round\":%" PRIu64 ",\"committed\":%s,\"selected\":%" PRIu64 ",\"updates\":%" PRIu64
                     ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64,
                     i ? "," : "", r->round, r->committed ? "true" : "false", r->selected, r->updates, r->bytes_in,
                     r->bytes_out);
        json_real(o, "seconds", r->seconds);
        json_real(o, "score", r->score);
        json_real(o, "epsilon", r->epsilon);
        for (int k = 0; k < LMB_FARES; k++)
            if (r->fare[k].clients) {
                lmb_str_addf(o, ",\"%s\":{\"clients\":%" PRIu64, lmb_fare_names[k], r->fare[k].clients);
                json_real(o, "mean", r->fare[k].mean);
                json_real(o, "median", r->fare[k].median);
                json_real(o, "worst_tenth", r->fare[k].worst);
                lmb_str_add(o, "}");
            }
        lmb_str_add(o, "}");
    }
    lmb_str_add(o, "],\"clients\":[");
    for (size_t i = 0; i < s->n_clients; i++) {
        const lmb_board_client *c = &s->clients[i];
        lmb_str_addf(
            o, "%s{\"client\":%" PRId64 ",\"state\":\"%s\",\"now\":\"%s\",\"seen\":%" PRId64 ",\"rounds\":%" PRIu64 "}",
            i ? "," : "", c->id, lmb_client_state_names[c->state], c->now, c->seen, c->rounds);
    }
    lmb_str_add(o, "]}\n");
}

/* ---- Prometheus ---- */

static void metric(lmb_str *o, const char *name, const char *kind, const char *help, double v)
{
    if (isnan(v))
        return;
    lmb_str_addf(o, "# HELP limbeck_%s %s\n# TYPE limbeck_%s %s\nlimbeck_%s ", name, help, name, kind, name);
    lmb_str_add_number(o, v);
    lmb_str_add(o, "\n");
}

void lmb_board_metrics(const lmb_board *s, lmb_str *o)
{
    uint64_t states[3] = { 0 };
    double score = NAN, seconds = NAN;

    for (size_t i = 0; i < s->n_clients; i++)
        states[s->clients[i].state]++;
    for (size_t i = 0; i < s->n_history; i++) {
        const lmb_board_round *r = &s->history[i];
        score = isnan(r->score) ? score : r->score;
        seconds = r->round ? r->seconds : seconds;
    }
    metric(o, "up", "gauge", "1 while a server runs.", s->live);
    metric(o, "rounds_total", "counter", "Rounds that are over.", (double)s->round);
    metric(o, "rounds_abandoned_total", "counter", "Rounds with too few updates.", (double)s->abandoned);
    metric(o, "updates_total", "counter", "Updates of clients.", (double)s->updates);
    metric(o, "received_bytes_total", "counter", "Bytes from clients.", (double)s->bytes_in);
    metric(o, "sent_bytes_total", "counter", "Bytes to clients.", (double)s->bytes_out);
    metric(o, "round_selected", "gauge", "Clients in the round under way.", (double)s->selected);
    metric(o, "round_delivered", "gauge", "Updates that the round under way has.", (double)s->delivered);
    metric(o, "round_seconds", "gauge", "How long the last round took.", seconds);
    metric(o, "connections", "gauge", "Clients that are connected.", (double)s->connected);
    metric(o, "score", "gauge", "Score of the last model.", score);
    metric(o, "best_score", "gauge", "Best score so far.", s->best_score);
    metric(o, "epsilon", "gauge", "Privacy spent so far.", s->epsilon);
    metric(o, "epsilon_budget", "gauge", "Privacy that may be spent.", s->budget);
    const lmb_board_round *told = lmb_board_fares(s);
    if (told)
        lmb_str_add(o, "# HELP limbeck_clients_accuracy How the clients of a round fare on samples of their own.\n# "
                       "TYPE limbeck_clients_accuracy gauge\n");
    for (int k = 0; told && k < LMB_FARES; k++)
        if (told->fare[k].clients) {
            const struct {
                const char *of;
                double v;
            } rows[] = { { "mean", told->fare[k].mean }, { "worst_tenth", told->fare[k].worst } };
            for (int i = 0; i < 2; i++) {
                lmb_str_addf(o, "limbeck_clients_accuracy{model=\"%s\",of=\"%s\"} ",
                             k == LMB_FARE_VALID ? "round" : "personal", rows[i].of);
                lmb_str_add_number(o, rows[i].v);
                lmb_str_add(o, "\n");
            }
        }
    lmb_str_add(o, "# HELP limbeck_clients Enrolled clients.\n# TYPE limbeck_clients gauge\n");
    for (int i = 0; lmb_client_state_names[i]; i++)
        lmb_str_addf(o, "limbeck_clients{state=\"%s\"} %" PRIu64 "\n", lmb_client_state_names[i], states[i]);
}

/* ---- a terminal ---- */

void lmb_board_text(const lmb_board *s, lmb_str *o)
{
    size_t from = s->n_history > 10 ? s->n_history - 10 : 0;

    lmb_str_addf(o, "%s; %" PRIu64, s->phase, s->round);
    if (s->rounds)
        lmb_str_addf(o, " of %" PRIu64, s->rounds);
    lmb_str_add(o, " rounds are over\n");
    if (s->live && s->selected)
        lmb_str_addf(o, "this round: %" PRIu64 " of %" PRIu64 " updates, %.0f s\n", s->delivered, s->selected,
                     s->phase_s);
    if (s->has_best)
        lmb_str_addf(o, "best score %.6g, of round %" PRIu64 "\n", s->best_score, s->best_round);
    if (!isnan(s->epsilon))
        lmb_str_addf(o, "privacy: epsilon %.4g\n", s->epsilon);
    const lmb_board_round *told = lmb_board_fares(s);
    for (int k = 0; told && k < LMB_FARES; k++)
        if (told->fare[k].clients)
            lmb_str_addf(
                o, "%" PRIu64 " clients of round %" PRIu64 " %s: mean %.2f %%, median %.2f %%, worst tenth %.2f %%\n",
                told->fare[k].clients, told->round, lmb_board_fare_says[k], 100 * told->fare[k].mean,
                100 * told->fare[k].median, 100 * told->fare[k].worst);
    if (s->n_history)
        lmb_str_add(o, "\n round  updates      score    seconds   received       sent\n");
    for (size_t i = from; i < s->n_history; i++) {
        const lmb_board_round *r = &s->history[i];
        char score[16] = "-";
        if (!isnan(r->score))
            snprintf(score, sizeof score, "%.6g", r->score);
        lmb_str_addf(o, "%6" PRIu64 " %4" PRIu64 "/%-4" PRIu64 " %10s %10.2f %10" PRIu64 " %10" PRIu64 "%s\n", r->round,
                     r->updates, r->selected, score, r->seconds, r->bytes_in, r->bytes_out,
                     r->committed ? "" : "  abandoned");
    }
    if (s->n_clients)
        lmb_str_add(o, "\nclient  state     now        rounds\n");
    for (size_t i = 0; i < s->n_clients; i++)
        lmb_str_addf(o, "%6" PRId64 "  %-8s  %-9s  %6" PRIu64 "\n", s->clients[i].id,
                     lmb_client_state_names[s->clients[i].state], s->clients[i].now, s->clients[i].rounds);
}
