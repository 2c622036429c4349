/* federated/board_page.c - the status as one page: no script, nothing from elsewhere, curves as inline SVG. */
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "federated/board.h"

enum { WIDE = 640, HIGH = 160, EDGE = 40 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\"><title>Limbeck federation</title>\n"
    "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}"
    "h1{font-size:1.3rem}h2{font-size:1rem;margin-top:2rem}table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;"
    "text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600}.w{color:#8a5a00}.r{color:#a00}"
    "svg{max-width:100%;height:auto}text{font-size:11px;fill:#555}progress{width:20rem}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}text{fill:#aaa}.w{color:#fb3}.r{color:#f77}}</style></head><body>\n";

typedef double (*reader)(const lmb_board_round *r);
static double score_of(const lmb_board_round *r) { return r->score; }
static double bytes_of(const lmb_board_round *r) { return r->round ? (double)r->bytes_in + (double)r->bytes_out : NAN; }
static double seconds_of(const lmb_board_round *r) { return r->round ? r->seconds : NAN; }
static double epsilon_of(const lmb_board_round *r) { return r->epsilon; }
static double mean_of(const lmb_board_round *r)
{
    return r->fare[LMB_FARE_VALID].clients ? 100 * r->fare[LMB_FARE_VALID].mean : NAN;
}
static double worst_of(const lmb_board_round *r)
{
    return r->fare[LMB_FARE_VALID].clients ? 100 * r->fare[LMB_FARE_VALID].worst : NAN;
}

/* A curve over the rounds; nothing with fewer than two points. */
static void curve(lmb_str *o, const lmb_board *s, const char *title, reader value)
{
    double lo = INFINITY, hi = -INFINITY;
    size_t points = 0;

    for (size_t i = 0; i < s->n_history; i++) {
        double v = value(&s->history[i]);
        if (!isfinite(v))
            continue;
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
        points++;
    }
    if (points < 2)
        return;
    double first = (double)s->history[0].round, span = (double)s->history[s->n_history - 1].round - first;
    lmb_str_addf(
        o,
        "<h2>%s</h2>\n<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" aria-label=\"%s\">"
        "<text x=\"0\" y=\"12\">%.4g</text><text x=\"0\" y=\"%d\">%.4g</text><polyline fill=\"none\" stroke=\"#2a6fb0\" "
        "stroke-width=\"2\" points=\"",
        title, WIDE, HIGH, WIDE, title, hi, HIGH - 4, lo);
    for (size_t i = 0; i < s->n_history; i++) {
        double v = value(&s->history[i]);
        if (isfinite(v))
            lmb_str_addf(o, "%.1f,%.1f ",
                         EDGE + 20 + (WIDE - EDGE - 30) * ((double)s->history[i].round - first) / (span > 0 ? span : 1),
                         HIGH - 8 - (HIGH - 16) * (hi > lo ? (v - lo) / (hi - lo) : 0.5));
    }
    lmb_str_add(o, "\"/></svg>\n");
}

static void rounds_table(lmb_str *o, const lmb_board *s)
{
    size_t least = s->n_history > 20 ? s->n_history - 20 : 0;
    lmb_str_add(
        o,
        "<h2>Rounds</h2>\n<table><tr><th>round</th><th>updates</th><th>score</th><th>seconds</th><th>received</th><th>sent</th>"
        "<th></th></tr>\n");
    for (size_t i = s->n_history; i-- > least;) {
        const lmb_board_round *r = &s->history[i];
        lmb_str_addf(o, "<tr><td>%" PRIu64 "</td><td>%" PRIu64 " of %" PRIu64 "</td><td>", r->round, r->updates,
                     r->selected);
        if (isfinite(r->score))
            lmb_str_addf(o, "%.6g", r->score);
        lmb_str_addf(o, "</td><td>%.2f</td><td>%" PRIu64 "</td><td>%" PRIu64 "</td><td class=\"w\">%s</td></tr>\n",
                     r->seconds, r->bytes_in, r->bytes_out, r->committed ? "" : "abandoned");
    }
    lmb_str_add(o, "</table>\n");
}

/* Never the mean alone, and nobody's own. */
static void fares_table(lmb_str *o, const lmb_board *s)
{
    const lmb_board_round *r = lmb_board_fares(s);
    if (!r)
        return;
    lmb_str_addf(o,
                 "<h2>How clients fare</h2>\n<table><tr><th>accuracy on their own samples, round %" PRIu64
                 "</th><th>clients</th><th>mean</th>"
                 "<th>median</th><th>worst tenth</th></tr>\n",
                 r->round);
    for (int k = 0; k < LMB_FARES; k++)
        if (r->fare[k].clients)
            lmb_str_addf(o,
                         "<tr><td>%s</td><td>%" PRIu64 "</td><td>%.2f %%</td><td>%.2f %%</td><td>%.2f %%</td></tr>\n",
                         lmb_board_fare_says[k], r->fare[k].clients, 100 * r->fare[k].mean, 100 * r->fare[k].median,
                         100 * r->fare[k].worst);
    lmb_str_add(o, "</table>\n");
}

static void clients_table(lmb_str *o, const lmb_board *s)
{
    static const char *const color[] = { "w", "", "r" };
    char seen[32];
    lmb_str_add(
        o,
        "<h2>Clients</h2>\n<table><tr><th>client</th><th>state</th><th>now</th><th>rounds</th><th>last seen (UTC)</th></tr>\n");
    for (size_t i = 0; i < s->n_clients; i++) {
        const lmb_board_client *c = &s->clients[i];
        struct tm t;
        time_t when = (time_t)c->seen;
        if (!c->seen || !gmtime_r(&when, &t) || !strftime(seen, sizeof seen, "%Y-%m-%d %H:%M:%S", &t))
            seen[0] = 0;
        lmb_str_addf(
            o, "<tr><td>%" PRId64 "</td><td class=\"%s\">%s</td><td>%s</td><td>%" PRIu64 "</td><td>%s</td></tr>\n",
            c->id, color[c->state], lmb_client_state_names[c->state], c->now, c->rounds, seen);
    }
    lmb_str_add(o, "</table>\n");
}

void lmb_board_page(const lmb_board *s, lmb_str *o)
{
    lmb_str_add(o, head);
    lmb_str_addf(o, "<h1>Limbeck federation</h1>\n<p>%s; <b>%" PRIu64 "</b>", s->phase, s->round);
    if (s->rounds)
        lmb_str_addf(o, " of %" PRIu64, s->rounds);
    lmb_str_addf(o, " rounds are over; %" PRIu64 " clients are connected.</p>\n", s->connected);
    if (s->selected)
        lmb_str_addf(o,
                     "<p>This round: <progress max=\"%" PRIu64 "\" value=\"%" PRIu64 "\"></progress> %" PRIu64
                     " of %" PRIu64 " updates, %.0f s</p>\n",
                     s->selected, s->delivered, s->delivered, s->selected, s->phase_s);
    if (s->has_best)
        lmb_str_addf(o, "<p>Best score <b>%.6g</b>, of round %" PRIu64 ".</p>\n", s->best_score, s->best_round);
    if (isfinite(s->epsilon)) {
        lmb_str_addf(o, "<p>Privacy: &epsilon; = <b>%.4g</b>", s->epsilon);
        if (isfinite(s->budget))
            lmb_str_addf(o, " of %.4g", s->budget);
        if (isfinite(s->delta))
            lmb_str_addf(o, " at &delta; = %.3g", s->delta);
        lmb_str_add(o, ".</p>\n");
    }
    curve(o, s, "Score", score_of);
    fares_table(o, s);
    curve(o, s, "Accuracy of clients, mean, %", mean_of);
    curve(o, s, "Accuracy of clients, worst tenth, %", worst_of);
    curve(o, s, "Bytes a round", bytes_of);
    curve(o, s, "Seconds a round", seconds_of);
    curve(o, s, "Epsilon", epsilon_of);
    rounds_table(o, s);
    clients_table(o, s);
    lmb_str_add(o, "</body></html>\n");
}
