/* launch/compress_others.c - see compress_others.h. */
#include "launch/compress_others.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "launch/report.h"

/* Thousands of trials of a tuning are more than the 1 MiB that a configuration may have. */
enum { FILE_MOST = 1 << 26 };

/* ---- reading ---- */

static double real_at(const lmb_tree *t, const char *key)
{
    double v = NAN;
    const lmb_tree *x = lmb_tree_get(t, key);
    lmb_error none = LMB_ERROR_INIT;

    return x && lmb_tree_real(x, &v, &none) == LMB_OK ? v : NAN;
}

static bool flag_at(const lmb_tree *t, const char *key)
{
    bool v = false;
    const lmb_tree *x = lmb_tree_get(t, key);
    lmb_error none = LMB_ERROR_INIT;

    return x && lmb_tree_bool(x, &v, &none) == LMB_OK && v;
}

static bool is_list(const lmb_tree *t) { return t && t->kind == LMB_TREE_LIST; }

static lmb_status add_point(lmb_other *o, const lmb_tree *at, const lmb_other_point *p, lmb_error *err)
{
    bool known = false;

    for (int i = 0; i < LMB_COSTS; i++)
        known |= p->cost[i] > 0;
    if (!(p->accuracy >= 0 && p->accuracy <= 1) || !known)
        return lmb_tree_fail(at, err, LMB_E_FORMAT, "a point of the front has no accuracy in 0 .. 1 or no cost");
    if (o->n == LMB_OTHER_POINTS)
        return lmb_tree_fail(at, err, LMB_E_FORMAT, "more than %d points on a front", LMB_OTHER_POINTS);
    if (!o->point && !(o->point = calloc(LMB_OTHER_POINTS, sizeof *o->point)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the front of another search");
    o->point[o->n++] = *p;
    return LMB_OK;
}

/* tune.json: one cost, the same of all trials. */
static lmb_status read_trials(const lmb_tree *root, lmb_other *o, lmb_error *err)
{
    const char *method, *cost;
    int goal = 0;

    LMB_TRY(lmb_tree_text(lmb_tree_get(root, "method"), &method, err));
    LMB_TRY(lmb_tree_text(lmb_tree_get(root, "cost"), &cost, err));
    snprintf(o->method, sizeof o->method, "tune, %.30s", method);
    while (goal < LMB_COSTS && strcmp(lmb_goals[goal], cost) != 0)
        goal++;
    if (goal == LMB_COSTS)
        return LMB_FAIL(err, LMB_E_ARG, "%s has no cost and so no front: tune with tune.cost latency, bytes or macs",
                        o->file);
    for (const lmb_tree *t = lmb_tree_get(root, "trials")->child; t; t = t->next) {
        lmb_other_point p = { real_at(t, "score"), { NAN, NAN, NAN } };
        p.cost[goal] = real_at(t, "cost");
        if (flag_at(t, "front"))
            LMB_TRY(add_point(o, t, &p, err));
    }
    return LMB_OK;
}

/* front.json. */
static lmb_status read_points(const lmb_tree *root, lmb_other *o, lmb_error *err)
{
    const lmb_tree *moves = lmb_tree_get(root, "moves"), *device = lmb_tree_get(lmb_tree_get(root, "device"), "name");
    const char *only;

    if (device) {
        LMB_TRY(lmb_tree_text(device, &only, err));
        snprintf(o->device, sizeof o->device, "%s", only);
    }

    snprintf(o->method, sizeof o->method, "compress");
    if (is_list(moves) && lmb_tree_count(moves) == 1) {
        LMB_TRY(lmb_tree_text(moves->child, &only, err));
        snprintf(o->method, sizeof o->method, "%.20s alone", only);
    }
    for (const lmb_tree *t = lmb_tree_get(root, "points")->child; t; t = t->next) {
        lmb_other_point p = { real_at(lmb_tree_get(t, "held_out"), "accuracy"),
                              { real_at(t, "latency_us"), real_at(t, "bytes"), real_at(t, "macs") } };
        if (flag_at(t, "front"))
            LMB_TRY(add_point(o, t, &p, err));
    }
    return LMB_OK;
}

static lmb_status read_one(const char *path, lmb_other *o, lmb_error *err)
{
    lmb_config *json;
    void *text;
    size_t n;

    snprintf(o->file, sizeof o->file, "%s", path);
    LMB_TRY(lmb_file_read(path, FILE_MOST, &text, &n, err));
    lmb_status st = lmb_config_parse_most(text, n, path, FILE_MOST, &json, err);
    free(text);
    LMB_TRY(st);
    const lmb_tree *root = lmb_config_root(json);
    if (is_list(lmb_tree_get(root, "trials")) && lmb_tree_get(root, "method") && lmb_tree_get(root, "cost"))
        st = read_trials(root, o, err);
    else if (is_list(lmb_tree_get(root, "points")))
        st = read_points(root, o, err);
    else
        st = LMB_FAIL(err, LMB_E_FORMAT,
                      "%s is neither tune.json of `limbeck tune` nor front.json of `limbeck compress`", path);
    lmb_config_destroy(json);
    return st;
}

lmb_status lmb_others_read(const lmb_tree *files, lmb_others *out, lmb_error *err)
{
    const lmb_tree *t = files && files->kind == LMB_TREE_LIST ? files->child : files;
    lmb_others o = { .n = 0 };
    lmb_status st = LMB_OK;
    const char *path;

    for (; t && st == LMB_OK; t = files->kind == LMB_TREE_LIST ? t->next : NULL) {
        if (o.n == LMB_OTHERS)
            st = lmb_tree_fail(t, err, LMB_E_ARG, "compare_front has more than %d files", LMB_OTHERS);
        if (st == LMB_OK)
            st = lmb_tree_text(t, &path, err);
        if (st == LMB_OK)
            st = read_one(path, &o.other[o.n++], err);
    }
    if (st != LMB_OK)
        lmb_others_free(&o);
    else
        *out = o;
    return st;
}

void lmb_others_free(lmb_others *o)
{
    for (int i = 0; i < o->n; i++)
        free(o->other[i].point);
    memset(o, 0, sizeof *o);
}

void lmb_others_on(lmb_others *o, const char *device)
{
    for (int i = 0; i < o->n; i++)
        for (int k = 0; strcmp(o->other[i].device, device) != 0 && k < o->other[i].n; k++)
            o->other[i].point[k].cost[LMB_GOAL_LATENCY] = NAN;
}

/* ---- comparing ---- */

static bool beats(const lmb_other_point *a, const lmb_other_point *b)
{
    bool better = a->accuracy > b->accuracy, same_cost = false;

    if (a->accuracy < b->accuracy)
        return false;
    for (int i = 0; i < LMB_COSTS; i++) {
        if (!(a->cost[i] > 0) || !(b->cost[i] > 0))
            continue;
        if (a->cost[i] > b->cost[i])
            return false;
        same_cost = true;
        better |= a->cost[i] < b->cost[i];
    }
    return better && same_cost;
}

void lmb_others_against(const lmb_other *o, const lmb_points *p, int *beaten, int *others_beat)
{
    *beaten = *others_beat = 0;
    for (int i = 0; i < o->n; i++) {
        bool lost = false;
        for (int k = 0; k < p->n && !lost; k++) {
            lmb_other_point own = { lmb_point_accuracy(&p->point[k]), { 0 } };
            memcpy(own.cost, p->point[k].cost, sizeof own.cost);
            lost = p->point[k].front && beats(&own, &o->point[i]);
        }
        *beaten += lost;
    }
    for (int k = 0; k < p->n; k++) {
        lmb_other_point own = { lmb_point_accuracy(&p->point[k]), { 0 } };
        bool lost = false;
        memcpy(own.cost, p->point[k].cost, sizeof own.cost);
        for (int i = 0; i < o->n && !lost; i++)
            lost = beats(&o->point[i], &own);
        *others_beat += p->point[k].front && lost;
    }
}

/* What the cheapest point costs that is at least as accurate, by each cost; NAN: there is none. */
typedef struct prices { double least[LMB_COSTS]; } prices;

static void take(prices *d, const lmb_other_point *p, double level)
{
    for (int i = 0; i < LMB_COSTS; i++)
        if (p->accuracy >= level && p->cost[i] > 0 && !(d->least[i] <= p->cost[i]))
            d->least[i] = p->cost[i];
}

static prices least_of(const lmb_other *o, double level)
{
    prices d = { { NAN, NAN, NAN } };
    for (int i = 0; i < o->n; i++)
        take(&d, &o->point[i], level);
    return d;
}

static prices least_here(const lmb_points *p, double level)
{
    prices d = { { NAN, NAN, NAN } };

    for (int k = 0; k < p->n; k++) {
        lmb_other_point own = { lmb_point_accuracy(&p->point[k]), { 0 } };
        memcpy(own.cost, p->point[k].cost, sizeof own.cost);
        if (p->point[k].front)
            take(&d, &own, level);
    }
    return d;
}

/* ---- saying ---- */

static const char *const cost_keys[LMB_COSTS] = { "latency_us", "bytes", "macs" };

static int front_of(const lmb_points *p)
{
    int n = 0;
    for (int i = 0; i < p->n; i++)
        n += p->point[i].front;
    return n;
}

static void json_least(const prices *d, double level, lmb_str *out)
{
    lmb_str_add(out, "{\"accuracy\": ");
    lmb_str_add_number(out, level);
    for (int i = 0; i < LMB_COSTS; i++)
        if (d->least[i] > 0)
            lmb_str_add_member(out, cost_keys[i], d->least[i]);
    lmb_str_add(out, "}");
}

void lmb_others_json(const lmb_others *o, const lmb_points *p, double level, lmb_str *out)
{
    prices here = least_here(p, level);

    if (!o->n)
        return;
    lmb_str_add(out, ",\n \"at_equal_accuracy\": ");
    json_least(&here, level, out);
    lmb_str_add(out, ",\n \"compared\": [");
    for (int i = 0; i < o->n; i++) {
        prices there = least_of(&o->other[i], level);
        int beaten, beat;
        lmb_others_against(&o->other[i], p, &beaten, &beat);
        lmb_str_add(out, i ? ",\n  {\"file\": " : "\n  {\"file\": ");
        lmb_str_add_json(out, o->other[i].file);
        lmb_str_add(out, ", \"method\": ");
        lmb_str_add_json(out, o->other[i].method);
        lmb_str_addf(out, ", \"front\": %d, \"beaten\": %d, \"beats\": %d, \"at_equal_accuracy\": ", o->other[i].n,
                     beaten, beat);
        json_least(&there, level, out);
        lmb_str_add(out, "}");
    }
    lmb_str_add(out, " ]");
}

/* What each cost is, and how many times what this search needs. */
static void cells_least(const prices *d, const prices *here, lmb_str *out)
{
    static const char *const units[LMB_COSTS] = { "&micro;s", "B", "" };

    for (int i = 0; i < LMB_COSTS; i++) {
        char text[32];
        if (!(d->least[i] > 0)) {
            lmb_str_add(out, "<td>none</td>");
            continue;
        }
        if (i == LMB_GOAL_LATENCY)
            lmb_str_addf(out, "<td>%.1f %s", d->least[i], units[i]);
        else
            lmb_str_addf(out, "<td>%s", lmb_report_count(d->least[i], units[i], text, sizeof text));
        if (d != here && here->least[i] > 0)
            lmb_str_addf(out, " (%.2f times)", d->least[i] / here->least[i]);
        lmb_str_add(out, "</td>");
    }
}

void lmb_others_table(const lmb_others *o, const lmb_points *p, double level, lmb_str *out)
{
    int own = front_of(p);
    prices here = least_here(p, level);

    if (!o->n)
        return;
    lmb_str_addf(out,
                 "<h2>Beside other searches</h2>\n<div class=\"wide\"><table class=\"stages\"><thead><tr>"
                 "<th scope=\"col\">search</th><th scope=\"col\">latency at %.2f %%</th><th scope=\"col\">bytes</th>"
                 "<th scope=\"col\">MACs</th><th scope=\"col\">points of its front</th><th scope=\"col\">beaten by "
                 "this front</th><th scope=\"col\">points of this front that it beats</th>"
                 "<th scope=\"col\" class=\"note\">file</th></tr></thead><tbody>\n"
                 "<tr class=\"best\"><th scope=\"row\">this one</th>", 100 * level);
    cells_least(&here, &here, out);
    lmb_str_addf(out, "<td>%d</td><td></td><td></td><td class=\"note\"></td></tr>\n", own);
    for (int i = 0; i < o->n; i++) {
        prices there = least_of(&o->other[i], level);
        int beaten, beat;
        lmb_others_against(&o->other[i], p, &beaten, &beat);
        lmb_str_add(out, "<tr><th scope=\"row\">");
        lmb_str_add_html(out, o->other[i].method);
        lmb_str_add(out, "</th>");
        cells_least(&there, &here, out);
        lmb_str_addf(out, "<td>%d</td><td>%d</td><td>%d of %d</td><td class=\"note\">", o->other[i].n, beaten, beat,
                     own);
        lmb_str_add_html(out, o->other[i].file);
        lmb_str_add(out, "</td></tr>\n");
    }
    lmb_str_addf(out, "</tbody></table></div>\n<p class=\"soft\">Latency, bytes and MACs are of the cheapest point of "
                      "each front that has at least %.2f %% of the held-out samples right. A point beats another that "
                      "is no more accurate and no cheaper, by the costs that are known of both. A tuning knows one "
                      "cost, and its scores are of float models at their best epoch, which is kinder than held-out "
                      "integers.</p>\n", 100 * level);
}
