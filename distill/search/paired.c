/* distill/search/paired.c - see paired.h. */
#include "distill/search/paired.h"

#include <math.h>

enum { HALVINGS = 80 };

lmb_paired lmb_paired_count(const bool *first, const bool *second, int64_t n)
{
    lmb_paired p = { n, 0, 0 };

    for (int64_t i = 0; i < n; i++) {
        p.lost += first[i] && !second[i];
        p.won += !first[i] && second[i];
    }
    return p;
}

double lmb_paired_drop(const lmb_paired *p) { return (double)(p->lost - p->won) / (double)p->n; }

double lmb_normal_quantile(double p)
{
    double lo = -40, hi = 40;

    for (int i = 0; i < HALVINGS; i++) {
        double z = (lo + hi) / 2;
        *(0.5 * erfc(-z / sqrt(2)) < p ? &lo : &hi) = z;
    }
    return (lo + hi) / 2;
}

/* How many standard errors the observed drop is above a true drop of d; the share of samples won is what is most likely
 * if d is true (equations 24 to 26, with signs for a drop). */
static double score(const lmb_paired *p, double d)
{
    double n = (double)p->n, lost = (double)p->lost, won = (double)p->won;
    double b = -lost - won + (2 * n - lost + won) * d, c = -won * d * (1 - d);
    double q = (sqrt(fmax(b * b - 8 * n * c, 0)) - b) / (4 * n), variance = n * (2 * q + d * (1 - d));

    if (variance <= 0) /* nothing was lost or won, and nothing is to be: as it is observed */
        return lost - won > n * d ? INFINITY : lost - won < n * d ? -INFINITY : 0;
    return (lost - won - n * d) / sqrt(variance);
}

double lmb_paired_limit(const lmb_paired *p, double confidence)
{
    double z = lmb_normal_quantile(confidence), lo = lmb_paired_drop(p), hi = 1;

    for (int i = 0; i < HALVINGS; i++) {
        double d = (lo + hi) / 2;
        *(score(p, d) > -z ? &lo : &hi) = d;
    }
    return (lo + hi) / 2;
}

void lmb_paired_interval(const lmb_paired *p, double confidence, double *lo, double *hi)
{
    const lmb_paired other = { p->n, p->won, p->lost };

    *lo = -lmb_paired_limit(&other, (1 + confidence) / 2);
    *hi = lmb_paired_limit(p, (1 + confidence) / 2);
}

/* Where nothing is lost or won, the limit is z^2 / (n + z^2). */
double lmb_paired_least(double drop, double confidence)
{
    double z = lmb_normal_quantile(confidence);

    return ceil(z * z * (1 - drop) / drop);
}

double lmb_paired_worse(const lmb_paired *p)
{
    int64_t n = p->lost + p->won;
    double log_mass = -(double)n * log(2), sum = 0; /* of k = 0 */

    for (int64_t k = 0; k <= n; k++) {
        if (k >= p->lost)
            sum += exp(log_mass);
        log_mass += log((double)(n - k) / (double)(k + 1));
    }
    return fmin(sum, 1);
}
