/* distill/search/budget.c - see budget.h. */
#include "distill/search/budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const lmb_goals[] = { "latency", "bytes", "macs", "accuracy", NULL };

typedef struct scale { const char *unit, *written; double factor; } scale;

static const scale scales[] = {
    { "%", "%", 0.01 }, { "%", "points", 0.01 },
    { "us", "us", 1 }, { "us", "ms", 1e3 }, { "us", "s", 1e6 },
    { "B", "B", 1 }, { "B", "kB", 1e3 }, { "B", "MB", 1e6 }, { "B", "KiB", 1024 }, { "B", "MiB", 1048576 },
    { "MACs", "MACs", 1 }, { "MACs", "kMACs", 1e3 }, { "MACs", "MMACs", 1e6 }, { "MACs", "GMACs", 1e9 },
    { "MACs", "k", 1e3 }, { "MACs", "M", 1e6 }, { "MACs", "G", 1e9 }, { NULL, NULL, 0 }
};

lmb_status lmb_budget_number(const char *text, const char *key, const char *unit, double *out, lmb_error *err)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || !isfinite(v) || v < 0)
        return LMB_FAIL(err, LMB_E_ARG, "%s: '%s' is no number of at least 0; write for example \"%s %s\"", key, text,
                        strcmp(unit, "%") == 0 ? "1.0" : "50", unit);
    end += strspn(end, " ");
    for (const scale *s = scales; s->unit; s++)
        if (strcmp(s->unit, unit) == 0 && strcmp(*end ? end : unit, s->written) == 0) {
            *out = v * s->factor;
            return LMB_OK;
        }
    char known[80] = "";
    for (const scale *s = scales; s->unit; s++)
        if (strcmp(s->unit, unit) == 0) {
            strcat(known, *known ? ", " : "");
            strcat(known, s->written);
        }
    return LMB_FAIL(err, LMB_E_ARG, "%s: '%.40s' has the unit '%.20s'; it must be one of %s", key, text, end, known);
}

lmb_status lmb_budget_check(const lmb_budget *b, lmb_error *err)
{
    bool any = false;

    for (int i = 0; i < LMB_COSTS; i++)
        any |= b->limit[i] > 0;
    if (b->objective == LMB_GOAL_ACCURACY && !any)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "there is nothing to compress for: the objective is accuracy and neither latency_max, bytes_max nor "
            "macs_max is given");
    if (b->objective != LMB_GOAL_ACCURACY && b->drop < 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s is to be made small at what price? give accuracy_drop_max, for example \"1.0 %%\", or, where only "
                        "limits of cost count, objective: accuracy",
                        lmb_goals[b->objective]);
    return LMB_OK;
}

lmb_goal lmb_budget_next(const lmb_budget *b, const double cost[LMB_COSTS], bool *met)
{
    lmb_goal worst = b->objective;
    double most = 1;

    for (int i = 0; i < LMB_COSTS; i++)
        if (b->limit[i] > 0 && cost[i] / b->limit[i] > most) {
            most = cost[i] / b->limit[i];
            worst = (lmb_goal)i;
        }
    *met = most <= 1;
    return worst;
}
