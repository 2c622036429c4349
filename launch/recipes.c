/* launch/recipes.c - see recipes.h. */
#include "launch/recipes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "distill/tune/significance.h"
#include "launch/report.h"

enum { PAIRS = LMB_RECIPES_MAX * (LMB_RECIPES_MAX - 1) / 2 };
static const double ALPHA = 0.05;

static int blocks(const lmb_recipes *r) { return r->seeds * r->folds; }
static const double *of(const lmb_recipes *r, int recipe) { return r->accuracy + recipe * blocks(r); }

static double mean(const lmb_recipes *r, int recipe)
{
    double sum = 0;
    for (int k = 0; k < blocks(r); k++)
        sum += of(r, recipe)[k];
    return sum / blocks(r);
}

static double deviation(const lmb_recipes *r, int recipe)
{
    double m = mean(r, recipe), sum = 0;
    for (int k = 0; k < blocks(r); k++)
        sum += (of(r, recipe)[k] - m) * (of(r, recipe)[k] - m);
    return blocks(r) > 1 ? sqrt(sum / (blocks(r) - 1)) : 0;
}

/* ---- pairs ---- */

typedef struct pair {
    int a, b;         /* b - a is what is asked of */
    lmb_t_test t;     /* paired                    */
    double p, judged; /* judged: by Holm's rule    */
    double mcnemar;
    int64_t lost, won; /* over all seeds: only a was right; only b */
} pair;

static void samples_of(const lmb_recipes *r, pair *p)
{
    double each[LMB_RECIPES_SEEDS];

    for (int s = 0; s < r->seeds; s++) {
        const uint8_t *a = r->right + ((int64_t)p->a * r->seeds + s) * r->samples,
                      *b = r->right + ((int64_t)p->b * r->seeds + s) * r->samples;
        lmb_paired d = { r->samples, 0, 0 };
        for (int64_t i = 0; i < r->samples; i++) {
            d.lost += a[i] && !b[i];
            d.won += !a[i] && b[i];
        }
        p->lost += d.lost;
        p->won += d.won;
        each[s] = lmb_mcnemar(&d);
    }
    p->mcnemar = lmb_p_together(each, r->seeds);
}

/* What the mean difference varies by from one choice of samples to another, each of which differs with the share that
 * did: however many seeds there are, all answer the same samples, and so do all folds together. */
static double of_samples(const lmb_recipes *r, const pair *p)
{
    double n = (double)r->samples;
    return (double)(p->lost + p->won) / ((double)r->seeds * n) / n;
}

static int all_pairs(const lmb_recipes *r, pair out[PAIRS])
{
    double p[PAIRS], two[2 * LMB_RECIPES_SEEDS * 100];
    int n = 0, k = blocks(r);

    for (int a = 0; a < r->recipes; a++)
        for (int b = a + 1; b < r->recipes; b++) {
            out[n] = (pair){ .a = a, .b = b };
            samples_of(r, &out[n]);
            double least = of_samples(r, &out[n]);
            out[n].t = lmb_t_paired(of(r, b), of(r, a), k, r->folds > 1 ? 1.0 / (r->folds - 1) : 0, least);
            memcpy(two, of(r, a), sizeof *two * (size_t)k);
            memcpy(two + k, of(r, b), sizeof *two * (size_t)k);
            out[n].p = p[n] = r->unpaired ? lmb_anova_one_way(two, 2, k, least).p : out[n].t.p;
            n++;
        }
    lmb_holm(p, n);
    for (int i = 0; i < n; i++)
        out[i].judged = p[i];
    return n;
}

/* ---- sentences ---- */

static void over(const lmb_recipes *r, lmb_str *out)
{
    lmb_str_addf(out, "over %d seed%s", r->seeds, r->seeds > 1 ? "s" : "");
    if (r->folds > 1)
        lmb_str_addf(out, " of %d folds, whose common samples are allowed for", r->folds);
}

static void pair_sentence(const lmb_recipes *r, const pair *p, lmb_str *out)
{
    bool shown = p->judged < ALPHA;
    int better = p->t.mean >= 0 ? p->b : p->a, worse = p->t.mean >= 0 ? p->a : p->b;
    double by = 100 * fabs(p->t.mean), lo = 100 * (p->t.mean >= 0 ? p->t.lo : -p->t.hi),
           hi = 100 * (p->t.mean >= 0 ? p->t.hi : -p->t.lo);

    if (shown)
        lmb_str_addf(out, "%s is better than %s by %.2f points", r->name[better], r->name[worse], by);
    else if (p->t.mean == 0)
        lmb_str_addf(out, "%s and %s: no difference is shown, both have the same mean", r->name[p->a], r->name[p->b]);
    else
        lmb_str_addf(out, "%s and %s: no difference is shown; %s is %.2f points ahead, which chance can do",
                     r->name[p->a], r->name[p->b], r->name[better], by);
    if (r->unpaired)
        lmb_str_addf(out, " (one-way analysis of variance");
    else
        lmb_str_addf(out, " (95 %% interval %.2f to %.2f; paired t-test: t = %.3g with %.0f", lo, hi, fabs(p->t.t),
                     p->t.df);
    lmb_str_addf(out, ", p = %.3g", p->p);
    if (r->recipes > 2)
        lmb_str_addf(out, ", %.3g as one of several", p->judged);
    lmb_str_add(out, " ");
    over(r, out);
    lmb_str_add(out, ")\n");
}

static void samples_sentence(const lmb_recipes *r, const pair *p, lmb_str *out)
{
    lmb_str_addf(out,
                 "%s and %s on the same samples: only the first is right on %lld answers, only the second on %lld; for "
                 "the models that were trained here, McNemar's test "
                 "has p = %.3g%s\n",
                 r->name[p->a], r->name[p->b], (long long)p->lost, (long long)p->won, p->mcnemar,
                 r->seeds > 1 ? " (of the seeds' together)" : "");
}

static lmb_anova all_recipes(const lmb_recipes *r)
{
    pair all[PAIRS];
    double least = 0;
    int n = all_pairs(r, all);

    for (int i = 0; i < n; i++)
        least += of_samples(r, &all[i]) / n;
    return r->unpaired ? lmb_anova_one_way(r->accuracy, r->recipes, blocks(r), least)
                       : lmb_anova_blocks(r->accuracy, r->recipes, blocks(r), least);
}

static void anova_sentence(const lmb_recipes *r, lmb_str *out)
{
    lmb_anova a = all_recipes(r);

    lmb_str_addf(out, "%s (%s: F = %.3g with %.0f and %.0f, p = %.3g",
                 a.p < ALPHA ? "the recipes are not all alike" : "no difference among the recipes is shown",
                 r->unpaired ? "one-way analysis of variance" : "repeated measures", a.f, a.df1, a.df2, a.p);
    lmb_str_addf(out, "%s)\n",
                 r->folds > 1 ? "; folds share samples, which makes this p too small, and is allowed for in the pairs"
                              : "");
}

void lmb_recipes_verdict(const lmb_recipes *r, lmb_str *out)
{
    pair p[PAIRS];
    int n = all_pairs(r, p);

    if (r->recipes > 2)
        anova_sentence(r, out);
    for (int i = 0; i < n; i++)
        pair_sentence(r, &p[i], out);
    for (int i = 0; i < n; i++)
        samples_sentence(r, &p[i], out);
    for (int k = 0; k < r->recipes; k++)
        lmb_str_addf(out, "%s: mean %.2f %%, standard deviation %.2f points\n", r->name[k], 100 * mean(r, k),
                     100 * deviation(r, k));
}

/* ---- figures ---- */

static void numbers(lmb_str *s, const char *key, const double *v, int n)
{
    lmb_str_addf(s, ", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        lmb_str_add(s, i ? ", " : "");
        lmb_str_add_number(s, v[i]);
    }
    lmb_str_add(s, "]");
}

void lmb_recipes_json(const lmb_recipes *r, lmb_str *s)
{
    pair p[PAIRS];
    int n = all_pairs(r, p);
    lmb_anova a = all_recipes(r);

    lmb_str_addf(s, "{\"folds\": %d, \"paired\": %s, \"samples\": %lld, \"seeds\": [", r->folds,
                 r->unpaired ? "false" : "true", (long long)r->samples);
    for (int i = 0; i < r->seeds; i++)
        lmb_str_addf(s, "%s%lld", i ? ", " : "", (long long)r->seed[i]);
    lmb_str_add(s, "],\n \"recipes\": [\n");
    for (int k = 0; k < r->recipes; k++) {
        lmb_str_add(s, "  {\"recipe\": ");
        lmb_str_add_json(s, r->name[k]);
        lmb_str_add_member(s, "mean", mean(r, k));
        lmb_str_add_member(s, "deviation", deviation(r, k));
        numbers(s, "accuracy", of(r, k), blocks(r));
        lmb_str_add(s, k + 1 < r->recipes ? "},\n" : "}\n");
    }
    lmb_str_addf(s, " ],\n \"anova\": {\"df1\": %.0f, \"df2\": %.0f", a.df1, a.df2);
    lmb_str_add_member(s, "f", a.f);
    lmb_str_add_member(s, "p", a.p);
    lmb_str_add(s, "},\n \"pairs\": [\n");
    for (int i = 0; i < n; i++) {
        lmb_str_addf(s, "  {\"first\": %d, \"second\": %d", p[i].a, p[i].b);
        lmb_str_add_member(s, "second_minus_first", p[i].t.mean);
        if (!r->unpaired) {
            lmb_str_add(s, ", \"interval\": [");
            lmb_str_add_number(s, p[i].t.lo);
            lmb_str_add(s, ", ");
            lmb_str_add_number(s, p[i].t.hi);
            lmb_str_add(s, "]");
            lmb_str_add_member(s, "t", p[i].t.t);
        }
        lmb_str_add_member(s, "p", p[i].p);
        lmb_str_add_member(s, "p_of_several", p[i].judged);
        lmb_str_addf(s, ", \"only_first_right\": %lld, \"only_second_right\": %lld", (long long)p[i].lost,
                     (long long)p[i].won);
        lmb_str_add_member(s, "mcnemar_p", p[i].mcnemar);
        lmb_str_add(s, i + 1 < n ? "},\n" : "}\n");
    }
    lmb_str_add(s, " ]}\n");
}

void lmb_recipes_page(const lmb_recipes *r, const char *config, lmb_str *out)
{
    lmb_str verdict = LMB_STR_INIT;

    lmb_report_page_begin("Recipes", out);
    lmb_recipes_verdict(r, &verdict);
    const char *class = "lead";
    for (const char *line = verdict.text, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char text[800];
        snprintf(text, sizeof text, "%.*s", (int)(end - line < 799 ? end - line : 799), line);
        lmb_str_addf(out, "<p class=\"%s\">", class);
        lmb_str_add_html(out, text);
        lmb_str_add(out, ".</p>\n");
        class = "soft";
    }
    out->failed |= verdict.failed;
    lmb_str_free(&verdict);
    lmb_str_add(out, "<h2>Accuracies</h2>\n<div class=\"wide\"><table class=\"stages\"><thead><tr><th "
                     "scope=\"col\">seed, fold</th>");
    for (int k = 0; k < r->recipes; k++) {
        lmb_str_add(out, "<th scope=\"col\">");
        lmb_str_add_html(out, r->name[k]);
        lmb_str_add(out, "</th>");
    }
    lmb_str_add(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < blocks(r); i++) {
        lmb_str_addf(out, "<tr><th scope=\"row\">%lld, %d</th>", (long long)r->seed[i / r->folds], i % r->folds + 1);
        for (int k = 0; k < r->recipes; k++)
            lmb_str_addf(out, "<td>%.2f %%</td>", 100 * of(r, k)[i]);
        lmb_str_add(out, "</tr>\n");
    }
    lmb_str_add(out, "</tbody></table></div>\n");
    lmb_report_page_end(config, out);
}
