/* launch/compress_others.h - fronts of other searches, to stand beside a search's own.
 *
 * Idea: is one loop over channels, ranks and bits worth more than one of them alone, or than a family of models that
 * was searched by width and depth? `compare_front` names what those searches have left: tune.json of `limbeck tune`
 * with a cost (of random, bayes, nsga2, pso, halving), or front.json of `limbeck compress`. Only their fronts are
 * read. Scores of a tuning are of float models at their best epoch, on its validation part: they are kinder than
 * held-out integers.
 *
 * Fronts are compared in two ways: point by point, who beats whom; and at one accuracy, by what the cheapest point
 * costs that is at least as accurate.
 */
#ifndef LMB_LAUNCH_COMPRESS_OTHERS_H
#define LMB_LAUNCH_COMPRESS_OTHERS_H

#include "core/base/config.h"
#include "core/base/str.h"
#include "distill/search/points.h"

enum { LMB_OTHERS = 8, LMB_OTHER_POINTS = 1000 };

typedef struct lmb_other_point {
    double accuracy, cost[LMB_COSTS]; /* NAN: not known */
} lmb_other_point;

typedef struct lmb_other {
    char file[200], method[40];
    char device[64]; /* that its times are of; "": the machine that searched */
    lmb_other_point *point;
    int n;
} lmb_other;

typedef struct lmb_others {
    lmb_other other[LMB_OTHERS];
    int n;
} lmb_others;

/* A file or a list of files; NULL: none.
 *   errors  E_ARG: too many, or a tuning without a cost; E_FORMAT: neither of the two files, or a damaged one; E_IO */
LMB_MUST_CHECK lmb_status lmb_others_read(const lmb_tree *files, lmb_others *out, lmb_error *err);
void lmb_others_free(lmb_others *o);
/* Times of another device than this say nothing here: they are left out. */
void lmb_others_on(lmb_others *o, const char *device);

/* Of another search's points: how many have a point of this front that is as accurate and as cheap in all costs that
 * are known of both, and better in one; and how many of this front they beat so. */
void lmb_others_against(const lmb_other *o, const lmb_points *p, int *beaten, int *beats);

/* level: the accuracy that all are compared at. */
void lmb_others_json(const lmb_others *o, const lmb_points *p, double level,
                     lmb_str *out); /* ", \"compared\": [...]" or nothing */
void lmb_others_table(const lmb_others *o, const lmb_points *p, double level, lmb_str *out);

#endif
