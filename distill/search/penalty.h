/* distill/search/penalty.h - what each limit weighs while it is not kept.
 *
 * Idea: a cost made small under limits is a Lagrangian,
 *
 *     L = wrong / drop + m_accuracy max(0, lost / drop - 1) + sum over costs with a limit of m_i cost_i / limit_i
 *
 * with a multiplier m for each limit that grows by how far the limit is exceeded, round by round, and shrinks back to 0
 * where there is room. Of a step's candidates the one of the least L + log2 of the cost that is worked on goes on: half
 * of it is worth as much as may be lost, or an accurate candidate that hardly saves anything would always win. A move is
 * worth its loss over all that it gains, each gain by its multiplier; where only the cost that is worked on has a limit,
 * or no limit is exceeded, that is the loss over its gain.
 *
 *   wrong     share of the held-out samples that are answered wrongly; `drop` of them is what may be lost
 *   lost      what may have been lost, with the search's confidence (lmb_point.limit)
 *   source    dual ascent: Boyd et al. 2011, Foundations and Trends in Machine Learning 3(1), section 2.1
 */
#ifndef LMB_DISTILL_SEARCH_PENALTY_H
#define LMB_DISTILL_SEARCH_PENALTY_H

#include "distill/search/budget.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_penalty { double of[LMB_COSTS + 1]; } lmb_penalty; /* the multipliers, by lmb_goal; >= 0 */

/* After a round: `cost` of where the search then stands, `lost` by the best of the round. Each multiplier changes by
 * `rate` times the share by which its limit is exceeded (at most once the limit) or kept. */
void lmb_penalty_update(lmb_penalty *p, const lmb_budget *b, double rate, const double cost[LMB_COSTS], double lost);

double lmb_penalty_loss(const lmb_penalty *p, const lmb_budget *b, const double cost[LMB_COSTS], double wrong,
                        double lost);

/* What a share of each cost is worth beside the same share of `goal`: 0 for `goal` itself, which is worth 1. */
void lmb_penalty_exchange(const lmb_penalty *p, lmb_goal goal, double out[LMB_COSTS]);

#ifdef __cplusplus
}
#endif
#endif
