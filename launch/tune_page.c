/* launch/tune_page.c - report.html of a search over recipes: the answer, the front, every key against the score, all
 * trials. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/report.h"
#include "launch/report_svg.h"
#include "launch/tune.h"

static const char *state(const lmb_trial *t)
{
    return t->failed      ? "failed"
           : t->hopeless  ? "hopeless"
           : t->same >= 0 ? "as before"
           : t->share < 1 ? "a rung"
                          : "done";
}

static void values(const lmb_tune_end *e, const lmb_trial *t, lmb_str *out)
{
    lmb_str s = LMB_STR_INIT;
    lmb_tune_values(e->space, t->x, &s);
    lmb_str_add_html(out, s.text ? s.text : "");
    lmb_str_free(&s);
}

static void lead(const lmb_tune_end *e, lmb_str *out)
{
    int best = lmb_trials_best(e->all);

    if (best < 0) {
        lmb_str_addf(out, "<p class=\"lead\">None of %d trials came to an end.</p>\n", e->all->n);
        return;
    }
    lmb_str_addf(out, "<p class=\"lead\">Best of %d trials: trial %d with <strong>%.2f %%</strong>", e->all->n, best,
                 100 * e->all->trial[best].score);
    if (e->c->folds > 1)
        lmb_str_addf(out, " (mean of %lld folds, standard deviation %.2f points)", (long long)e->c->folds,
                     100 * e->all->trial[best].spread);
    lmb_str_add(out, ", at <strong>");
    values(e, &e->all->trial[best], out);
    lmb_str_addf(out,
                 "</strong>.</p>\n<p class=\"soft\">Method: %s, %d of %lld trials. The best of many trials on the same "
                 "samples flatters: "
                 "train best.yaml, and believe the test "
                 "part, which had no say here.</p>\n",
                 e->method->name, e->all->n, (long long)e->budget);
}

typedef struct shown {
    double x;
    int trial;
} shown;

static int by_x(const void *a, const void *b)
{
    const shown *p = a, *q = b;
    return p->x != q->x ? (p->x < q->x ? -1 : 1) : p->trial - q->trial;
}

/* Scores of trials over x, which NAN leaves out. joined: the front, or none. */
static void picture(const lmb_tune_end *e, const char *title, const char *x_label, const double *x, bool joined,
                    lmb_str *out)
{
    int n = 0, best = lmb_trials_best(e->all);
    size_t room = (size_t)e->all->n + 1;
    shown *order = malloc(sizeof *order * room);
    lmbi_svg_dot *dot = calloc(room, sizeof *dot);
    char(*text)[80] = calloc(room, sizeof *text);

    if (!order || !dot || !text)
        out->failed = true;
    for (int i = 0; !out->failed && i < e->all->n; i++)
        if (!e->all->trial[i].failed && !isnan(x[i]))
            order[n++] = (shown){ x[i], i };
    if (n > 0)
        qsort(order, (size_t)n, sizeof *order, by_x);
    for (int i = 0; i < n; i++) {
        const lmb_trial *t = &e->all->trial[order[i].trial];
        snprintf(text[i], sizeof text[i], "trial %d, %s: %.2f %%", t->id, state(t), 100 * t->score);
        dot[i] = (lmbi_svg_dot){
            text[i], t->hopeless ? 1 : t->id == best ? 2 : 0, joined && t->front, order[i].x, t->score, t->score,
            t->score
        };
    }
    if (n > 0) {
        lmbi_svg_dots c = { title, x_label, dot, n };
        lmb_str_add(out, "<figure><h3>");
        lmb_str_add_html(out, title);
        lmb_str_add(out, "</h3><div class=\"legend\"><span><i class=\"s0\"></i>trial</span><span><i "
                         "class=\"s2\"></i>the best</span><span><i class=\"s1\"></i>hopeless"
                         "</span></div>\n");
        lmbi_svg_draw_dots(out, &c);
        lmb_str_add(out, "</figure>\n");
    }
    free(order);
    free(dot);
    free(text);
}

static void pictures(const lmb_tune_end *e, double *x, lmb_str *out)
{
    char title[160], label[160];

    lmb_str_add(out, "<h2>Scores</h2>\n<div class=\"figures\">\n");
    for (int i = 0; i < e->all->n; i++)
        x[i] = i;
    picture(e, "In the order of the search", "trial", x, false, out);
    for (int i = 0; i < e->all->n; i++)
        x[i] = e->all->trial[i].cost;
    snprintf(title, sizeof title, "Accuracy against %s", lmb_tune_costs[e->c->cost]);
    if (e->c->cost)
        picture(e, title,
                e->c->cost == LMB_TUNE_COST_LATENCY ? "latency at batch 1, microseconds" : lmb_tune_costs[e->c->cost],
                x, true, out);
    lmb_str_add(out, "</div>\n<h2>What matters</h2>\n<div class=\"figures\">\n");
    for (int d = 0; d < e->space->n; d++) {
        const lmb_param *p = &e->space->param[d];
        for (int i = 0; i < e->all->n; i++) {
            double v = lmb_param_number(p, e->all->trial[i].x[d]);
            x[i] = p->log ? log10(v) : v;
        }
        snprintf(title, sizeof title, "%.100s: %.0f %%", p->key, 100 * lmb_trials_matter(e->all, e->space, d));
        snprintf(label, sizeof label, "%s%.100s%s", p->log ? "log10 of " : "", p->key,
                 p->kind == LMB_PARAM_CHOICE ? ", place in its list, from 0" : "");
        picture(e, title, label, x, false, out);
    }
    lmb_str_add(out, "</div>\n<p class=\"soft\">The share is of the variance of all scores that four parts of a key's "
                     "range (or its choices) explain by "
                     "themselves. It is a hint: keys that only matter together show little, and few trials show "
                     "something by chance.</p>\n");
}

static void table(const lmb_tune_end *e, lmb_str *out)
{
    int best = lmb_trials_best(e->all);
    char cost[32];

    lmb_str_addf(out,
                 "<h2>All trials</h2>\n<div class=\"wide\"><table class=\"stages\"><thead><tr><th "
                 "scope=\"col\">trial</th><th scope=\"col\">score</th>%s%s"
                 "<th scope=\"col\">front</th><th scope=\"col\">state</th><th scope=\"col\" "
                 "class=\"note\">settings</th></tr></thead><tbody>\n",
                 e->c->folds > 1 ? "<th scope=\"col\">spread</th>" : "",
                 e->c->cost ? "<th scope=\"col\">cost</th>" : "");
    for (int i = 0; i < e->all->n; i++) {
        const lmb_trial *t = &e->all->trial[i];
        lmb_str_addf(out, "<tr%s><th scope=\"row\">%d</th><td>%.2f %%</td>",
                     i == best                  ? " class=\"best\""
                     : t->failed || t->hopeless ? " class=\"rejected\""
                                                : "",
                     i, 100 * t->score);
        if (e->c->folds > 1)
            lmb_str_addf(out, "<td>%.2f</td>", 100 * t->spread);
        if (e->c->cost)
            lmb_str_addf(
                out, "<td>%s</td>",
                lmb_report_count(t->cost, e->c->cost == LMB_TUNE_COST_LATENCY ? "&micro;s" : "", cost, sizeof cost));
        lmb_str_addf(out, "<td>%s</td><td>%s</td><td class=\"note\">", t->front ? "yes" : "", state(t));
        values(e, t, out);
        if (t->failed) {
            lmb_str_add(out, "; ");
            lmb_str_add_html(out, t->why);
        }
        lmb_str_add(out, "</td></tr>\n");
    }
    lmb_str_add(out, "</tbody></table></div>\n");
}

void lmb_tune_page(const lmb_tune_end *e, lmb_str *out)
{
    double *x = calloc((size_t)e->all->n + 1, sizeof *x);

    lmb_report_page_begin("Settings", out);
    lead(e, out);
    if (x)
        pictures(e, x, out);
    else
        out->failed = true;
    table(e, out);
    lmb_report_page_end(e->config, out);
    free(x);
}
