/* train/schedule.c - the schedules: constant, step, cosine, one_cycle. See schedule.h. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

static const lmb_field no_fields[] = { LMB_FIELD_END };
static double constant(const void *c, double k, double n, double per_epoch)
{
    (void)c, (void)k, (void)n, (void)per_epoch;
    return 1;
}

typedef struct step_config { lmb_field_reals milestones; double every, gamma; } step_config;
static const lmb_field step_fields[] = {
    LMB_REALS(step_config, milestones, "[0.5, 0.75]", 0, 1e9, "epochs, or parts of the run if below 1",
              "where the rate drops"),
    LMB_REAL(step_config, every, 0, 0, 1e9, "epochs", "drops that often, whatever the milestones; 0: at milestones"),
    LMB_REAL(step_config, gamma, 0.1, 0, 1, "", "factor at each drop"), LMB_FIELD_END
};
static double step(const void *c, double k, double n, double per_epoch)
{
    const step_config *o = c;
    double f = 1;
    if (o->every > 0 && per_epoch > 0)
        return pow(o->gamma, floor(k / (o->every * per_epoch)));
    for (int i = 0; i < o->milestones.n; i++) {
        double m = o->milestones.v[i];
        if (k >= (m < 1 ? m * n : m * per_epoch))
            f *= o->gamma;
    }
    return f;
}

typedef struct cosine_config { double final; } cosine_config;
static const lmb_field cosine_fields[] = {
    LMB_REAL(cosine_config, final, 0, 0, 1, "", "share of the rate that is left at the end"), LMB_FIELD_END
};
static double cosine(const void *c, double k, double n, double per_epoch)
{
    double f = ((const cosine_config *)c)->final;
    (void)per_epoch;
    return f + (1 - f) * 0.5 * (1 + cos(PI * (n > 0 ? k / n : 0)));
}

typedef struct cycle_config { double pct_start, div_factor, final_div_factor; } cycle_config;
static const lmb_field cycle_fields[] = {
    LMB_REAL(cycle_config, pct_start, 0.3, 0, 1, "", "share of the run in which the rate rises"),
    LMB_REAL(cycle_config, div_factor, 25, 1, 1e9, "", "the rate starts at lr / div_factor"),
    LMB_REAL(cycle_config, final_div_factor, 1e4, 1, 1e12, "", "and ends at that / final_div_factor"), LMB_FIELD_END
};
static double anneal(double from, double to, double share) { return to + (from - to) / 2 * (1 + cos(PI * share)); }
static double one_cycle(const void *c, double k, double n, double per_epoch)
{
    const cycle_config *o = c;
    double first = 1 / o->div_factor, last = first / o->final_div_factor, peak = o->pct_start * n - 1;
    (void)per_epoch;
    if (k <= peak)
        return anneal(first, 1, peak > 0 ? k / peak : 1);
    double rest = n - 1 - peak;
    return anneal(1, last, rest > 0 ? (k - peak) / rest : 1);
}

static const lmb_schedule rows[] = {
    { "constant", "the same rate throughout", "", no_fields, 0, constant },
    { "step", "drops by gamma at milestones or every so often", "He et al. 2016; torch MultiStepLR, StepLR",
      step_fields, sizeof(step_config), step },
    { "cosine", "half a cosine down to final", "Loshchilov and Hutter 2017, arXiv:1608.03983", cosine_fields,
      sizeof(cosine_config), cosine },
    { "one_cycle", "up, then down, along cosines", "Smith and Topin 2018; torch OneCycleLR", cycle_fields,
      sizeof(cycle_config), one_cycle },
};
const lmb_schedule *const lmb_schedules[] = { &rows[0], &rows[1], &rows[2], &rows[3], NULL };

const lmb_schedule *lmb_schedule_find(const char *name)
{
    for (int i = 0; lmb_schedules[i]; i++)
        if (strcmp(lmb_schedules[i]->name, name) == 0)
            return lmb_schedules[i];
    return NULL;
}

double lmb_schedule_rate(const lmb_schedule *s, const void *config, double lr, int64_t warmup, int64_t at,
                         int64_t total, int64_t per_epoch)
{
    if (at < warmup)
        return lr * (double)(at + 1) / (double)warmup;
    return lr * s->factor(config, (double)(at - warmup), (double)(total - warmup), (double)per_epoch);
}
