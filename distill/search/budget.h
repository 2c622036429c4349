/* distill/search/budget.h - what may be lost, and what must not be exceeded.
 *
 * Idea: one figure is made small (the objective), others have limits. People write them with their units: "1 %", "50
 * us", "84 kB", "2.5 MMACs"; a bare number is in the unit that the key names.
 */
#ifndef LMB_DISTILL_SEARCH_BUDGET_H
#define LMB_DISTILL_SEARCH_BUDGET_H

#include <stdbool.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What can be made small. `LMB_GOAL_ACCURACY`: nothing but what the limits ask for. */
typedef enum { LMB_GOAL_LATENCY, LMB_GOAL_BYTES, LMB_GOAL_MACS, LMB_GOAL_ACCURACY } lmb_goal;
enum { LMB_COSTS = 3 }; /* the first three are costs of a model */
extern const char *const lmb_goals[]; /* "latency", "bytes", "macs", "accuracy", NULL */

typedef struct lmb_budget {
    lmb_goal objective;
    double drop;             /* accuracy that may be lost against the teacher, 0 to 1; < 0: no limit */
    double limit[LMB_COSTS]; /* microseconds, bytes, MACs; 0: no limit                               */
} lmb_budget;

/* "50 us" to 50, in `unit`: "%" (to a share: "1 %" is 0.01), "us", "B" or "MACs". E_ARG says what was expected of
 * `key`. */
LMB_MUST_CHECK lmb_status lmb_budget_number(const char *text, const char *key, const char *unit, double *out,
                                            lmb_error *err);
/* E_ARG: nothing to do (the objective is accuracy, and no cost has a limit), or no end to it (a cost, and any accuracy
 * may go). */
LMB_MUST_CHECK lmb_status lmb_budget_check(const lmb_budget *b, lmb_error *err);

/* The cost to work on: the limit that is exceeded most, or the objective. *met: no limit is exceeded. */
lmb_goal lmb_budget_next(const lmb_budget *b, const double cost[LMB_COSTS], bool *met);

#ifdef __cplusplus
}
#endif
#endif
