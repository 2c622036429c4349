/* distill/tune/front.h - of points with two costs: which does no other beat, and how lonely are they there?
 *
 *   rank      0: no other point is at least as good in both and better in one; 1: none of rank 1 or more is; and so on
 *   crowding  length of the gap that a point leaves among those of its rank, as a share of their extent; ends: infinite
 *   source    Deb, Pratap, Agarwal, Meyarivan 2002, IEEE Trans. Evolutionary Computation 6(2):182-197 (NSGA-II)
 */
#ifndef LMB_DISTILL_TUNE_FRONT_H
#define LMB_DISTILL_TUNE_FRONT_H

#include <stdbool.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_front_point {
    double y[2];     /* made small */
    int rank;        /* set by lmb_front_rank  */
    double crowding; /* set by lmb_front_crowd */
} lmb_front_point;

bool lmb_front_beats(const lmb_front_point *a, const lmb_front_point *b);
void lmb_front_rank(lmb_front_point *p, int n);
/* After ranking. */
LMB_MUST_CHECK lmb_status lmb_front_crowd(lmb_front_point *p, int n, lmb_error *err);
/* The order in which NSGA-II keeps points: by rank, lonely ones first, then by their number. */
LMB_MUST_CHECK lmb_status lmb_front_order(const lmb_front_point *p, int n, int *order, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
