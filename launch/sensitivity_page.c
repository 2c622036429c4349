/* launch/sensitivity_page.c - what a study of sensitivity leaves: sensitivity.json, and a page with the curves. See
 * sensitivity.h. */
#include "launch/sensitivity.h"

#include <stdio.h>

#include "launch/report.h"
#include "launch/report_svg.h"
#include "train/metrics.h"

void lmb_sensitivity_json(const lmb_sensitivity_report *r, lmb_str *out)
{
    const lmb_sensitivity *s = r->study;

    lmb_str_add(out, "{\"model\": ");
    lmb_str_add_json(out, r->model);
    lmb_str_add(out, ", \"criterion\": ");
    lmb_str_add_json(out, r->criterion);
    lmb_str_addf(out, ", \"part\": \"%s\", \"samples\": %lld", r->part, (long long)s->samples);
    lmb_str_add_member(out, "accuracy", s->accuracy);
    lmb_str_add_member(out, "loss", s->loss);
    lmb_str_add(out, ", \"classes\": [\n");
    for (int k = 0; k < s->n; k++) {
        const lmb_sensitivity_row *row = &s->row[k];
        lmb_str_add(out, "  {\"name\": ");
        lmb_str_add_json(out, row->name);
        lmb_str_addf(out, ", \"channels\": %d, \"points\": [", (int)row->channels);
        for (int i = 0; i < s->n_shares; i++) {
            lmb_str_addf(out, "%s{\"left\": %d", i ? ", " : "", (int)row->left[i]);
            lmb_str_add_member(out, "share", s->share[i]);
            lmb_str_add_member(out, "accuracy", row->accuracy[i]);
            lmb_str_add_member(out, "loss", row->loss[i]);
            lmb_str_add_member(out, "macs", row->macs[i]);
            lmb_str_add(out, "}");
        }
        lmb_str_add(out, k + 1 < s->n ? "]},\n" : "]}\n");
    }
    lmb_str_add(out, "], \"held\": [");
    for (int k = 0; k < s->n_held; k++) {
        lmb_str_add(out, k ? ",\n  {\"name\": " : "\n  {\"name\": ");
        lmb_str_add_json(out, s->held[k].name);
        lmb_str_addf(out, ", \"channels\": %d, \"why\": ", (int)s->held[k].channels);
        lmb_str_add_json(out, s->held[k].why);
        lmb_str_add(out, "}");
    }
    lmb_str_add(out, "]}\n");
}

void lmb_sensitivity_table(const lmb_sensitivity_report *r, lmb_str *out)
{
    const lmb_sensitivity *s = r->study;

    lmb_str_addf(out, "%-32s %8s", "accuracy without this share of", "channels");
    for (int i = 0; i < s->n_shares; i++)
        lmb_str_addf(out, " %6.1f%%", 100 * s->share[i]);
    lmb_str_add(out, "\n");
    for (int k = 0; k < s->n; k++) {
        lmb_str_addf(out, "%-32.32s %8d", s->row[k].name, (int)s->row[k].channels);
        for (int i = 0; i < s->n_shares; i++)
            lmb_str_addf(out, " %6.2f ", 100 * s->row[k].accuracy[i]);
        lmb_str_add(out, "\n");
    }
    for (int k = 0; k < s->n_held; k++)
        lmb_str_addf(out, "%-32.32s %8d  stays: %s\n", s->held[k].name, (int)s->held[k].channels, s->held[k].why);
    lmb_str_addf(out, "whole: %.2f %% of %lld samples (%s)\n", 100 * s->accuracy, (long long)s->samples, r->part);
}

/* Up to eight classes in one picture: [first, first + n). */
static void picture(const lmb_sensitivity *s, int first, int n, lmb_str *out)
{
    double x[LMBI_SVG_SERIES][LMB_SENSITIVITY_SHARES + 1], y[LMBI_SVG_SERIES][LMB_SENSITIVITY_SHARES + 1];
    lmbi_svg_lines c = { .title = "Accuracy against the share of channels that are gone",
                         .x_label = "channels that are gone, %",
                         .percent = true,
                         .n = n };

    lmb_str_add(out, "<figure><div class=\"legend\">");
    for (int k = 0; k < n; k++) {
        const lmb_sensitivity_row *row = &s->row[first + k];
        x[k][0] = 0;
        y[k][0] = s->accuracy;
        for (int i = 0; i < s->n_shares; i++) {
            x[k][i + 1] = 100 - 100.0 * row->left[i] / row->channels;
            y[k][i + 1] = row->accuracy[i];
        }
        c.series[k] = (lmbi_svg_series){ row->name, k % 4, k >= 4, x[k], y[k], s->n_shares + 1 };
        lmb_str_addf(out, "<span><i class=\"s%d%s\"></i>", k % 4, k >= 4 ? " dashed" : "");
        lmb_str_add_html(out, row->name);
        lmb_str_add(out, "</span>");
    }
    lmb_str_add(out, "</div>\n");
    lmbi_svg_draw_lines(out, &c);
    lmb_str_add(out, "</figure>\n");
}

static void rows(const lmb_sensitivity *s, lmb_str *out)
{
    lmb_str_add(out, "<div class=\"wide\"><table class=\"stages\"><thead><tr><th scope=\"col\">class of</th><th "
                     "scope=\"col\">channels</th>");
    for (int i = 0; i < s->n_shares; i++)
        lmb_str_addf(out, "<th scope=\"col\">%.3g %% gone</th>", 100 * s->share[i]);
    lmb_str_add(out, "</tr></thead><tbody>\n");
    for (int k = 0; k < s->n; k++) {
        lmb_str_add(out, "<tr><th scope=\"row\">");
        lmb_str_add_html(out, s->row[k].name);
        lmb_str_addf(out, "</th><td>%d</td>", (int)s->row[k].channels);
        for (int i = 0; i < s->n_shares; i++)
            lmb_str_addf(out, "<td>%.2f %%</td>", 100 * s->row[k].accuracy[i]);
        lmb_str_add(out, "</tr>\n");
    }
    for (int k = 0; k < s->n_held; k++) {
        lmb_str_add(out, "<tr><th scope=\"row\">");
        lmb_str_add_html(out, s->held[k].name);
        lmb_str_addf(out, "</th><td>%d</td><td colspan=\"%d\">stays: ", (int)s->held[k].channels, s->n_shares);
        lmb_str_add_html(out, s->held[k].why);
        lmb_str_add(out, "</td></tr>\n");
    }
    lmb_str_add(out, "</tbody></table></div>\n");
}

void lmb_sensitivity_page(const lmb_sensitivity_report *r, lmb_str *out)
{
    const lmb_sensitivity *s = r->study;

    lmb_report_page_begin("Sensitivity", out);
    lmb_str_add(out, "<p class=\"lead\">Accuracy of ");
    lmb_str_add_html(out, r->model);
    lmb_str_addf(out,
                 " when channels of one class alone are gone, least first by the criterion %s, without any training: "
                 "<strong>%.2f %%</strong> of %lld "
                 "samples (%s) are right when it is whole.</p>\n<div class=\"figures\">\n",
                 r->criterion, 100 * s->accuracy, (long long)s->samples, r->part);
    for (int k = 0; k < s->n; k += LMBI_SVG_SERIES)
        picture(s, k, s->n - k < LMBI_SVG_SERIES ? s->n - k : LMBI_SVG_SERIES, out);
    lmb_str_add(out, "</div>\n");
    rows(s, out);
    lmb_report_page_end(r->config, out);
}
