/* launch/compress_picture.c - held-out accuracy against a cost: all points of a search, those that none beats joined,
 * and beside them the fronts of other searches, each a line of its own. See compress.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/compress.h"
#include "launch/report_svg.h"
#include "train/metrics.h"

enum { TITLE = 140, OTHER_LINES = LMBI_SVG_LINES - 1 };
static const char *const cost_names[] = { "latency at batch 1, microseconds", "bytes of the deployed file",
    "multiply-accumulates" };

const char *lmbi_compress_decision(const lmb_point *p)
{
    return p->accepted ? "accepted" : p->beaten ? "beaten" : "rejected";
}

typedef struct drawn { lmbi_svg_dot *dot; char (*title)[TITLE]; int n; } drawn;

static int by_x(const void *a, const void *b)
{
    const lmbi_svg_dot *x = a, *y = b;
    return x->x != y->x ? (x->x < y->x ? -1 : 1) : strcmp(x->title, y->title);
}

/* Of dots first .. n in the order of their cost, join those that are more accurate than all that are cheaper. */
static void join(drawn *d, int first, int line)
{
    double best = -1;

    for (int i = first; i < d->n; i++) {
        bool last = i + 1 == d->n || d->dot[i + 1].x > d->dot[i].x;
        if (!last && d->dot[i + 1].y > d->dot[i].y) /* of as dear ones the most accurate is meant */
            continue;
        if (d->dot[i].y > best) {
            d->dot[i].joined = line;
            best = d->dot[i].y;
        }
    }
}

static void own_dots(const lmb_compress_report *r, int cost, drawn *d)
{
    const lmb_points *p = &r->result->points;

    for (int i = 0; i < p->n; i++) {
        const lmb_point *x = &p->point[i];
        int64_t cells[4] = { x->right, x->pair.n - x->right, 0, 0 };
        lmb_metrics m = { .classes = 2, .confusion = cells, .n = x->pair.n };
        lmbi_svg_dot *dot = &d->dot[d->n];
        *dot = (lmbi_svg_dot){ d->title[d->n], x->accepted ? 0 : x->beaten ? 2 : 1, 0, x->cost[cost],
                               lmb_point_accuracy(x), 0, 0 };
        lmb_metrics_interval(&m, &dot->lo, &dot->hi);
        snprintf(d->title[d->n++], TITLE, "point %d, %s: %.2f %% held-out at %.6g", x->id, lmbi_compress_decision(x),
                 100 * dot->y, dot->x);
    }
    qsort(d->dot, (size_t)d->n, sizeof *d->dot, by_x);
    join(d, 0, 1);
    for (int i = 0; i < d->n; i++)
        if (!d->dot[i].joined) /* an interval each would hide the line */
            d->dot[i].lo = d->dot[i].hi = d->dot[i].y;
}

static int line_of(int other) { return 2 + other % OTHER_LINES; }

static void other_dots(const lmb_other *o, int which, int cost, drawn *d)
{
    int first = d->n;

    for (int i = 0; i < o->n; i++) {
        const lmb_other_point *x = &o->point[i];
        if (!(x->cost[cost] > 0))
            continue;
        snprintf(d->title[d->n], TITLE, "%s: %.2f %% at %.6g", o->method, 100 * x->accuracy, x->cost[cost]);
        d->dot[d->n] = (lmbi_svg_dot){ d->title[d->n], line_of(which) + 1, 0, x->cost[cost], x->accuracy, x->accuracy,
                                       x->accuracy };
        d->n++;
    }
    qsort(d->dot + first, (size_t)(d->n - first), sizeof *d->dot, by_x);
    join(d, first, line_of(which));
}

static void legend(const lmb_others *o, lmb_str *out)
{
    lmb_str_add(out, "<div class=\"legend\"><span><i class=\"s0\"></i>accepted</span><span><i class=\"s2\"></i>beaten"
                     "</span><span><i class=\"s1\"></i>rejected</span>");
    for (int k = 0; k < o->n; k++) {
        lmb_str_addf(out, "<span><i class=\"s%d\"></i>", line_of(k) + 1);
        lmb_str_add_html(out, o->other[k].method);
        lmb_str_add(out, "</span>");
    }
    lmb_str_add(out, "</div>\n");
}

void lmbi_compress_picture(const lmb_compress_report *r, int cost, lmb_str *out)
{
    size_t room = (size_t)r->result->points.n + LMB_OTHERS * LMB_OTHER_POINTS;
    drawn d = { calloc(room, sizeof *d.dot), calloc(room, sizeof *d.title), 0 };

    if (!d.dot || !d.title) {
        out->failed = true;
        goto done;
    }
    own_dots(r, cost, &d);
    for (int k = 0; k < r->others->n; k++)
        other_dots(&r->others->other[k], k, cost, &d);
    lmb_str_add(out, "<figure><h3>Accuracy against ");
    lmb_str_add(out, cost == LMB_GOAL_MACS ? "MACs" : lmb_goals[cost]);
    lmb_str_add(out, "</h3>");
    legend(r->others, out);
    lmbi_svg_dots c = { "Held-out accuracy against cost", cost_names[cost], d.dot, d.n };
    lmbi_svg_draw_dots(out, &c);
    lmb_str_add(out, "<figcaption>Held-out accuracy; a line joins points that none of its search beats, this search's "
                     "with 95 % intervals.</figcaption></figure>\n");
done:
    free(d.dot);
    free(d.title);
}
