/* distill/search/internal.h - a running search, shared by search.c and answer.c. */
#ifndef LMB_DISTILL_SEARCH_INTERNAL_H
#define LMB_DISTILL_SEARCH_INTERNAL_H

#include "distill/search/search.h"

typedef struct lmbi_search {
    const lmb_search_request *r;
    lmb_budget budget;
    double slack;
    lmb_graph *start; /* the teacher in words that have an integer form */
    lmb_latency *latency;
    lmb_judge *judge;
    lmb_points *points;
    char journal[LMB_SEARCH_PATH];
    char *why; /* lmb_search_result.why */
} lmbi_search;

/* Say to who watches what has become of the last point. */
void lmbi_search_tell(const lmbi_search *s);
/* Keep the reason of the end; always LMB_OK, so that it can be returned. */
lmb_status lmbi_search_why(lmbi_search *s, const char *fmt, ...) LMB_PRINTF(2, 3);
/* Fill best, met and, where nothing is within the limits, why. */
void lmbi_search_answer(const lmbi_search *s, lmb_search_result *r);

#endif
