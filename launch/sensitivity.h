/* launch/sensitivity.h - what `limbeck sensitivity` leaves in <run>/sensitivity: sensitivity.json for scripts,
 * sensitivity.html to look at. Neither says when or how long: the same study leaves the same bytes. */
#ifndef LMB_LAUNCH_SENSITIVITY_H
#define LMB_LAUNCH_SENSITIVITY_H

#include "core/base/str.h"
#include "distill/prune/sensitivity.h"

typedef struct lmb_sensitivity_report {
    const lmb_sensitivity *study;
    const char *model, *criterion, *part;
    const char *config; /* resolved, as YAML */
} lmb_sensitivity_report;

void lmb_sensitivity_table(const lmb_sensitivity_report *r, lmb_str *out); /* text for a terminal */
void lmb_sensitivity_json(const lmb_sensitivity_report *r, lmb_str *out);
void lmb_sensitivity_page(const lmb_sensitivity_report *r, lmb_str *out);

#endif
