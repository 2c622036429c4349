/* launch/report_html.c - the page of a report: a sentence, the table, curves, size against accuracy, confusions.
 *
 * Everything is in the page: style, pictures (report_svg.h) and figures. Colours are variables, set twice: light,
 * and dark where the reader's system asks for it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/report.h"
#include "launch/report_svg.h"

enum { MATRIX_MAX = 40, WORST = 5 };

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fbfbfa;--ink:#1c1e21;--soft:#5d6470;--rule:#dfe1e5;--card:#fff;--hit:#2f6fb7;--miss:#c4541c;"
    "--s0:#2f6fb7;--s1:#c4541c;--s2:#16805c;--s3:#8a3fa0;--s4:#8a6d00;--s5:#b0306a;--s6:#4a6a7a}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e6e8eb;--soft:#9aa3af;--rule:#30343a;--card:#1c1f23;--hit:#5b9fe6;"
    "--miss:#f0894d;--s0:#6fb0f2;--s1:#f5965c;--s2:#4cc79b;--s3:#cf8fe3;--s4:#d9b93c;--s5:#f08ab8;--s6:#9cc0d2}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:76rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);"
    "font:1rem/1.55 system-ui,sans-serif}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.15rem;margin:2.4rem 0 .7rem}.lead{font-size:1.1rem;max-width:48rem;"
    "margin:0 0 1.6rem}.soft,figcaption,caption{color:var(--soft);font-size:.9rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}.stages{width:100%}.stages th,.stages td{padding:"
    ".5rem .8rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}.stages th:first-child{text-align:left}.stages thead"
    " th{color:var(--soft);font-weight:500;font-size:.9rem}.stages .note{white-space:normal;text-align:left;color:var(--soft);min-width:12rem}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}figure{margin:0;padding:.9rem 1rem;"
    "background:var(--card);border:1px solid var(--rule);border-radius:.5rem}figure h3{font-size:1rem;margin:0 0 .3rem}svg{display:block;width:100%;"
    "height:auto;max-width:44rem;margin:.3rem auto 0}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.9rem}.legend i{display:inline-block;width:1.5rem;margin-right:.4rem;"
    "vertical-align:middle;border-top:2.5px solid}.legend i.dashed{border-top-style:dashed}\n"
    "svg text{font:13px system-ui,sans-serif;fill:var(--ink)}svg .tick{fill:var(--soft);font-size:12px}.grid{stroke:var(--rule)}.axis{stroke:"
    "var(--soft)}.line,.bar{fill:none;stroke-width:2;stroke-linejoin:round}.line.dashed{stroke-dasharray:6 4}.mark{stroke:var(--card);"
    "stroke-width:1}\n"
    ".line.s0,.bar.s0{stroke:var(--s0)}.line.s1,.bar.s1{stroke:var(--s1)}.line.s2,.bar.s2{stroke:var(--s2)}.line.s3,.bar.s3{stroke:var(--s3)}"
    ".mark.s0,svg .label.s0{fill:var(--s0)}.mark.s1,svg .label.s1{fill:var(--s1)}.mark.s2,svg .label.s2{fill:var(--s2)}.mark.s3,svg .label.s3"
    "{fill:var(--s3)}i.s0{color:var(--s0)}i.s1{color:var(--s1)}i.s2{color:var(--s2)}i.s3{color:var(--s3)}\n"
    ".line.s4{stroke:var(--s4)}.line.s5{stroke:var(--s5)}.line.s6{stroke:var(--s6)}.mark.s4{fill:var(--s4)}.mark.s5{fill:var(--s5)}"
    ".mark.s6{fill:var(--s6)}i.s4{color:var(--s4)}i.s5{color:var(--s5)}i.s6{color:var(--s6)}\n"
    ".matrix td{width:3.1rem;min-width:2.4rem;height:2.1rem;text-align:center;font-size:.85rem;border:1px solid var(--paper);background:"
    "color-mix(in srgb,var(--miss) calc(var(--v)*75%),var(--card))}.matrix td.hit{background:color-mix(in srgb,var(--hit) calc(var(--v)*60%),"
    "var(--card));font-weight:600}.matrix td.none{color:var(--soft);opacity:.6}.matrix th{font-weight:500;font-size:.85rem;padding:.2rem .5rem;"
    "text-align:right;white-space:nowrap}.matrix thead th{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;padding:.5rem .2rem}"
    ".matrix caption{text-align:left;padding-bottom:.5rem}\n"
    ".two{display:flex;flex-wrap:wrap;gap:1.5rem 2.5rem;align-items:flex-start}.two ol{margin:.3rem 0;padding-left:1.3rem}pre{overflow-x:auto;"
    "padding:1rem;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;font-size:.85rem}summary{cursor:pointer}\n"
    ".layers td.share{min-width:9rem}.layers td.share i{display:block;height:.8rem;background:var(--s0);border-radius:2px;min-width:1px}"
    ".rejected{color:var(--soft)}.best th,.best td{font-weight:600}\n"
    "@media print{body{max-width:none;padding:0}figure{break-inside:avoid}}\n";

/* ---- the sentence and the table ---- */

static void lead(const lmb_report *r, lmb_str *out)
{
    const lmb_report_stage *a = &r->stage[0], *b = &r->stage[r->n_stages - 1];
    char bytes[32];

    lmb_str_addf(
        out,
        "<p class=\"lead\">%s is right on <strong>%.2f %%</strong> of the test samples with a file of <strong>%s</strong>",
        b->name, 100 * b->accuracy, lmb_report_count(b->bytes, "B", bytes, sizeof bytes));
    if (a != b && b->bytes > 0) {
        double points = 100 * (b->accuracy - a->accuracy), times = a->bytes / b->bytes;
        lmb_str_addf(out, ": %.2f points %s than %s, in a file %.*f times %s", fabs(points),
                     points < 0 ? "less" : "more", a->name, fmax(times, 1 / times) < 9.95 ? 1 : 0,
                     fmax(times, 1 / times), times >= 1 ? "smaller" : "larger");
    }
    lmb_str_add(out, ".</p>\n");
}

static void stages(const lmb_report *r, lmb_str *out)
{
    char n[3][32];

    lmb_str_add(
        out,
        "<div class=\"wide\"><table class=\"stages\"><thead><tr><th scope=\"col\">stage</th><th scope=\"col\">parameters</th>"
        "<th scope=\"col\">MACs</th><th scope=\"col\">bytes</th><th scope=\"col\">accuracy</th><th scope=\"col\">95 % interval</th>"
        "<th scope=\"col\">latency at batch 1</th><th scope=\"col\" class=\"note\"></th></tr></thead><tbody>\n");
    for (int i = 0; i < r->n_stages; i++) {
        const lmb_report_stage *s = &r->stage[i];
        lmb_str_addf(
            out,
            "<tr><th scope=\"row\">%s</th><td title=\"%.0f\">%s</td><td title=\"%.0f\">%s</td><td title=\"%.0f\">%s</td><td>%.2f %%</td>"
            "<td>%.2f to %.2f %%</td><td>%.1f &micro;s</td><td class=\"note\">",
            s->name, s->parameters, lmb_report_count(s->parameters, "", n[0], sizeof n[0]), s->macs,
            lmb_report_count(s->macs, "", n[1], sizeof n[1]), s->bytes,
            lmb_report_count(s->bytes, "B", n[2], sizeof n[2]), 100 * s->accuracy, 100 * s->lo, 100 * s->hi,
            s->latency_us);
        lmb_str_add_html(out, s->note);
        lmb_str_add(out, "</td></tr>\n");
    }
    lmb_str_add(
        out,
        "</tbody></table></div>\n<p class=\"soft\">A MAC is one multiplication and addition. Latency is the median of single predictions "
        "on one thread of the machine that made this report.");
    if (*r->missing)
        lmb_str_addf(out, " Without a result yet: %s.", r->missing);
    lmb_str_add(out, "</p>\n");
}

/* ---- curves ---- */

/* The columns of a curve, as the pictures want them. */
typedef struct columns { double *at, *loss, *valid_loss, *accuracy, *mean, *median, *worst; } columns;

static bool split(const lmb_report_curve *c, columns *out)
{
    size_t n = (size_t)c->n + 1;
    double *all = malloc(7 * n * sizeof *all);
    *out = (columns){ all, all + n, all + 2 * n, all + 3 * n, all + 4 * n, all + 5 * n, all + 6 * n };
    for (int i = 0; all && i < c->n; i++) {
        out->at[i] = c->point[i].at;
        out->loss[i] = c->point[i].loss;
        out->valid_loss[i] = c->point[i].valid_loss;
        out->accuracy[i] = c->point[i].valid_accuracy;
        out->mean[i] = c->point[i].mean;
        out->median[i] = c->point[i].median;
        out->worst[i] = c->point[i].worst;
    }
    return all != NULL;
}

static bool any(const double *y, int n)
{
    for (int i = 0; i < n; i++)
        if (isfinite(y[i]))
            return true;
    return false;
}

static void add_series(lmbi_svg_lines *c, const char *name, int color, bool dashed, const double *x, const double *y,
                       int n)
{
    if (any(y, n))
        c->series[c->n++] = (lmbi_svg_series){ name, color, dashed, x, y, n };
}

static void figure(lmb_str *out, const lmbi_svg_lines *c, const char *caption)
{
    if (!c->n)
        return;
    lmb_str_addf(out, "<figure><h3>%s</h3><div class=\"legend\">", c->title);
    for (int i = 0; i < c->n; i++)
        lmb_str_addf(out, "<span><i class=\"s%d%s\"></i>%s</span>", c->series[i].color,
                     c->series[i].dashed ? " dashed" : "", c->series[i].name);
    lmb_str_add(out, "</div>\n");
    lmbi_svg_draw_lines(out, c);
    lmb_str_addf(out, "<figcaption>%s</figcaption></figure>\n", caption);
}

/* "1.2 MB came in and 3.4 MB went out over 5 rounds", as far as the server said. */
static void traffic(const lmb_report_curve *c, char *buf, size_t cap)
{
    double in = 0, sent = 0;
    char a[32], b[32];
    int rounds = 0;

    for (int i = 0; i < c->n; i++) {
        rounds += c->point[i].at >= 1; /* 0 is the model that clients are given */
        in += isfinite(c->point[i].bytes_in) ? c->point[i].bytes_in : 0;
        sent += isfinite(c->point[i].bytes_out) ? c->point[i].bytes_out : 0;
    }
    snprintf(buf, cap, "Over %d round%s the server received %s and sent %s.", rounds, rounds == 1 ? "" : "s",
             lmb_report_count(in, "B", a, sizeof a), lmb_report_count(sent, "B", b, sizeof b));
}

static void curves(const lmb_report *r, lmb_str *out)
{
    static const char *const names[][3] = { { "teacher", "teacher, training", "teacher, validation" },
                                            { "student", "student, training", "student, validation" },
                                            { "student-int8", "student-int8, training", "student-int8, validation" } };
    lmbi_svg_lines loss = { .title = "Loss", .x_label = "epoch" };
    lmbi_svg_lines accuracy = { .title = "Validation accuracy", .x_label = "epoch", .percent = true };
    lmbi_svg_lines federation = { .title = "Federation: validation accuracy", .x_label = "round", .percent = true };
    columns col[LMB_REPORT_CURVES] = { 0 };
    char bytes[160] = "";

    for (int i = 0; i < r->n_curves; i++) {
        const lmb_report_curve *c = &r->curve[i];
        if (!split(c, &col[i])) {
            out->failed = true;
        } else if (strcmp(c->name, "federation") == 0) {
            add_series(&federation, c->name, 3, false, col[i].at, col[i].accuracy, c->n);
            add_series(&federation, "clients, mean", 0, true, col[i].at, col[i].mean, c->n);
            add_series(&federation, "clients, median", 1, true, col[i].at, col[i].median, c->n);
            add_series(&federation, "clients, worst tenth", 2, true, col[i].at, col[i].worst, c->n);
            traffic(c, bytes, sizeof bytes);
        } else {
            int k = 0;
            while (k < 2 && strcmp(c->name, names[k][0]) != 0)
                k++;
            add_series(&loss, names[k][1], k, false, col[i].at, col[i].loss, c->n);
            add_series(&loss, names[k][2], k, true, col[i].at, col[i].valid_loss, c->n);
            add_series(&accuracy, c->name, k, false, col[i].at, col[i].accuracy, c->n);
        }
    }
    figure(out, &loss,
           "Each stage minimises its own loss, augmentation and softened labels included: compare a line with itself.");
    figure(out, &accuracy, "Share of the validation samples that are classified correctly; it chooses the epoch.");
    figure(out, &federation, bytes);
    for (int i = 0; i < r->n_curves; i++)
        free(col[i].at);
}

static void size_and_accuracy(const lmb_report *r, lmb_str *out)
{
    lmbi_svg_points p = { .title = "Accuracy against size",
                          .x_label = "bytes of the model file (logarithmic)",
                          .unit = "B" };

    for (int i = 0; i < r->n_stages; i++) {
        const lmb_report_stage *s = &r->stage[i];
        if (s->bytes > 0)
            p.point[p.n++] = (lmbi_svg_point){ s->name, s->place, s->bytes, s->accuracy, s->lo, s->hi };
    }
    if (p.n) {
        lmb_str_add(out, "<figure><h3>Size and accuracy</h3>\n");
        lmbi_svg_draw_points(out, &p);
        lmb_str_add(
            out,
            "<figcaption>Test accuracy with its 95 % interval. Models whose intervals overlap widely may differ by chance.</figcaption></figure>\n");
    }
}

/* ---- confusions ---- */

static int64_t row_sum(const lmb_report_stage *s, int i)
{
    int64_t sum = 0;
    for (int k = 0; k < s->classes; k++)
        sum += s->confusion[i * s->classes + k];
    return sum;
}

static void class_head(const lmb_report_stage *s, lmb_str *out, const char *scope, int c)
{
    char name[32];
    lmb_str_addf(out, "<th scope=\"%s\">", scope);
    lmb_str_add_html(out, lmb_report_class(s, c, name, sizeof name));
    lmb_str_add(out, "</th>");
}

static void matrix(const lmb_report_stage *s, lmb_str *out)
{
    double most = 1e-9; /* errors have a scale of their own: beside the hits they would all look white */
    int n = s->classes;

    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            if (i != k && row_sum(s, i))
                most = fmax(most, (double)s->confusion[i * n + k] / (double)row_sum(s, i));
    lmb_str_add(
        out,
        "<div class=\"wide\"><table class=\"matrix\"><caption>Rows: what a sample is. Columns: what it was taken for. Blue is right, orange "
        "is wrong.</caption>\n<thead><tr><td></td>");
    for (int k = 0; k < n; k++)
        class_head(s, out, "col", k);
    lmb_str_add(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < n; i++) {
        double sum = fmax(1, (double)row_sum(s, i));
        lmb_str_add(out, "<tr>");
        class_head(s, out, "row", i);
        for (int k = 0; k < n; k++) {
            int64_t v = s->confusion[i * n + k];
            double share = (double)v / sum;
            lmb_str_addf(out, "<td%s style=\"--v:%.3f\">%lld</td>",
                         i == k ? " class=\"hit\""
                         : v    ? ""
                                : " class=\"none\"",
                         i == k ? share : sqrt(share / most), (long long)v);
        }
        lmb_str_add(out, "</tr>\n");
    }
    lmb_str_add(out, "</tbody></table></div>\n");
}

/* The WORST greatest cells beside the diagonal, by repeated search: a few passes over the matrix. */
static void worst(const lmb_report_stage *s, lmb_str *out)
{
    int n = s->classes, cell[WORST], found = 0;

    for (; found < WORST; found++) {
        int best = -1;
        for (int c = 0; c < n * n; c++) {
            bool usable = c / n != c % n && s->confusion[c] > 0;
            for (int f = 0; f < found; f++)
                usable = usable && cell[f] != c;
            if (usable && (best < 0 || s->confusion[c] > s->confusion[best]))
                best = c;
        }
        if (best < 0)
            break;
        cell[found] = best;
    }
    if (!found) {
        lmb_str_add(out, "<p>No sample was taken for another class.</p>\n");
        return;
    }
    lmb_str_add(out, "<div><h3>Most frequent mistakes</h3><ol>\n");
    for (int f = 0; f < found; f++) {
        char a[32], b[32];
        int i = cell[f] / n, k = cell[f] % n;
        lmb_str_add(out, "<li>");
        lmb_str_add_html(out, lmb_report_class(s, i, a, sizeof a));
        lmb_str_add(out, " taken for ");
        lmb_str_add_html(out, lmb_report_class(s, k, b, sizeof b));
        lmb_str_addf(out, ": %lld of %lld (%.1f %%)</li>\n", (long long)s->confusion[cell[f]], (long long)row_sum(s, i),
                     100.0 * (double)s->confusion[cell[f]] / (double)row_sum(s, i));
    }
    lmb_str_add(out, "</ol></div>\n");
}

static void confusions(const lmb_report *r, lmb_str *out)
{
    const lmb_report_stage *s = &r->stage[r->n_stages - 1];

    if (!s->classes)
        return;
    lmb_str_addf(out, "<h2>Confusions of %s</h2>\n<div class=\"two\">\n", s->name);
    if (s->classes <= MATRIX_MAX)
        matrix(s, out);
    else
        lmb_str_addf(out, "<p>%d classes are too many to show as a matrix; stage.json has all counts.</p>\n",
                     s->classes);
    worst(s, out);
    lmb_str_add(out, "</div>\n");
}

void lmb_report_page_begin(const char *title, lmb_str *out)
{
    lmb_str_add(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,"
        "initial-scale=1\"><title>");
    lmb_str_add_html(out, title);
    lmb_str_add(out, " - Limbeck</title><style>\n");
    lmb_str_add(out, style);
    lmb_str_add(out, "</style></head><body>\n<h1>");
    lmb_str_add_html(out, title);
    lmb_str_add(out, "</h1>\n");
}

void lmb_report_page_end(const char *config, lmb_str *out)
{
    lmb_str_add(out, "<h2>Configuration</h2>\n<details><summary>as it was resolved</summary><pre>");
    lmb_str_add_html(out, config);
    lmb_str_add(out, "</pre></details>\n</body></html>\n");
}

void lmb_report_page(const lmb_report *r, const char *title, const char *config, lmb_str *out)
{
    lmb_report_page_begin(title, out);
    lead(r, out);
    stages(r, out);
    lmb_str_add(out, "<h2>Training and size</h2>\n<div class=\"figures\">\n");
    curves(r, out);
    size_and_accuracy(r, out);
    lmb_str_add(out, "</div>\n");
    lmb_report_add_ranks(r, out);
    confusions(r, out);
    lmb_report_page_end(config, out);
}
