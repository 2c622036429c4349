/* launch/report_svg.c - see report_svg.h. A picture is W x H user units; a frame maps numbers to it. */
#include "launch/report_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report.h"

enum { W = 560, H = 320, LEFT = 62, RIGHT = 18, TOP = 14, BOTTOM = 46, MARKS_MAX = 60 };

typedef struct frame { double x0, x1, y0, y1; bool log_x; } frame;

static double px(const frame *f, double x)
{
    double t = f->log_x ? (log(x) - log(f->x0)) / (log(f->x1) - log(f->x0)) : (x - f->x0) / (f->x1 - f->x0);
    return LEFT + t * (W - LEFT - RIGHT);
}

static double py(const frame *f, double y) { return H - BOTTOM - (y - f->y0) / (f->y1 - f->y0) * (H - TOP - BOTTOM); }

/* The smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `parts`. */
static double nice_step(double span, int parts)
{
    double raw = span / parts, power = pow(10, floor(log10(raw))), m = raw / power;
    return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * power;
}

/* Widen [lo, hi] to whole steps; returns the step. */
static double nice_range(double *lo, double *hi, int parts, bool share)
{
    double pad = *hi > *lo ? 0 : fmax(fabs(*hi) * 0.05, 1e-3);
    double step = nice_step(*hi - *lo + 2 * pad, parts);
    *lo = floor((*lo - pad) / step + 1e-9) * step;
    *hi = ceil((*hi + pad) / step - 1e-9) * step;
    if (share) { /* there is nothing below 0 % or above 100 % */
        *lo = fmax(*lo, 0);
        *hi = fmin(*hi, 1);
    }
    return step;
}

static void begin(lmb_str *out, const char *title, const char *what)
{
    lmb_str_addf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", W, H);
    lmb_str_add_html(out, title);
    lmb_str_add(out, "</title><desc>");
    lmb_str_add_html(out, what);
    lmb_str_add(out, "</desc>\n");
}

static void y_axis(lmb_str *out, const frame *f, double step, bool percent)
{
    double shown = percent ? 100 * step : step;
    int digits = shown >= 1 ? 0 : shown >= 0.1 ? 1 : shown >= 0.01 ? 2 : 3;

    for (int i = 0; f->y0 + i * step <= f->y1 + step / 1000; i++) {
        double v = f->y0 + i * step, y = py(f, v);
        lmb_str_addf(
            out,
            "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">"
            "%.*f%s</text>\n",
            LEFT, y, W - RIGHT, y, LEFT - 8, y + 4, digits, percent ? 100 * v : v, percent ? " %" : "");
    }
}

static void x_tick(lmb_str *out, double x, const char *text)
{
    lmb_str_addf(
        out,
        "<line class=\"axis\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">"
        "%s</text>\n",
        x, H - BOTTOM, x, H - BOTTOM + 4, x, H - BOTTOM + 18, text);
}

static void x_axis(lmb_str *out, const char *label)
{
    lmb_str_addf(
        out,
        "<line class=\"axis\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/><text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
        LEFT, H - BOTTOM, W - RIGHT, H - BOTTOM, (LEFT + W - RIGHT) / 2, H - 8);
    lmb_str_add_html(out, label);
    lmb_str_add(out, "</text>\n");
}

/* ---- lines ---- */

static bool extent(const lmbi_svg_lines *c, frame *f)
{
    *f = (frame){ INFINITY, -INFINITY, INFINITY, -INFINITY, false };
    for (int s = 0; s < c->n; s++)
        for (int i = 0; i < c->series[s].n; i++)
            if (isfinite(c->series[s].y[i])) {
                f->x0 = fmin(f->x0, c->series[s].x[i]);
                f->x1 = fmax(f->x1, c->series[s].x[i]);
                f->y0 = fmin(f->y0, c->series[s].y[i]);
                f->y1 = fmax(f->y1, c->series[s].y[i]);
            }
    return f->x0 <= f->x1;
}

static void add_value(lmb_str *out, double v, bool percent)
{
    lmb_str_addf(out, percent ? "%.2f %%" : "%.4f", percent ? 100 * v : v);
}

static void draw_series(lmb_str *out, const frame *f, const lmbi_svg_lines *c, const lmbi_svg_series *s)
{
    bool pen_down = false;

    lmb_str_addf(out, "<path class=\"line s%d%s\" d=\"", s->color, s->dashed ? " dashed" : "");
    for (int i = 0; i < s->n; i++) {
        if (isfinite(s->y[i]))
            lmb_str_addf(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', px(f, s->x[i]), py(f, s->y[i]));
        pen_down = isfinite(s->y[i]);
    }
    lmb_str_add(out, "\"/>\n");
    for (int i = 0; i < s->n && s->n <= MARKS_MAX; i++) {
        if (!isfinite(s->y[i]))
            continue;
        lmb_str_addf(out, "<circle class=\"mark s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>", s->color,
                     px(f, s->x[i]), py(f, s->y[i]));
        lmb_str_add_html(out, s->name);
        lmb_str_addf(out, ", %s %.0f: ", c->x_label, s->x[i]);
        add_value(out, s->y[i], c->percent);
        lmb_str_add(out, "</title></circle>\n");
    }
}

/* "teacher from 0.51 to 0.12; ...", for those who cannot see the lines. */
static void describe_lines(lmb_str *out, const lmbi_svg_lines *c)
{
    for (int s = 0; s < c->n; s++) {
        double first = NAN, last = NAN;
        for (int i = 0; i < c->series[s].n; i++)
            if (isfinite(c->series[s].y[i])) {
                last = c->series[s].y[i];
                first = isnan(first) ? last : first;
            }
        lmb_str_addf(out, "%s%s from ", s ? "; " : "", c->series[s].name);
        add_value(out, first, c->percent);
        lmb_str_add(out, " to ");
        add_value(out, last, c->percent);
    }
}

bool lmbi_svg_draw_lines(lmb_str *out, const lmbi_svg_lines *c)
{
    lmb_str what = LMB_STR_INIT;
    frame f;

    if (!extent(c, &f))
        return false;
    if (f.x1 == f.x0)
        f.x0 -= 0.5, f.x1 += 0.5;
    double step = nice_range(&f.y0, &f.y1, 6, c->percent), x_step = fmax(1, nice_step(f.x1 - f.x0, 10));
    describe_lines(&what, c);
    begin(out, c->title, what.text ? what.text : "");
    y_axis(out, &f, step, c->percent);
    for (double x = ceil(f.x0 / x_step) * x_step; x <= f.x1; x += x_step) {
        char text[32];
        snprintf(text, sizeof text, "%.0f", x);
        x_tick(out, px(&f, x), text);
    }
    x_axis(out, c->x_label);
    for (int s = 0; s < c->n; s++)
        draw_series(out, &f, c, &c->series[s]);
    lmb_str_add(out, "</svg>\n");
    out->failed = out->failed || what.failed;
    lmb_str_free(&what);
    return true;
}

/* ---- points with intervals ---- */

typedef struct box { double x0, y0, x1, y1; } box;

static bool touch(const box *a, const box *b)
{
    return a->x0 < b->x1 && b->x0 < a->x1 && a->y0 < b->y1 && b->y0 < a->y1;
}

/* A label goes to the first of a few places around its point where it meets no other label and no mark. */
static box place_label(const char *name, double x, double y, const box *taken, int n)
{
    static const double dx[] = { 12, 12, -12, -12, 12, 12, -12, -12, 12, -12, 12 };
    static const double dy[] = { -10, 12, -10, 12, -28, 30, -28, 30, 48, 48, -46 };
    double w = 7.4 * (double)strlen(name);
    box b = { x + 12, y - 18, x + 12 + w, y - 3 };

    for (size_t k = 0; k < sizeof dx / sizeof *dx; k++) {
        double left = dx[k] > 0 ? x + dx[k] : x + dx[k] - w;
        box try = { left, y + dy[k] - 8, left + w, y + dy[k] + 7 };
        bool free_place = try.x0 > LEFT && try.x1 < W - 2 && try.y0 > 0 && try.y1 < H - BOTTOM;
        for (int t = 0; t < n; t++)
            free_place = free_place && !touch(&try, &taken[t]);
        if (free_place)
            return try;
    }
    return b;
}

static void draw_point(lmb_str *out, const frame *f, const lmbi_svg_point *p, double x, const char *unit,
                       const box *label)
{
    double lo = py(f, p->lo), hi = py(f, p->hi), middle = (label->y0 + label->y1) / 2;
    char size[32];

    lmb_str_addf(out, "<g><title>%s: %.2f %% (95 %% interval %.2f to %.2f) at %s</title>", p->name, 100 * p->y,
                 100 * p->lo, 100 * p->hi, lmb_report_count(p->x, unit, size, sizeof size));
    lmb_str_addf(out, "<path class=\"bar s%d\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh12M%.1f %.1fh12\"/>", p->color, x, lo, hi,
                 x - 6, lo, x - 6, hi);
    lmb_str_addf(out, "<circle class=\"mark s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>", p->color, x, py(f, p->y));
    lmb_str_addf(out, "<text class=\"label s%d\" x=\"%.1f\" y=\"%.1f\">%s</text></g>\n", p->color, label->x0,
                 middle + 4, p->name);
}

static void log_ticks(lmb_str *out, const frame *f, const char *unit)
{
    static const int mantissa[] = { 1, 2, 5 };
    double decades = log10(f->x1 / f->x0);

    for (int e = (int)floor(log10(f->x0)); e <= (int)ceil(log10(f->x1)); e++)
        for (int m = 0; m < (decades < 2.5 ? 3 : 1); m++) {
            double v = mantissa[m] * pow(10, e);
            char text[32];
            if (v >= f->x0 && v <= f->x1) {
                bool big = v >= 1e6;
                snprintf(text, sizeof text, "%g %s%s", v >= 1e9 ? v / 1e9 : big ? v / 1e6 : v >= 1000 ? v / 1000 : v,
                         v >= 1e9 ? "G" : big ? "M" : v >= 1000 ? "k" : "", unit);
                x_tick(out, px(f, v), text);
            }
        }
}

/* Where points stand; those of the same size are moved apart so that their intervals can be told apart. */
static void spread(const frame *f, const lmbi_svg_points *c, double *x)
{
    for (int i = 0; i < c->n; i++) {
        x[i] = px(f, c->point[i].x);
        for (int k = 0; k < i; k++)
            if (fabs(x[i] - x[k]) < 12)
                x[i] = x[k] + 14;
    }
}

bool lmbi_svg_draw_points(lmb_str *out, const lmbi_svg_points *c)
{
    frame f = { INFINITY, 0, INFINITY, -INFINITY, true };
    box taken[3 * LMBI_SVG_POINTS];
    double x[LMBI_SVG_POINTS];
    int n = 0;

    for (int i = 0; i < c->n; i++) {
        f.x0 = fmin(f.x0, c->point[i].x / 1.6);
        f.x1 = fmax(f.x1, c->point[i].x * 1.6);
        f.y0 = fmin(f.y0, c->point[i].lo);
        f.y1 = fmax(f.y1, c->point[i].hi);
    }
    if (!(f.x0 > 0) || c->n == 0)
        return false;
    double step = nice_range(&f.y0, &f.y1, 6, true);
    begin(out, c->title, "Points with their 95 % intervals; the table has the figures.");
    y_axis(out, &f, step, true);
    log_ticks(out, &f, c->unit);
    x_axis(out, c->x_label);
    spread(&f, c, x);
    for (int i = 0; i < c->n; i++) {
        double y = py(&f, c->point[i].y);
        taken[n++] = (box){ x[i] - 6, y - 6, x[i] + 6, y + 6 };
        taken[n++] = (box){ x[i] - 3, py(&f, c->point[i].hi), x[i] + 3, py(&f, c->point[i].lo) };
    }
    for (int i = 0; i < c->n; i++) {
        taken[n] = place_label(c->point[i].name, x[i], py(&f, c->point[i].y), taken, n);
        draw_point(out, &f, &c->point[i], x[i], c->unit, &taken[n]);
        n++;
    }
    lmb_str_add(out, "</svg>\n");
    return true;
}

/* ---- many points ---- */

static void draw_dot(lmb_str *out, const frame *f, const lmbi_svg_dot *d)
{
    double x = px(f, d->x);

    lmb_str_add(out, "<g><title>");
    lmb_str_add_html(out, d->title);
    lmb_str_add(out, "</title>");
    if (d->hi > d->lo)
        lmb_str_addf(out, "<path class=\"bar s%d\" d=\"M%.1f %.1fV%.1f\"/>", d->color, x, py(f, d->lo), py(f, d->hi));
    lmb_str_addf(out, "<circle class=\"mark s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/></g>\n", d->color, x, py(f, d->y),
                 d->joined ? 5 : 3);
}

/* Line 1 has the colour of what was accepted, the others those behind the colours of its decisions. */
static void join_dots(lmb_str *out, const frame *f, const lmbi_svg_dots *c, int line)
{
    bool pen_down = false;

    for (int i = 0; i < c->n; i++)
        if (c->dot[i].joined == line) {
            if (!pen_down)
                lmb_str_addf(out, "<path class=\"line s%d\" d=\"", line > 1 ? line + 1 : 0);
            lmb_str_addf(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', px(f, c->dot[i].x), py(f, c->dot[i].y));
            pen_down = true;
        }
    lmb_str_add(out, pen_down ? "\"/>\n" : "");
}

bool lmbi_svg_draw_dots(lmb_str *out, const lmbi_svg_dots *c)
{
    frame f = { INFINITY, -INFINITY, INFINITY, -INFINITY, false };

    for (int i = 0; i < c->n; i++) {
        f.x0 = fmin(f.x0, c->dot[i].x);
        f.x1 = fmax(f.x1, c->dot[i].x);
        f.y0 = fmin(f.y0, c->dot[i].lo);
        f.y1 = fmax(f.y1, c->dot[i].hi);
    }
    if (!(f.x0 <= f.x1))
        return false;
    double step = nice_range(&f.y0, &f.y1, 6, true), x_step = nice_range(&f.x0, &f.x1, 8, false);
    begin(out, c->title, "Points that were tried; those that no other beats are joined. The table has the figures.");
    y_axis(out, &f, step, true);
    for (double x = f.x0; x <= f.x1 + x_step / 1000; x += x_step) {
        char text[32];
        if (f.x1 < 1e4)
            snprintf(text, sizeof text, "%.6g", x);
        else
            snprintf(text, sizeof text, "%.6g %s", f.x1 < 1e7 ? x / 1e3 : x / 1e6, f.x1 < 1e7 ? "k" : "M");
        x_tick(out, px(&f, x), text);
    }
    x_axis(out, c->x_label);
    for (int line = LMBI_SVG_LINES; line > 0; line--)
        join_dots(out, &f, c, line);
    for (int i = 0; i < c->n; i++)
        draw_dot(out, &f, &c->dot[i]);
    lmb_str_add(out, "</svg>\n");
    return true;
}
