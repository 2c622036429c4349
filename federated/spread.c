/* federated/spread.c - see spread.h. */
#include "federated/spread.h"

#include <math.h>
#include <stdlib.h>

const char *const lmb_fare_names[] = { "valid_accuracy", "personal_accuracy", NULL };

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

lmb_spread lmb_spread_of(double *v, size_t n)
{
    size_t tenth = (n + 9) / 10;
    lmb_spread s = { n, 0, 0, 0 };

    if (!n)
        return s;
    qsort(v, n, sizeof *v, rising); /* sums do not depend on who came first either */
    for (size_t i = 0; i < n; i++) {
        s.mean += v[i] / (double)n;
        s.worst += i < tenth ? v[i] / (double)tenth : 0;
    }
    s.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    return s;
}

void lmb_fares_of(const lmb_figures *f, double out[LMB_FARES])
{
    for (int k = 0; k < LMB_FARES; k++) {
        double v = lmb_figures_find(f, lmb_fare_names[k]);
        out[k] = v >= 0 && v <= 1 ? v : NAN;
    }
}
