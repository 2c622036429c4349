/* launch/report_ranks.c - the factorised layers of a student: what launch/lowrank.h has left, and its table. */
#include <math.h>
#include <stdlib.h>

#include "launch/report.h"

enum { LAYERS_MAX = 10000 };

static lmb_status read_layer(const lmb_tree *t, lmb_report_rank *r, lmb_error *err)
{
    const struct { const char *key; double *to; } numbers[] = {
        { "out", &r->out },         { "in", &r->in },         { "taps", &r->taps }, { "rank_out", &r->rank_out },
        { "rank_in", &r->rank_in }, { "energy", &r->energy }, { "macs", &r->macs }, { "macs_after", &r->macs_after }
    };
    const lmb_tree *weight = lmb_tree_get(t, "weight"), *thin = lmb_tree_get(t, "thin");

    if (!weight || !thin)
        return lmb_tree_fail(t, err, LMB_E_FORMAT,
                             "a layer without `weight` or `thin`; run the stage again with --fresh");
    LMB_TRY(lmb_tree_text(weight, &r->weight, err));
    LMB_TRY(lmb_tree_bool(thin, &r->thin, err));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const lmb_tree *v = lmb_tree_get(t, numbers[i].key);
        if (!v)
            return lmb_tree_fail(t, err, LMB_E_FORMAT, "`%s` is missing; run the stage again with --fresh",
                                 numbers[i].key);
        LMB_TRY(lmb_tree_real(v, numbers[i].to, err));
        if (!isfinite(*numbers[i].to) || *numbers[i].to < 0)
            return lmb_tree_fail(v, err, LMB_E_FORMAT, "`%s` must be a number, 0 or more", numbers[i].key);
    }
    return LMB_OK;
}

lmb_status lmb_report_read_ranks(const char *path, lmb_report *r, lmb_error *err)
{
    LMB_TRY(lmb_config_read(path, &r->ranks_json, err));
    const lmb_tree *layers = lmb_tree_get(lmb_config_root(r->ranks_json), "layers");
    size_t n = lmb_tree_count(layers);

    if (!layers || layers->kind != LMB_TREE_LIST || n > LAYERS_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: has no list `layers` of at most %d; run the stage again with --fresh",
                        path, LAYERS_MAX);
    r->rank = calloc(n + 1, sizeof *r->rank);
    if (!r->rank)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu layers of %s", n, path);
    for (const lmb_tree *t = layers->child; t; t = t->next)
        LMB_TRY(read_layer(t, &r->rank[r->n_ranks++], err));
    return LMB_OK;
}

static void add_row(const lmb_report_rank *r, lmb_str *out)
{
    char before[32], after[32];

    lmb_str_addf(out, "<tr%s><th scope=\"row\">", r->thin ? "" : " class=\"rejected\"");
    lmb_str_add_html(out, r->weight);
    lmb_str_addf(out, "</th><td>%.0f &times; %.0f &times; %.0f</td>", r->out, r->in, r->taps);
    if (r->rank_out < 1)
        lmb_str_add(out, "<td></td><td></td>");
    else if (r->taps > 1)
        lmb_str_addf(out, "<td>%.0f, %.0f</td><td>%.2f %%</td>", r->rank_out, r->rank_in, 100 * r->energy);
    else
        lmb_str_addf(out, "<td>%.0f</td><td>%.2f %%</td>", r->rank_out, 100 * r->energy);
    lmb_str_addf(out, "<td>%s</td><td>%s</td></tr>\n", lmb_report_count(r->macs, "", before, sizeof before),
                 r->thin ? lmb_report_count(r->macs_after, "", after, sizeof after) : "stays");
}

void lmb_report_add_ranks(const lmb_report *r, lmb_str *out)
{
    double macs = 0, after = 0;
    char a[32], b[32];
    int thin = 0;

    if (!r->n_ranks)
        return;
    for (int i = 0; i < r->n_ranks; i++) {
        macs += r->rank[i].macs;
        after += r->rank[i].macs_after;
        thin += r->rank[i].thin;
    }
    lmb_str_addf(out,
                 "<h2>Factorised layers of the student</h2>\n<p>%d of %d layers have become thinner ones: %s of their %s "
                 "MACs are left.</p>\n",
                 thin, r->n_ranks, lmb_report_count(after, "", a, sizeof a), lmb_report_count(macs, "", b, sizeof b));
    lmb_str_add(out,
                "<div class=\"wide\"><table class=\"stages\"><thead><tr><th scope=\"col\">layer</th><th scope=\"col\">out "
                "&times; in &times; taps</th><th scope=\"col\">ranks</th><th scope=\"col\">energy kept</th><th "
                "scope=\"col\">MACs</th><th scope=\"col\">after</th></tr></thead><tbody>\n");
    for (int i = 0; i < r->n_ranks; i++)
        add_row(&r->rank[i], out);
    lmb_str_add(out, "</tbody></table></div>\n<p class=\"soft\">Ranks of outputs and inputs; energy is the share of the "
                     "squared weights that they keep, before the layer learned on.</p>\n");
}
