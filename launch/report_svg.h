/* launch/report_svg.h - pictures as inline SVG: lines over a number, points with intervals over a logarithm, many
 * points.
 *
 * Colours and strokes are classes (s0 to s6, grid, axis, mark) that the page's style defines, so that one picture
 * serves light and dark. Every picture carries a title and a description, and every mark a title with its figures.
 */
#ifndef LMB_LAUNCH_REPORT_SVG_H
#define LMB_LAUNCH_REPORT_SVG_H

#include <stdbool.h>

#include "core/base/str.h"

enum { LMBI_SVG_SERIES = 8, LMBI_SVG_POINTS = 8 };

typedef struct lmbi_svg_series {
    const char *name;
    int color;      /* class s0 to s3                         */
    bool dashed;
    const double *x, *y; /* [n]; a y that is NAN is left out */
    int n;
} lmbi_svg_series;

typedef struct lmbi_svg_lines {
    const char *title, *x_label;
    bool percent; /* y is a share, shown in % */
    lmbi_svg_series series[LMBI_SVG_SERIES];
    int n;
} lmbi_svg_lines;

/* Nothing is drawn when no series has a point; says whether it drew. */
bool lmbi_svg_draw_lines(lmb_str *out, const lmbi_svg_lines *c);

typedef struct lmbi_svg_point {
    const char *name;
    int color;
    double x, y, lo, hi; /* x > 0; y a share with its interval */
} lmbi_svg_point;

typedef struct lmbi_svg_points {
    const char *title, *x_label, *unit;
    lmbi_svg_point point[LMBI_SVG_POINTS];
    int n;
} lmbi_svg_points;

bool lmbi_svg_draw_points(lmb_str *out, const lmbi_svg_points *c);

/* Any number of points over a linear number, some joined by lines: a front among all that was tried, and others. */
enum { LMBI_SVG_LINES = 5 };
typedef struct lmbi_svg_dot {
    const char *title;   /* what it says when it is pointed at */
    int color;
    int joined;          /* with the next one of this line, 1 to LMBI_SVG_LINES; 0: with none */
    double x, y, lo, hi; /* y a share; lo = hi: no interval    */
} lmbi_svg_dot;

typedef struct lmbi_svg_dots {
    const char *title, *x_label;
    const lmbi_svg_dot *dot; /* [n], joined ones by x */
    int n;
} lmbi_svg_dots;

bool lmbi_svg_draw_dots(lmb_str *out, const lmbi_svg_dots *c);

#endif
